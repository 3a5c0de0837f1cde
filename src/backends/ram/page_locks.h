// SPDX-License-Identifier: Apache-2.0
// PageLocks: who is at a page of a RAM volume, so that no block is read half old and half new.
//
//   holders: they copy from the page, or have it on loan     writer: one, while it copies to it
//
// Nobody waits here: who does not get a page comes again in its next turn. A writer that met
// holders leaves a mark, so that the page is lent to nobody until it, or another, has written.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace remora::backends::ram {

/// Any thread. Pages that are kCount apart share a word, which costs a turn now and then.
class PageLocks {
  public:
    using Word = std::atomic<std::uint32_t>;
    static constexpr std::size_t kPageBytes = 4096;

    /// `at` is a byte of the volume.
    Word& of(std::uint64_t at) { return words_[at / kPageBytes % kCount]; }

    /// Another holder; false while somebody writes.
    static bool try_hold(Word& word) { return try_add(word, kWriting); }
    /// The same for one that may stay for long: writers that wait go first.
    static bool try_lend(Word& word) { return try_add(word, kWriting | kAwaited); }
    static void let_go(Word& word) { word.fetch_sub(1, std::memory_order_release); }

    /// The only one there; false, and marked as awaited, while there are others.
    static bool try_write(Word& word) {
        std::uint32_t seen = word.load(std::memory_order_relaxed) & kAwaited;
        if (word.compare_exchange_strong(seen, kWriting, std::memory_order_acquire,
                                         std::memory_order_relaxed)) {
            return true;
        }
        word.fetch_or(kAwaited, std::memory_order_relaxed);
        return false;
    }
    static void written(Word& word) { word.fetch_and(~kWriting, std::memory_order_release); }

  private:
    static constexpr std::size_t kCount = 4096;
    static constexpr std::uint32_t kWriting = std::uint32_t{1} << 31U;
    static constexpr std::uint32_t kAwaited = std::uint32_t{1} << 30U;

    static bool try_add(Word& word, std::uint32_t unless) {
        if ((word.fetch_add(1, std::memory_order_acquire) & unless) == 0) {
            return true;
        }
        word.fetch_sub(1, std::memory_order_relaxed);
        return false;
    }

    std::array<Word, kCount> words_{};
};

}  // namespace remora::backends::ram
