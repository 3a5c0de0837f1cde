// SPDX-License-Identifier: Apache-2.0
// RaidHome: compares all copies, or all parities, and mends what differs.
#include <algorithm>
#include <cstring>

#include "core/log.h"
#include "services/raid/raid_home.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using reactor::Task;

namespace {

constexpr std::size_t kRoomBytes = std::size_t{2} * kMaxChunkBytes;
/// Rows of RAID 5 at a time: the room has those of all members, the sum and the parity that is.
constexpr std::uint64_t kParityStep =
    kRoomBytes / (kMaxMembers + 2) / RangeLocks::kRowBytes * RangeLocks::kRowBytes;
static_assert(kParityStep > 0);

}  // namespace

Task<> RaidHome::scrub() {
    const RaidLayout& layout = shared_->layout;
    const std::uint64_t total = layout.slot_bytes(0);
    const std::uint64_t before = mismatches_.load();
    begin_job(Progress::Kind::Scrub, 0, total * layout.sets());
    for (std::size_t set = 0; set < layout.sets(); ++set) {
        const std::uint64_t unit = layout.level() == Level::Raid5
                                       ? std::min<std::uint64_t>(layout.chunk_bytes(), kParityStep)
                                       : RangeLocks::kSpanBytes / 2;
        for (std::uint64_t at = 0; at < total;) {
            if (stopping_ || !scrub_wanted_ || view_.frozen || is_degraded()) {
                scrub_wanted_ = false;
                show_status();
                co_return;
            }
            std::uint64_t bytes = std::min(unit, total - at);
            if (layout.level() == Level::Raid5) {
                const std::uint64_t row = at % layout.chunk_bytes();
                bytes = std::min(bytes, layout.chunk_bytes() - row);
                co_await scrub_parity(at / layout.chunk_bytes(), row,
                                      static_cast<std::size_t>(bytes));
            } else {
                co_await scrub_mirror(set, at, static_cast<std::size_t>(bytes));
            }
            at += bytes;
            co_await pace(bytes);
        }
    }
    scrub_wanted_ = false;
    log::info("raid scrub done", log::kv("volume", options_.name),
              log::kv("mismatches", mismatches_.load() - before));
    show_status();
}

void RaidHome::count_mismatches(std::span<const std::byte> left,
                                std::span<const std::byte> right,
                                std::uint64_t at) {
    for (std::size_t row = 0; row < left.size(); row += RangeLocks::kRowBytes) {
        const std::size_t bytes = std::min<std::size_t>(RangeLocks::kRowBytes, left.size() - row);
        if (std::memcmp(left.data() + row, right.data() + row, bytes) != 0) {
            if (mismatches_.fetch_add(1) == 0) {
                log::warn("raid scrub finds a mismatch", log::kv("volume", options_.name),
                          log::kv("member_offset", at + row));
            }
        }
    }
}

Task<> RaidHome::scrub_mirror(std::size_t set, std::uint64_t at, std::size_t bytes) {
    const RangeLock place = RaidShared::mirror_lock(set, at, bytes);
    co_await lock(place);
    const std::size_t first = shared_->layout.first_slot(set);
    const auto left = std::span(job_room_.get(), bytes);
    const auto right = std::span(job_room_.get() + kRoomBytes / 2, bytes);
    const int primary = view_.slots[first].current;
    IoGroup group(legs_, geometry_.block_size);
    group.read(primary, shared_->data_offset + at, left);
    co_await group.wait();
    Recovery recovery(*shared_, legs_, view_);
    if (group.failed() != 0 &&
        co_await recovery.read(first, at, bytes, left, bit_of(primary)) == block::Status::Ok) {
        co_await recovery.mend(primary, at, left);
    }
    for (std::size_t slot = first + 1;
         group.failed() == 0 && slot < first + shared_->layout.slots_per_set(); ++slot) {
        const int leg = view_.slots[slot].current;
        if (leg == kNoLeg || view_.is_suspect(leg)) {
            continue;
        }
        IoGroup other(legs_, geometry_.block_size);
        other.read(leg, shared_->data_offset + at, right);
        co_await other.wait();
        if (other.failed() != 0) {
            co_await recovery.mend(leg, at, left);
        } else if (std::memcmp(left.data(), right.data(), bytes) != 0) {
            count_mismatches(left, right, at);
            other.write(leg, shared_->data_offset + at, left, false);
            co_await other.wait();
            if (other.failed() != 0) {
                report(leg, other.status(leg), true);
            }
        }
    }
    shared_->locks.release(place);
}

Task<> RaidHome::scrub_parity(std::uint64_t stripe, std::uint64_t row, std::size_t bytes) {
    const RangeLock place = RangeLocks::of(stripe, row, bytes);
    co_await lock(place);
    const std::uint64_t at = stripe * shared_->layout.chunk_bytes() + row;
    const std::size_t slot = shared_->layout.parity_slot(stripe);
    const std::size_t slots = shared_->layout.slots();
    const std::span<std::byte> room(job_room_.get(), kRoomBytes);
    const auto parity = room.subspan(bytes * slots, bytes);
    const int leg = view_.slots[slot].current;
    Recovery recovery(*shared_, legs_, view_);
    const bool good = leg != kNoLeg && !view_.is_suspect(leg) &&
                      co_await recovery.read(slot, at, bytes, room, 0) == block::Status::Ok;
    if (good) {
        IoGroup group(legs_, geometry_.block_size);
        group.read(leg, shared_->data_offset + at, parity);
        co_await group.wait();
        if (group.failed() != 0) {
            co_await recovery.mend(leg, at, room.first(bytes));
        } else if (std::memcmp(room.data(), parity.data(), bytes) != 0) {
            count_mismatches(room.first(bytes), parity, at);
            group.write(leg, shared_->data_offset + at, room.first(bytes), false);
            co_await group.wait();
            if (group.failed() != 0) {
                report(leg, group.status(leg), true);
            }
        }
    }
    shared_->locks.release(place);
}

}  // namespace remora::services::raid
