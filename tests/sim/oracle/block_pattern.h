// SPDX-License-Identifier: Apache-2.0
// Blocks that name themselves: every block written says which volume, LBA and write it belongs to,
// and each of its words follows from that, so that a block made of two is seen as such.
//
//   word 0     1       2    3         4     5                    6 ...
//        magic volume  lba  sequence  seed  CRC32C | size << 32  mixed from words 1 to 4 and place
//
// The CRC is over the whole block with word 5 zero. Words are in the machine's byte order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace remora::sim {

struct BlockIdentity {
    std::uint64_t volume = 0;
    std::uint64_t lba = 0;
    std::uint64_t sequence = 0;  ///< Of the write: its OpId.
    std::uint64_t seed = 0;      ///< Of the run.
    bool operator==(const BlockIdentity&) const = default;
};

/// What a block was found to be.
struct FoundBlock {
    enum class Kind : std::uint8_t {
        Zeros,    ///< Nothing but zeros.
        Whole,    ///< Exactly what the write that it names has written.
        Mixed,    ///< Begins with a name, but its words are not all of that write.
        Unknown,  ///< Anything else.
    };
    Kind kind = Kind::Unknown;
    BlockIdentity identity;       ///< Of Whole and Mixed.
    std::size_t first_wrong = 0;  ///< Of Mixed: offset of the first byte of a wrong word.
    bool operator==(const FoundBlock&) const = default;
};

/// Fills one block; its size is a multiple of 8 and at least 64.
void fill_block(std::span<std::byte> block, const BlockIdentity& identity);
FoundBlock find_block(std::span<const std::byte> block);

}  // namespace remora::sim
