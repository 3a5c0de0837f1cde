// SPDX-License-Identifier: Apache-2.0
// What a member of an array carries besides data (docs/RAID.md has the map). Decoders are total:
// any bytes give a value that keeps its promises, or an error.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "core/uuid.h"
#include "services/raid/raid_options.h"

namespace remora::services::raid {

constexpr std::size_t kMetaBytes = 4096;  ///< A superblock, a bitmap, the header of a log entry.

// Places on a member, in bytes.
constexpr std::uint64_t kBitmapAt = 2 * kMetaBytes;  ///< Behind the two superblocks.
constexpr std::uint64_t kLogAt = core::kMiB;
constexpr std::uint64_t kLogSlotBytes = 128 * core::kKiB;
constexpr std::uint64_t kLogPayloadBytes = kLogSlotBytes - kMetaBytes;

/// Where a member's data begins.
constexpr std::uint64_t data_offset_of(Level level) {
    return level == Level::Raid5 ? 16 * core::kMiB : core::kMiB;
}
/// Whether the level has more than one way to each byte.
constexpr bool is_redundant(Level level) {
    return level == Level::Raid1 || level == Level::Raid5 || level == Level::Raid10;
}
constexpr bool is_mirrored(Level level) {
    return level == Level::Raid1 || level == Level::Raid10;
}
constexpr bool has_chunks(Level level) {
    return level == Level::Raid0 || level == Level::Raid5 || level == Level::Raid10;
}
/// How many members a level can have; the error says what would be right.
core::Result<void> check_member_count(Level level, std::size_t count);
core::Result<void> check_chunk(Level level, std::uint32_t chunk_bytes);

/// One of the array's places, as a superblock has it.
struct SlotRecord {
    static constexpr std::size_t kMaxName = 63;
    std::string name;     ///< Of the member in it, or the last one that was.
    core::Uuid current;   ///< The member that has all of it. Nil: none.
    core::Uuid incoming;  ///< The member it is being rebuilt onto. Nil: none.
    std::string incoming_name;
    std::uint64_t data_bytes = 0;  ///< What of the member is used.
    bool operator==(const SlotRecord&) const = default;
};

struct Superblock {
    core::Uuid array;
    core::Uuid member;   ///< Its own; the only thing that differs between those of one generation.
    bool spare = false;  ///< This too: it is in no slot.
    Level level = Level::Raid1;
    std::uint32_t chunk_bytes = 0;
    std::uint32_t block_size = 0;
    std::uint64_t generation = 0;
    std::uint64_t log_epoch = 0;      ///< Log entries of another one are history.
    std::uint64_t rebuilt_bytes = 0;  ///< So much of the incoming member is right.
    /// RAID 5: the parity of so much of each member was computed once.
    std::uint64_t synced_bytes = 0;
    std::vector<SlotRecord> slots;
    bool operator==(const Superblock&) const = default;
};

using MetaBlock = std::array<std::byte, kMetaBytes>;

void encode(const Superblock& superblock, std::span<std::byte, kMetaBytes> to);
/// Errors: NotFound when this is none of ours, DataLoss when it is one that is damaged, and
/// Unimplemented for a later version.
core::Result<Superblock> decode_superblock(std::span<const std::byte> from);

/// The regions that were marked when a member was last written to.
struct Bitmap {
    static constexpr std::size_t kHeaderBytes = 40;
    static constexpr std::size_t kMaxRegions = (kMetaBytes - kHeaderBytes) * 8;
    core::Uuid array;
    std::uint64_t region_bytes = 0;
    std::vector<bool> marked;
};
void encode(const Bitmap& bitmap, std::span<std::byte, kMetaBytes> to);
/// Nothing when it is damaged or not that of `array` with so many regions of that size.
std::optional<Bitmap> decode_bitmap(std::span<const std::byte> from,
                                    const core::Uuid& array,
                                    std::uint64_t region_bytes,
                                    std::size_t regions);

/// The header of a log entry. Behind it: the new parity of the rows, then the new data of them for
/// each chunk, in order.
struct LogEntry {
    core::Uuid array;
    std::uint64_t epoch = 0;
    std::uint64_t sequence = 0;
    std::uint64_t stripe = 0;
    std::uint32_t row_begin = 0;  ///< Bytes in the chunk.
    std::uint32_t row_bytes = 0;
    std::uint32_t first_chunk = 0;  ///< Of the stripe's data chunks.
    std::uint32_t chunk_count = 0;
    [[nodiscard]] std::size_t payload_bytes() const {
        return std::size_t{row_bytes} * (chunk_count + 1U);
    }
};
/// `slot` is header and payload; the header is written.
void encode(const LogEntry& entry, std::span<std::byte> slot);
/// Whether a header is worth a look at the whole entry.
bool may_be_log_entry(std::span<const std::byte> header,
                      const core::Uuid& array,
                      std::uint64_t epoch);
/// Nothing unless it is an entry of this array and epoch that is whole. What it says of rows and
/// chunks fits `chunk_bytes` and `data_chunks`, its payload fits `slot`.
std::optional<LogEntry> decode_log_entry(std::span<const std::byte> slot,
                                         const core::Uuid& array,
                                         std::uint64_t epoch,
                                         std::uint32_t chunk_bytes,
                                         std::size_t data_chunks);

}  // namespace remora::services::raid
