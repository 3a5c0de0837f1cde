// SPDX-License-Identifier: Apache-2.0
// RaidLayout: where an array's bytes lie. A slot is a member's place in the array; a set is what
// holds the same bytes more than once: all slots of RAID 1, a pair of RAID 10, all of RAID 5, one
// slot of the others. Offsets are bytes from where a member's data begins.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/check.h"
#include "services/raid/raid_options.h"

namespace remora::services::raid {

class RaidLayout {
  public:
    /// `slot_bytes`: what is used of each member; a multiple of the chunk where there are chunks.
    RaidLayout(Level level, std::uint32_t chunk_bytes, std::vector<std::uint64_t> slot_bytes);

    [[nodiscard]] Level level() const { return level_; }
    [[nodiscard]] std::uint32_t chunk_bytes() const { return chunk_; }
    [[nodiscard]] std::size_t slots() const { return slot_bytes_.size(); }
    [[nodiscard]] std::uint64_t slot_bytes(std::size_t slot) const { return slot_bytes_[slot]; }
    [[nodiscard]] std::uint64_t array_bytes() const { return array_bytes_; }

    // Sets.
    [[nodiscard]] std::size_t sets() const { return slots() / slots_per_set_; }
    [[nodiscard]] std::size_t slots_per_set() const { return slots_per_set_; }
    [[nodiscard]] std::size_t set_of(std::size_t slot) const { return slot / slots_per_set_; }
    [[nodiscard]] std::size_t first_slot(std::size_t set) const { return set * slots_per_set_; }

    /// A run of bytes that lie one behind the other in one set (RAID 5: on one slot).
    struct Run {
        std::size_t set = 0;
        std::size_t slot = 0;  ///< RAID 5: the one with the data. Else the set's first.
        std::uint64_t offset = 0;
        std::uint64_t bytes = 0;
    };
    /// The longest run from byte `at` of the array, at most `bytes`.
    [[nodiscard]] Run find(std::uint64_t at, std::uint64_t bytes) const;

    // RAID 5, left-symmetric: the parity moves one slot to the left from stripe to stripe, and the
    // data begins behind it.
    [[nodiscard]] std::size_t data_chunks() const { return slots() - 1; }
    [[nodiscard]] std::uint64_t stripes() const { return slot_bytes_[0] / chunk_; }
    [[nodiscard]] std::uint64_t stripe_bytes() const { return data_chunks() * chunk_; }
    [[nodiscard]] std::size_t parity_slot(std::uint64_t stripe) const {
        return slots() - 1 - static_cast<std::size_t>(stripe % slots());
    }
    [[nodiscard]] std::size_t data_slot(std::uint64_t stripe, std::size_t chunk) const {
        return (parity_slot(stripe) + 1 + chunk) % slots();
    }

    /// Rows of a stripe in which a write touches the same chunks.
    struct Band {
        std::uint32_t row_begin = 0;  ///< Bytes in the chunk.
        std::uint32_t row_bytes = 0;
        std::uint32_t first_chunk = 0;
        std::uint32_t chunk_count = 0;
    };
    /// The band that begins at the lowest row from `row` on that a write of [begin, end) of a
    /// stripe's bytes touches; row_bytes is 0 when there is none. One write has three at most.
    [[nodiscard]] Band find_band(std::uint64_t begin, std::uint64_t end, std::uint32_t row) const;

  private:
    Level level_;
    std::uint32_t chunk_;
    std::vector<std::uint64_t> slot_bytes_;
    std::vector<std::uint64_t> ends_;  // concat: of each slot, in the array
    std::size_t slots_per_set_ = 1;
    std::uint64_t array_bytes_ = 0;
};

}  // namespace remora::services::raid
