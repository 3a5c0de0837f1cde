// SPDX-License-Identifier: Apache-2.0
#include "core/parity.h"

#include <array>
#include <cstdint>
#include <limits>

#include <isa-l/raid.h>

#include "core/check.h"

namespace remora::core {

void xor_of(std::span<const std::byte* const> sources, std::byte* to, std::size_t bytes) {
    CHECK(sources.size() >= 2 && sources.size() <= kMaxParitySources);
    CHECK(bytes <= static_cast<std::size_t>(std::numeric_limits<int>::max()));
    std::array<void*, kMaxParitySources + 1> runs{};
    std::size_t count = 0;
    for (const std::byte* source : sources) {
        CHECK(reinterpret_cast<std::uintptr_t>(source) % kParityAlignment == 0);
        runs[count++] = const_cast<std::byte*>(source);  // ISA-L only reads all but the last
    }
    CHECK(reinterpret_cast<std::uintptr_t>(to) % kParityAlignment == 0);
    runs[count++] = to;
    CHECK(xor_gen(static_cast<int>(count), static_cast<int>(bytes), runs.data()) == 0);
}

}  // namespace remora::core
