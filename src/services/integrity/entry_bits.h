// SPDX-License-Identifier: Apache-2.0
// EntryBits: one bit for each entry of a page, set and asked for by ranges. Value type.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "services/integrity/integrity_format.h"

namespace remora::services::integrity {

/// Entries of one page.
struct EntryRange {
    std::uint32_t first = 0;
    std::uint32_t count = 0;

    [[nodiscard]] std::uint32_t end() const { return first + count; }
};

class EntryBits {
  public:
    void set(EntryRange range) {
        walk(range, [this](std::size_t word, std::uint64_t mask) { words_[word] |= mask; });
    }
    void clear(EntryRange range) {
        walk(range, [this](std::size_t word, std::uint64_t mask) { words_[word] &= ~mask; });
    }
    [[nodiscard]] bool any(EntryRange range) const {
        std::uint64_t found = 0;
        walk(range, [&](std::size_t word, std::uint64_t mask) { found |= words_[word] & mask; });
        return found != 0;
    }
    [[nodiscard]] bool any() const {
        return std::ranges::any_of(words_, [](std::uint64_t word) { return word != 0; });
    }
    [[nodiscard]] bool test(std::uint32_t entry) const {
        return ((words_[entry / kWordBits] >> (entry % kWordBits)) & 1U) != 0;
    }
    void reset() { words_ = {}; }

  private:
    static constexpr std::uint32_t kWordBits = 64;

    template <typename F>
    static void walk(EntryRange range, F visit) {
        while (range.count > 0) {
            const std::uint32_t bit = range.first % kWordBits;
            const std::uint32_t step = std::min(range.count, kWordBits - bit);
            visit(range.first / kWordBits, (~std::uint64_t{0} >> (kWordBits - step)) << bit);
            range.first += step;
            range.count -= step;
        }
    }

    std::array<std::uint64_t, kMaxPageEntries / kWordBits> words_{};
};

}  // namespace remora::services::integrity
