// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/config_space.h"

#include <algorithm>
#include <limits>
#include <string>

#include "core/check.h"
#include "virtio/ring_layout.h"

namespace remora::frontends::vhost_user_blk {

using virtio::bit;
using virtio::Feature;

std::uint64_t offered_features(const block::Geometry& geometry) {
    // Flush is on offer even where it does nothing, so that what a guest has negotiated still
    // holds when the volume behind it is another one after a restart.
    std::uint64_t features =
        bit(Feature::Version1) | bit(Feature::IndirectDescriptors) | bit(Feature::EventIndex) |
        bit(Feature::BlkSegMax) | bit(Feature::BlkBlkSize) | bit(Feature::BlkTopology) |
        bit(Feature::BlkFlush) | bit(Feature::BlkMultiQueue) | bit(Feature::RingPacked);
    if (geometry.read_only) {
        features |= bit(Feature::BlkReadOnly);
    }
    if (geometry.can_discard) {
        features |= bit(Feature::BlkDiscard);
    }
    if (geometry.can_write_zeroes) {
        features |= bit(Feature::BlkWriteZeroes);
    }
    return features;
}

virtio::BlkConfig make_config(const block::Geometry& geometry, std::uint16_t queues) {
    const std::uint32_t sectors_per_block = geometry.block_size / virtio::kSectorBytes;
    virtio::BlkConfig config;
    config.capacity = geometry.block_count * sectors_per_block;
    config.seg_max = kSegMax;
    config.blk_size = geometry.block_size;
    config.min_io_size = static_cast<std::uint16_t>(std::min<std::uint32_t>(
        geometry.optimal_blocks, std::numeric_limits<std::uint16_t>::max()));
    config.opt_io_size = geometry.optimal_blocks > 1 ? geometry.optimal_blocks : 0;
    config.writeback = geometry.volatile_cache ? 1 : 0;
    config.num_queues = queues;
    if (geometry.can_discard) {
        config.max_discard_sectors = kMaxDiscardSectors;
        config.max_discard_seg = 1;
        config.discard_sector_alignment = sectors_per_block;
    }
    if (geometry.can_write_zeroes) {
        config.max_write_zeroes_sectors = kMaxWriteZeroesSectors;
        config.max_write_zeroes_seg = 1;
        const bool unmaps = geometry.can_discard && geometry.unwritten_reads_zeros;
        config.write_zeroes_may_unmap = unmaps ? 1 : 0;
    }
    return config;
}

std::array<std::byte, virtio::kBlkIdBytes> make_identity(const core::Uuid& uuid) {
    std::array<std::byte, virtio::kBlkIdBytes> identity{};
    std::size_t at = 0;
    for (const char digit : uuid.text()) {
        if (digit != '-' && at < identity.size()) {
            identity[at++] = static_cast<std::byte>(digit);
        }
    }
    CHECK(at == identity.size());
    return identity;
}

}  // namespace remora::frontends::vhost_user_blk
