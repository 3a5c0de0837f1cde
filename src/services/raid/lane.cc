// SPDX-License-Identifier: Apache-2.0
// RaidChannel: what is done one at a time for that which could not be read.
#include <algorithm>

#include "core/probe.h"
#include "reactor/call.h"
#include "services/raid/look_again.h"
#include "services/raid/raid_channel.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using block::Request;
using block::Status;
using reactor::Task;

void RaidChannel::start_lane() {
    if (lane_runs_) {
        return;
    }
    lane_runs_ = true;
    // Not a gate of the channel's own: the coroutine's end is noticed after its last request has
    // gone up, whose owner may end the channel.
    CHECK(lanes_.spawn([](RaidChannel* channel) -> Task<> { co_await channel->run_lane(); }, this));
}

Task<> RaidChannel::run_lane() {
    for (;;) {
        if (Request* request = failed_reads_.pop_front()) {
            co_await serve_read(*request);
            lane_read_done(*request);
        } else if (Op* op = broken_.pop_front()) {
            const bool mended = co_await mend_op(*op);
            if (mended) {
                advance(*op);
            } else {
                REMORA_COVER("raid: a write needs rows that nobody can give");
                finish(*op, op->status);
            }
        } else {
            break;
        }
        // What went up does so in a later run, so that until the next wait the channel lives.
        wake();
    }
    lane_runs_ = false;
}

void RaidChannel::lane_read_done(Request& request) {
    const auto scratch = request.top_frame().scratch;
    request.pop_frame();
    if ((scratch[0] & kSubMark) != 0) {
        Op& op = *static_cast<Sub&>(request).op;
        op.failed =
            request.status == Status::Ok ? 0 : bit_of(static_cast<int>(scratch[0] & kLegMark));
        op.status = request.status;
        op.nvme_status = request.nvme_status;
        step_done(op);
    } else {
        request.lba = scratch[1];
        up_.push_back(request);
    }
}

Task<> RaidChannel::lock(RangeLock wanted) {
    return wait_for_lock(shared_.locks, wanted);
}

/// A read that its leg could not do, from the others.
Task<> RaidChannel::serve_read(Request& request) {
    const auto& scratch = request.top_frame().scratch;
    const int leg = static_cast<int>(scratch[0] & kLegMark);
    const auto slot = static_cast<std::size_t>(scratch[2]);
    const std::uint64_t begin = request.lba * shared_.block_size - shared_.data_offset;
    const std::uint64_t bytes = std::uint64_t{request.block_count} * shared_.block_size;
    core::SegmentCursor cursor(request.data);
    Status status = Status::Ok;
    for (std::uint64_t done = 0; done < bytes && status == Status::Ok;) {
        const std::uint64_t at = begin + done;
        const std::uint64_t step =
            std::min(RangeLocks::kRowBytes - at % RangeLocks::kRowBytes, bytes - done);
        status = co_await serve_piece(leg, slot, at, static_cast<std::size_t>(step));
        if (status == Status::Ok) {
            cursor.copy_in({lane_room_.get(), static_cast<std::size_t>(step)});
        }
        done += step;
    }
    if (status == Status::Ok) {
        request.nvme_status = 0;
        request.is_hole = false;
        request.status = Status::Ok;
    }
}

/// Whether the leg has what is at `offset` of the slot. It may be another device's by now, which
/// was given the place of the one that could not be read, and is being rebuilt.
bool RaidChannel::has_all(int leg, std::size_t slot, std::uint64_t offset) const {
    if (!view_.has(leg) || view_.is_suspect(leg)) {
        return false;
    }
    const RaidLayout& layout = shared_.layout;
    if (!is_mirrored(layout.level())) {
        return shared_.readable(view_, slot, offset) == leg;
    }
    const std::size_t first = layout.first_slot(layout.set_of(slot));
    for (std::size_t i = first; i < first + layout.slots_per_set(); ++i) {
        if (view_.slots[i].current == leg) {
            return true;
        }
    }
    return false;
}

/// One row, which it leaves in the lane's room. From the leg itself, if it can: of all that could
/// not be read at once most can be, and where copies are not the same yet another one is another
/// story.
Task<Status> RaidChannel::serve_piece(int leg,
                                      std::size_t slot,
                                      std::uint64_t offset,
                                      std::size_t bytes) {
    const std::uint64_t chunk = shared_.layout.chunk_bytes();
    const bool parity = shared_.layout.level() == Level::Raid5;
    const RangeLock place =
        parity ? RangeLocks::of(offset / chunk, offset % chunk, bytes)
               : RaidShared::mirror_lock(shared_.layout.set_of(slot), offset, bytes);
    co_await lock(place);
    Recovery recovery(shared_, legs_, view_);
    const std::span<std::byte> room(lane_room_.get(), kReserveBytes);
    if (has_all(leg, slot, offset)) {
        IoGroup group(legs_, shared_.block_size);
        group.read(leg, shared_.data_offset + offset, room.first(bytes));
        co_await group.wait();
        if (group.failed() == 0) {
            shared_.locks.release(place);
            co_return Status::Ok;
        }
    }
    const Status status = co_await recovery.read(slot, offset, bytes, room, bit_of(leg));
    if (status == Status::Ok && has_all(leg, slot, offset)) {
        co_await recovery.mend(leg, offset, room.first(bytes));
    }
    shared_.locks.release(place);
    co_return status;
}

/// Old rows that a write needs, which begins again then.
Task<bool> RaidChannel::mend_op(Op& op) {
    const int leg = op.bad_leg;
    const std::uint64_t offset = row_offset(op);
    const std::uint64_t bytes = op.band.row_bytes;
    std::size_t slot = 0;
    while (slot < shared_.layout.slots() && view_.slots[slot].current != leg &&
           view_.slots[slot].incoming != leg) {
        ++slot;
    }
    Status status = Status::Ok;
    if (slot < shared_.layout.slots()) {  // else it has left, and is not needed any more
        for (std::uint64_t done = 0; done < bytes && status == Status::Ok;) {
            const std::uint64_t at = offset + done;
            const std::uint64_t step =
                std::min(RangeLocks::kRowBytes - at % RangeLocks::kRowBytes, bytes - done);
            status = co_await serve_piece(leg, slot, at, static_cast<std::size_t>(step));
            done += step;
        }
    }
    co_return status == Status::Ok;
}

}  // namespace remora::services::raid
