// SPDX-License-Identifier: Apache-2.0
// LogRing: the places of the parity log on one member, handed out in order to all reactors.
//
// An entry is begun, then durable, then its data and parity are written, then it is finished, and
// at last settled: finished, and what it wrote is durable too. Everything before tail() is settled.
// A crash may leave all that is not settled half done, so that is what a replay must find:
//
//   seq:      tail ............ newest durable .... next
//             └──── less than kWindow ───────────────┘     begin() sees to it
//
// A place is used again kSlots later, and kWindow is half of it. So a replay takes the entries less
// than kWindow behind the newest one that it finds: none of those not settled is older, and none of
// these can have been overwritten, as that takes an entry that is kSlots later and so a tail past
// the newest one found, when nothing is left to be replayed. (With kWindow = kSlots it could be:
// the place of a later entry, settled, is torn while that of an earlier one for the same rows is
// not, and the replay would bring old rows back.)
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/check.h"

namespace remora::services::raid {

/// Any thread.
class LogRing {
  public:
    static constexpr std::uint64_t kSlots = 64;
    static constexpr std::uint64_t kWindow = kSlots / 2;

    /// Takes the next sequence number; false while the window is full.
    [[nodiscard]] bool begin(std::uint64_t& sequence) {
        std::uint64_t next = next_.load(std::memory_order_relaxed);
        do {
            if (next - tail_.load(std::memory_order_acquire) >= kWindow) {
                return false;
            }
        } while (!next_.compare_exchange_weak(next, next + 1, std::memory_order_acq_rel,
                                              std::memory_order_relaxed));
        sequence = next;
        return true;
    }

    /// All that entry `sequence` says has been written.
    void finish(std::uint64_t sequence) {
        finished_[sequence % kSlots].store(sequence + 1, std::memory_order_release);
    }

    /// Everything before this is finished.
    [[nodiscard]] std::uint64_t finished() const {
        const std::uint64_t next = next_.load(std::memory_order_acquire);
        std::uint64_t at = tail_.load(std::memory_order_acquire);
        while (at < next && finished_[at % kSlots].load(std::memory_order_acquire) == at + 1) {
            ++at;
        }
        return at;
    }

    /// Everything before `sequence` is settled.
    void settle(std::uint64_t sequence) {
        std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        while (tail < sequence &&
               !tail_.compare_exchange_weak(tail, sequence, std::memory_order_acq_rel,
                                            std::memory_order_relaxed)) {
        }
    }

    /// How many are begun and not settled.
    [[nodiscard]] std::uint64_t open() const {
        const std::uint64_t tail = tail_.load(std::memory_order_acquire);
        return next_.load(std::memory_order_acquire) - tail;
    }

  private:
    std::atomic<std::uint64_t> next_{0};
    std::atomic<std::uint64_t> tail_{0};
    std::array<std::atomic<std::uint64_t>, kSlots> finished_{};
};

}  // namespace remora::services::raid
