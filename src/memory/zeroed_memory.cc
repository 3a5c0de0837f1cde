// SPDX-License-Identifier: Apache-2.0
#include "memory/zeroed_memory.h"

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <sys/mman.h>

namespace remora::memory {

namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20U;

std::byte* zeros(std::size_t bytes) {
    return static_cast<std::byte*>(std::calloc(bytes, 1));
}

}  // namespace

void ReleaseZeroed::operator()(std::byte* /*memory*/) const {
    std::free(origin);
}

ZeroedMemory allocate_zeroed(std::size_t bytes) {
    if (bytes < kHugePage || bytes > std::numeric_limits<std::size_t>::max() - kHugePage) {
        std::byte* const memory = zeros(bytes);
        return {memory, ReleaseZeroed{memory}};
    }
    // Large callocs are fresh pages of the system, which cost nothing until they are touched.
    std::byte* const origin = zeros(bytes + kHugePage);
    if (origin == nullptr) {
        return nullptr;
    }
    std::byte* const memory = origin + (-reinterpret_cast<std::uintptr_t>(origin) % kHugePage);
    // A wish: a kernel without them, or short of them, gives ordinary pages.
    (void)madvise(memory, bytes, MADV_HUGEPAGE);
    return {memory, ReleaseZeroed{origin}};
}

}  // namespace remora::memory
