// SPDX-License-Identifier: Apache-2.0
#include "memory/zeroed_memory.h"

#include <algorithm>
#include <cstdint>
#include <span>

#include <gtest/gtest.h>

namespace remora::memory {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

TEST(ZeroedMemoryTest, EverySize_isZeroAndWritableToItsEnds) {
    for (const std::size_t bytes : {std::size_t{1}, kHugePage - 1, kHugePage, kHugePage + 4096}) {
        const ZeroedMemory memory = allocate_zeroed(bytes);
        ASSERT_NE(memory, nullptr) << bytes;
        const std::span all(memory.get(), bytes);
        EXPECT_TRUE(std::ranges::all_of(all, [](std::byte byte) { return byte == std::byte{0}; }));
        all.front() = all.back() = std::byte{1};
        if (bytes >= kHugePage) {
            EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % kHugePage, 0U);
        }
    }
}

}  // namespace
}  // namespace remora::memory
