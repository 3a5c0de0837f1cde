// SPDX-License-Identifier: Apache-2.0
// WriteIntent: which regions of a mirrored array are being written. A region is marked, durably on
// its members, before the first write to it, so that after a crash only marked regions can differ
// between copies. A word a region, shared by all reactors:
//
//   bit 31 marked: durable         bit 29 unsynced: the copies may differ, one is read
//   bit 30 used since last asked   bit 28 asked: somebody wants it marked
//   below: writes under way
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "core/check.h"

namespace remora::services::raid {

/// Any thread.
class WriteIntent {
  public:
    explicit WriteIntent(std::size_t regions)
        : size_(regions), words_(std::make_unique<std::atomic<std::uint32_t>[]>(regions)) {}

    [[nodiscard]] std::size_t size() const { return size_; }

    /// A write to `region` begins; it goes on when is_marked() and is ended by leave().
    void enter(std::size_t region) {
        const std::uint32_t before = words_[region].fetch_add(1, std::memory_order_acq_rel);
        CHECK((before & kCount) != kCount);
        if ((before & kUsed) == 0) {
            words_[region].fetch_or(kUsed, std::memory_order_relaxed);
        }
    }
    void leave(std::size_t region) {
        const std::uint32_t before = words_[region].fetch_sub(1, std::memory_order_release);
        CHECK((before & kCount) != 0);
    }
    [[nodiscard]] bool is_marked(std::size_t region) const { return has(region, kMarked); }
    [[nodiscard]] bool is_unsynced(std::size_t region) const { return has(region, kUnsynced); }

    /// True for the first who asks that it be marked.
    [[nodiscard]] bool ask(std::size_t region) {
        return (words_[region].fetch_or(kAsked, std::memory_order_acq_rel) & kAsked) == 0;
    }
    /// The mark is durable.
    void mark(std::size_t region) {
        words_[region].fetch_or(kMarked, std::memory_order_release);
        words_[region].fetch_and(~kAsked, std::memory_order_release);
    }
    /// Takes the mark away if nobody has used the region since the last call, and nobody does.
    /// Who comes from now on waits for a new mark.
    [[nodiscard]] bool unmark_if_idle(std::size_t region) {
        std::uint32_t expected = kMarked;
        if (words_[region].compare_exchange_strong(expected, 0, std::memory_order_acq_rel)) {
            return true;
        }
        words_[region].fetch_and(~kUsed, std::memory_order_relaxed);
        return false;
    }
    void set_unsynced(std::size_t region) {
        words_[region].fetch_or(kUnsynced | kMarked, std::memory_order_release);
    }
    void set_synced(std::size_t region) {
        words_[region].fetch_and(~kUnsynced, std::memory_order_release);
    }

  private:
    static constexpr std::uint32_t kMarked = 1U << 31U;
    static constexpr std::uint32_t kUsed = 1U << 30U;
    static constexpr std::uint32_t kUnsynced = 1U << 29U;
    static constexpr std::uint32_t kAsked = 1U << 28U;
    static constexpr std::uint32_t kCount = kAsked - 1;

    [[nodiscard]] bool has(std::size_t region, std::uint32_t bit) const {
        return (words_[region].load(std::memory_order_acquire) & bit) != 0;
    }

    std::size_t size_;
    std::unique_ptr<std::atomic<std::uint32_t>[]> words_;
};

}  // namespace remora::services::raid
