// SPDX-License-Identifier: Apache-2.0
// RangeLocks: which pieces of an array are being changed, by all reactors. A lock is some bits of
// one word, so it is taken whole or not at all and nobody holds one while he waits for another;
// there is no deadlock. Two places can share a word: then one waits without need.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/check.h"

namespace remora::services::raid {

/// The default takes and gives nothing.
struct RangeLock {
    std::uint32_t word = 0;
    std::uint64_t mask = 0;

    [[nodiscard]] bool overlaps(const RangeLock& other) const {
        return word == other.word && (mask & other.mask) != 0;
    }
};

/// Any thread.
class RangeLocks {
  public:
    static constexpr std::uint64_t kRowBytes = 4096;             ///< A bit.
    static constexpr std::uint64_t kSpanBytes = 64 * kRowBytes;  ///< A word.

    /// The lock of [begin, begin + bytes) of the place `place`; the range is not empty and ends at
    /// kSpanBytes at the latest.
    static RangeLock of(std::uint64_t place, std::uint64_t begin, std::uint64_t bytes) {
        CHECK(bytes > 0 && begin + bytes <= kSpanBytes);
        const std::uint64_t first = begin / kRowBytes;
        const std::uint64_t count = (begin + bytes - 1) / kRowBytes - first + 1;
        const std::uint64_t ones = count == 64 ? ~0ULL : (1ULL << count) - 1;
        const std::uint64_t mixed = (place + 1) * 0x9e3779b97f4a7c15ULL;
        return {static_cast<std::uint32_t>(mixed >> (64U - kWordBits)), ones << first};
    }

    [[nodiscard]] bool try_acquire(const RangeLock& lock) {
        std::atomic<std::uint64_t>& word = words_[lock.word];
        std::uint64_t held = word.load(std::memory_order_relaxed);
        do {
            if ((held & lock.mask) != 0) {
                return false;
            }
        } while (!word.compare_exchange_weak(held, held | lock.mask, std::memory_order_acquire,
                                             std::memory_order_relaxed));
        return true;
    }
    void release(const RangeLock& lock) {
        const std::uint64_t held =
            words_[lock.word].fetch_and(~lock.mask, std::memory_order_release);
        CHECK((held & lock.mask) == lock.mask);
    }

  private:
    static constexpr unsigned kWordBits = 12;
    std::array<std::atomic<std::uint64_t>, std::size_t{1} << kWordBits> words_{};
};

}  // namespace remora::services::raid
