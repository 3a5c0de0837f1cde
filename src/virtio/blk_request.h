// SPDX-License-Identifier: Apache-2.0
// What a chain of a virtio-blk queue says, and the device's configuration space.
//
//   readable: header (type, sector), then for OUT the data, for DISCARD and WRITE_ZEROES a range
//   writable: for IN the data, for GET_ID the identity; its very last byte is the status
//
// Drivers may cut the parts anywhere (VIRTIO 1.0 and later), so parsing works on bytes, not on
// descriptors. The header and the range are copied out once. Spec: VIRTIO 1.2 section 5.2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

#include "core/endian.h"
#include "core/segment.h"
#include "virtio/chain.h"

namespace remora::virtio {

constexpr std::uint32_t kSectorBytes = 512;
constexpr std::size_t kBlkIdBytes = 20;

/// VIRTIO 1.2 section 5.2.6: request types.
enum class BlkType : std::uint32_t {
    In = 0,
    Out = 1,
    Flush = 4,
    GetId = 8,
    Discard = 11,
    WriteZeroes = 13,
};

/// VIRTIO 1.2 section 5.2.6: the status byte.
enum class BlkStatus : std::uint8_t { Ok = 0, IoError = 1, Unsupported = 2 };

// VIRTIO 1.2 section 5.2.6: the fixed part of struct virtio_blk_req.
struct BlkHeader {
    core::le32 type;
    core::le32 reserved;
    core::le64 sector;
};
static_assert(sizeof(BlkHeader) == 16 && std::is_trivially_copyable_v<BlkHeader>);

// VIRTIO 1.2 section 5.2.6: struct virtio_blk_discard_write_zeroes.
struct BlkRange {
    core::le64 sector;
    core::le32 num_sectors;
    core::le32 flags;
};
static_assert(sizeof(BlkRange) == 16 && std::is_trivially_copyable_v<BlkRange>);
constexpr std::uint32_t kRangeUnmap = 1;

// VIRTIO 1.2 section 5.2.4: struct virtio_blk_config, as far as the features offered reach.
struct BlkConfig {
    core::le64 capacity;  ///< In 512-byte sectors.
    core::le32 size_max;
    core::le32 seg_max;
    core::le16 cylinders;
    std::uint8_t heads = 0;
    std::uint8_t sectors = 0;
    core::le32 blk_size;
    std::uint8_t physical_block_exp = 0;
    std::uint8_t alignment_offset = 0;
    core::le16 min_io_size;  ///< In logical blocks.
    core::le32 opt_io_size;  ///< In logical blocks.
    std::uint8_t writeback = 0;
    std::uint8_t unused0 = 0;
    core::le16 num_queues;
    core::le32 max_discard_sectors;
    core::le32 max_discard_seg;
    core::le32 discard_sector_alignment;
    core::le32 max_write_zeroes_sectors;
    core::le32 max_write_zeroes_seg;
    std::uint8_t write_zeroes_may_unmap = 0;
    std::uint8_t unused1[3] = {};
};
static_assert(sizeof(BlkConfig) == 60 && std::is_trivially_copyable_v<BlkConfig>);
static_assert(offsetof(BlkConfig, seg_max) == 12 && offsetof(BlkConfig, blk_size) == 20);
static_assert(offsetof(BlkConfig, writeback) == 32 && offsetof(BlkConfig, num_queues) == 34);
static_assert(offsetof(BlkConfig, max_discard_sectors) == 36);
static_assert(offsetof(BlkConfig, max_write_zeroes_sectors) == 48);

/// A chain understood as a block request. The data lies in the chain's own segments.
struct BlkRequest {
    std::uint32_t type = 0;            ///< A BlkType, or whatever the guest wrote.
    std::uint64_t sector = 0;          ///< In and Out; of the range for the other two.
    std::uint32_t range_sectors = 0;   ///< Discard and WriteZeroes.
    std::span<core::Segment> data;     ///< In, GetId: to fill. Out: to store.
    std::uint64_t data_bytes = 0;      ///< Sum of data.
    std::byte* status_byte = nullptr;  ///< Null when the chain has no writable byte.
};

enum class ParseResult {
    Ok,
    NoStatus,     ///< No writable byte: the chain goes back with length 0.
    Malformed,    ///< Answer IOERR.
    Unsupported,  ///< Answer UNSUPP.
};

/// Reads the request out of `chain`, trimming header and status off its segments. status_byte is
/// set in every case but NoStatus.
ParseResult parse_blk_request(Chain& chain, BlkRequest& request);

}  // namespace remora::virtio
