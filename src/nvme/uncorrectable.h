// SPDX-License-Identifier: Apache-2.0
// nvme::UncorrectableBlocks: the blocks of a namespace that a host has marked (Write
// Uncorrectable): reads of them fail until they are written. Whole ranges in order, none empty,
// none beside another.
//
// How many there are is bounded twice. A host may mark until there are kMostMarked ranges. Writes
// split ranges, and a host must be able to mend its blocks when it can mark no more of them, so
// clearing may go on to kMostRanges. Only a write that would split one more is refused then; one
// that covers more of a range is not.
//
// NVM Command Set 1.0, Write Uncorrectable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "nvme/spec/status.h"

namespace remora::nvme {

/// What reads of marked blocks end with. Sent again it would be the same.
constexpr std::uint16_t kMarkedUncorrectable =
    spec::status_field(spec::StatusCode::UnrecoveredReadError, true);

/// Blocks of a volume; none at first.
struct BlockRange {
    std::uint64_t lba = 0;
    std::uint64_t blocks = 0;

    [[nodiscard]] std::uint64_t end() const { return lba + blocks; }
    [[nodiscard]] bool overlaps(const BlockRange& other) const {
        return blocks > 0 && other.blocks > 0 && lba < other.end() && other.lba < end();
    }
    bool operator==(const BlockRange&) const = default;
};

class UncorrectableBlocks {
  public:
    static constexpr std::size_t kMostMarked = 128;
    static constexpr std::size_t kMostRanges = 1024;

    UncorrectableBlocks() = default;
    /// As ranges() gave it; nothing if it cannot have.
    static std::optional<UncorrectableBlocks> from(std::vector<BlockRange> ranges);

    [[nodiscard]] const std::vector<BlockRange>& ranges() const { return ranges_; }
    [[nodiscard]] bool empty() const { return ranges_.empty(); }
    [[nodiscard]] bool overlaps(const BlockRange& range) const;
    /// The range ends inside 64 bits. False: there would be too many; nothing is changed.
    [[nodiscard]] bool mark(const BlockRange& range);
    /// The same.
    [[nodiscard]] bool clear(const BlockRange& range);

    bool operator==(const UncorrectableBlocks&) const = default;

  private:
    std::vector<BlockRange> ranges_;
};

}  // namespace remora::nvme
