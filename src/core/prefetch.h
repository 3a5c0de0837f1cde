// SPDX-License-Identifier: Apache-2.0
// Hints to the cache. Any thread; any address, since a hint never faults.
#pragma once

#include <cstddef>

namespace remora::core {

/// Fetches the line at `at` so that it can be written at once: memory that another processor wrote
/// last comes with one transfer, and not with a second one for the first store to it. Every x86-64
/// processor takes the instruction, but compilers emit it only when told of a newer one.
inline void prefetch_to_write(const void* at) {
#if defined(__x86_64__)
    asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(at)));
#else
    __builtin_prefetch(at, 1);
#endif
}

/// The lines from `at` on that `bytes` lie in, to be written.
inline void prefetch_lines_to_write(const void* at, std::size_t bytes) {
    constexpr std::size_t kLine = 64;
    for (std::size_t i = 0; i < bytes; i += kLine) {
        prefetch_to_write(static_cast<const std::byte*>(at) + i);
    }
}

}  // namespace remora::core
