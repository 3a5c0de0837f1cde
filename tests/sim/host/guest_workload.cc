// SPDX-License-Identifier: Apache-2.0
// What a guest asks its disk for: the choice of operation and place, and its story for the oracle.
#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "tests/sim/host/guest_disk.h"

namespace remora::sim {

using virtio::BlkType;
using virtio::Feature;

namespace {

constexpr int kTries = 8;
/// One in so many operations goes to the first blocks of the region, so that some meet.
constexpr std::uint64_t kHotChance = 4;
constexpr std::uint64_t kHotBlocks = 64;

bool changes_blocks(BlkType type) {
    return type == BlkType::Out || type == BlkType::WriteZeroes || type == BlkType::Discard;
}

}  // namespace

bool GuestDisk::may_issue() const {
    if (mode_ == Mode::Verifying) {
        return verify_next_ < end_ || !verify_again_.empty();
    }
    return mode_ == Mode::Working && first_ < end_ &&
           (options_.max_operations == 0 || counts_.issued < options_.max_operations);
}

std::optional<BlkType> GuestDisk::choose_type() {
    const bool writable = !virtio::has(features_, Feature::BlkReadOnly);
    const auto share = [this, writable](std::uint32_t weight, bool changes, Feature needs) {
        return (changes && !writable) || !virtio::has(features_, needs) ? 0U : weight;
    };
    const std::array<std::pair<BlkType, std::uint32_t>, 6> choices{{
        {BlkType::In, options_.reads},
        {BlkType::Out, share(options_.writes, true, Feature::Version1)},
        {BlkType::Flush, share(options_.flushes, false, Feature::BlkFlush)},
        {BlkType::WriteZeroes, share(options_.write_zeroes, true, Feature::BlkWriteZeroes)},
        {BlkType::Discard, share(options_.discards, true, Feature::BlkDiscard)},
        {BlkType::GetId, options_.identities},
    }};
    std::uint64_t total = 0;
    for (const auto& [type, weight] : choices) {
        total += weight;
    }
    std::uint64_t drawn = prng_.below(total);
    for (const auto& [type, weight] : choices) {
        if (drawn < weight) {
            return type;
        }
        drawn -= weight;
    }
    return std::nullopt;
}

bool GuestDisk::collides(const Extent& extent) const {
    for (const auto& queue : queues_) {
        for (const Slot& slot : queue->slots) {
            if (slot.busy && slot.changes && slot.lba < extent.lba + extent.count &&
                extent.lba < slot.lba + slot.count) {
                return true;
            }
        }
    }
    return false;
}

std::optional<GuestDisk::Extent> GuestDisk::choose_extent(BlkType type) {
    const std::uint32_t sectors_per_block = block_size_ / virtio::kSectorBytes;
    std::uint64_t most = options_.max_io_blocks;
    if (type == BlkType::Discard || type == BlkType::WriteZeroes) {
        const std::uint32_t sectors = type == BlkType::Discard
                                          ? config_.max_discard_sectors.get()
                                          : config_.max_write_zeroes_sectors.get();
        most = std::min<std::uint64_t>(options_.max_zero_blocks, sectors / sectors_per_block);
    }
    const std::uint64_t region = end_ - first_;
    for (int attempt = 0; most > 0 && attempt < kTries; ++attempt) {
        const std::uint64_t within =
            prng_.below(kHotChance) == 0 ? std::min(region, kHotBlocks) : region;
        Extent extent;
        extent.lba = first_ + prng_.below(within);
        extent.count = static_cast<std::uint32_t>(
            1 + prng_.below(std::min<std::uint64_t>(most, end_ - extent.lba)));
        if (options_.overlap || !changes_blocks(type) || !collides(extent)) {
            return extent;
        }
    }
    return std::nullopt;
}

std::optional<GuestDisk::Extent> GuestDisk::next_to_verify() {
    if (!verify_again_.empty()) {
        const Extent extent = verify_again_.back();
        verify_again_.pop_back();
        return extent;
    }
    if (verify_next_ >= end_) {
        return std::nullopt;
    }
    Extent extent{verify_next_, static_cast<std::uint32_t>(std::min<std::uint64_t>(
                                    options_.max_io_blocks, end_ - verify_next_))};
    verify_next_ += extent.count;
    return extent;
}

/// Chooses what the slot does next. False: nothing for now.
bool GuestDisk::prepare(Slot& slot) {
    BlkType type = BlkType::In;
    std::optional<Extent> extent;
    slot.verifies = mode_ == Mode::Verifying;
    if (slot.verifies) {
        extent = next_to_verify();
    } else {
        const auto chosen = choose_type();
        type = chosen.value_or(BlkType::In);
        extent = type == BlkType::Flush || type == BlkType::GetId ? Extent{} : choose_extent(type);
        if (!extent) {
            type = BlkType::In;  // Everything it tried is being written.
            extent = choose_extent(type);
        }
    }
    if (!extent) {
        return false;
    }
    const std::uint32_t sectors_per_block = block_size_ / virtio::kSectorBytes;
    slot.lba = extent->lba;
    slot.count = extent->count;
    slot.changes = changes_blocks(type);
    slot.shape = {};
    slot.shape.type = type;
    slot.shape.sector = extent->lba * sectors_per_block;
    slot.shape.odd = options_.odd_layouts && prng_.below(2) == 0;
    slot.shape.indirect = virtio::has(features_, Feature::IndirectDescriptors);
    if (type == BlkType::In || type == BlkType::Out) {
        slot.shape.data_bytes = extent->count * block_size_;
    } else if (type == BlkType::GetId) {
        slot.shape.data_bytes = virtio::kBlkIdBytes;
    } else if (type == BlkType::Discard || type == BlkType::WriteZeroes) {
        slot.shape.range_sectors = extent->count * sectors_per_block;
        if (type == BlkType::WriteZeroes && config_.write_zeroes_may_unmap != 0 &&
            prng_.below(2) == 0) {
            slot.shape.range_flags = virtio::kRangeUnmap;
        }
    }
    return true;
}

/// Tells the oracle, which makes the bytes of a write.
void GuestDisk::begin(Slot& slot) {
    const auto data = ram_->bytes(slot.layout.data, slot.shape.data_bytes);
    switch (slot.shape.type) {
        case BlkType::In:
            std::ranges::fill(data, std::byte{0xa5});
            slot.op = oracle_->begin_read(slot.lba, slot.count);
            break;
        case BlkType::Out:
            slot.op = oracle_->begin_write(slot.lba, slot.count, data);
            break;
        case BlkType::Flush:
            slot.op = oracle_->begin_flush();
            break;
        case BlkType::GetId:
            slot.op = 0;
            break;
        case BlkType::Discard:
        case BlkType::WriteZeroes:
            slot.op =
                oracle_->begin_zero(slot.lba, slot.count, slot.shape.type == BlkType::Discard);
            break;
    }
}

}  // namespace remora::sim
