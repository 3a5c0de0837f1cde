// SPDX-License-Identifier: Apache-2.0
// RaidChannel: reads that one member can do, levels without redundancy, mirrors, and flush.
#include <algorithm>
#include <bit>

#include "core/probe.h"
#include "services/raid/raid_channel.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using block::Opcode;
using block::Request;
using block::Status;

/// Sends a request that lies on one member as it is; false when it does not.
bool RaidChannel::try_forward(Request& request) {
    const Level level = shared_.layout.level();
    if (request.opcode == Opcode::Flush || view_.frozen ||
        (request.opcode != Opcode::Read && is_redundant(level))) {
        return false;
    }
    const std::uint64_t bytes = std::uint64_t{request.block_count} * shared_.block_size;
    const auto run = shared_.layout.find(request.lba * shared_.block_size, bytes);
    if (run.bytes < bytes) {
        return false;
    }
    int leg = view_.slots[run.slot].current;
    if (is_mirrored(level)) {
        leg = choose_mirror(run.set, run.offset, bytes);
    } else if (level == Level::Raid5) {
        leg = shared_.readable(view_, run.slot, run.offset);
    }
    if (leg == kNoLeg) {
        return false;
    }
    request.push_frame(*this).scratch = {static_cast<std::uint64_t>(leg), request.lba, run.slot, 0};
    request.lba = (shared_.data_offset + run.offset) / shared_.block_size;
    legs_.queue(leg, request);
    return true;
}

void RaidChannel::forwarded_back(Request& request, int leg) {
    if (request.status != Status::Ok) {
        count_error(leg, request.opcode);
        if (is_redundant(shared_.layout.level())) {
            if (is_gone(request.status)) {
                shared_.home.report(leg, request.status, false);
            }
            failed_reads_.push_back(request);
            start_lane();
            return;
        }
    }
    request.lba = request.top_frame().scratch[1];
    request.pop_frame();
    up_.push_back(request);
}

/// The copy with the least to do; the first one where the copies may differ, so that what is read
/// does not change.
int RaidChannel::choose_mirror(std::size_t set, std::uint64_t offset, std::uint64_t bytes) {
    bool unsynced = false;
    for (std::size_t region = shared_.region_of(set, offset);
         region <= shared_.region_of(set, offset + bytes - 1); ++region) {
        unsynced = unsynced || shared_.intent->is_unsynced(region);
    }
    const std::size_t first = shared_.layout.first_slot(set);
    const std::size_t count = shared_.layout.slots_per_set();
    const unsigned turn = unsynced ? 0 : read_turn_++;
    int best = kNoLeg;
    for (std::size_t i = 0; i < count; ++i) {
        const int leg = view_.slots[first + (i + turn) % count].current;
        if (leg == kNoLeg || view_.is_suspect(leg)) {
            continue;
        }
        if (best == kNoLeg || legs_.outstanding(leg) < legs_.outstanding(best)) {
            best = leg;
        }
        if (unsynced) {
            break;
        }
    }
    return best;
}

bool RaidChannel::begin_flush() {
    Op* op = take_op(Kind::Flush);
    if (op == nullptr) {
        return false;
    }
    ++splitting_->top_frame().scratch[0];
    op->stage = Stage::Settle;
    const LegMask legs = view_.legs();
    if (view_.frozen || legs == 0) {
        finish(*op, Status::IoError);
        return true;
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((legs & bit_of(leg)) != 0) {
            Sub& sub = add_sub(*op, leg, Opcode::Flush, 0, 0);
            sub.lba = 0;
            sub.force_unit_access = false;
        }
    }
    return true;
}

/// A part of a read, or of a write that needs no parity.
bool RaidChannel::begin_plain() {
    const Request& parent = *splitting_;
    const std::uint64_t at = parent.lba * shared_.block_size + split_done_;
    const auto run = shared_.layout.find(at, split_bytes_ - split_done_);
    const Level level = shared_.layout.level();
    const bool read = parent.opcode == Opcode::Read;
    if (read && level == Level::Raid5 && !view_.frozen &&
        shared_.readable(view_, run.slot, run.offset) == kNoLeg) {
        return begin_parity_read(run);
    }
    const bool mirror = is_mirrored(level) && !read;
    Op* op = take_op(read ? Kind::Read : mirror ? Kind::Mirror : Kind::Linear);
    if (op == nullptr) {
        return false;
    }
    std::uint64_t bytes = run.bytes;
    if (mirror) {
        bytes = std::min(bytes, RangeLocks::kSpanBytes - run.offset % RangeLocks::kSpanBytes);
    }
    if (!gather(*op, bytes)) {
        free_.push_front(*op);
        return false;
    }
    op->set = run.set;
    op->offset = run.offset;
    op->bytes = bytes;
    ++splitting_->top_frame().scratch[0];
    split_done_ += bytes;
    if (mirror) {
        op->lock = RaidShared::mirror_lock(run.set, run.offset, bytes);
        advance(*op);
        return true;
    }
    int leg = view_.slots[run.slot].current;
    if (is_mirrored(level)) {
        leg = choose_mirror(run.set, run.offset, bytes);
    } else if (level == Level::Raid5) {
        leg = shared_.readable(view_, run.slot, run.offset);
    }
    if (leg == kNoLeg || view_.frozen) {
        finish(*op, Status::IoError);
        return true;
    }
    op->stage = Stage::Settle;
    Sub& sub = add_sub(*op, leg, parent.opcode, op->offset, static_cast<std::size_t>(bytes));
    sub.data = op->data;
    sub.top_frame().scratch[2] = run.slot;
    return true;
}

/// The part's data: all of the request's own, or a slice of it, or a buffer where a block lies in
/// too many pieces. May make `bytes` less. False when there is no buffer now.
bool RaidChannel::gather(Op& op, std::uint64_t& bytes) {
    const Request& parent = *splitting_;
    if (parent.data.empty()) {
        return true;
    }
    if (bytes == split_bytes_) {
        op.data = parent.data;
        return true;
    }
    core::SegmentCursor cursor = split_cursor_;
    std::uint64_t found = 0;
    std::size_t count = 0;
    while (found < bytes && count < kSlices) {
        op.slices[count] = cursor.peek(static_cast<std::size_t>(bytes - found));
        found += op.slices[count].size;
        cursor.advance(op.slices[count++].size);
    }
    const std::uint64_t whole = found - found % shared_.block_size;
    if (whole == 0) {
        REMORA_COVER("raid: a block lies in too many pieces");
        op.buffer = take_buffer(shared_.block_size);
        if (op.buffer.empty()) {
            return false;
        }
        bytes = shared_.block_size;
        op.bounced = true;
        op.cursor = split_cursor_;
        if (parent.opcode == Opcode::Write) {
            core::SegmentCursor(split_cursor_).copy_out(op.buffer);
        }
        op.slices[0] = {op.buffer.data(), op.buffer.size()};
        count = 1;
    } else {
        for (std::uint64_t extra = found - whole; extra > 0;) {
            core::Segment& last = op.slices[count - 1];
            const auto cut = std::min<std::uint64_t>(extra, last.size);
            last.size -= static_cast<std::size_t>(cut);
            extra -= cut;
            count -= last.size == 0 ? 1U : 0U;
        }
        bytes = whole;
    }
    op.data = std::span(op.slices).first(count);
    split_cursor_.advance(static_cast<std::size_t>(bytes));
    return true;
}

// Mirrors.

void RaidChannel::advance_mirror(Op& op) {
    if (view_.frozen) {
        finish(op, Status::IoError);
        return;
    }
    if (!op.entered) {
        op.entered = true;
        op.region = shared_.region_of(op.set, op.offset);
        shared_.intent->enter(op.region);
    }
    if (!shared_.intent->is_marked(op.region)) {
        if (shared_.intent->ask(op.region)) {
            shared_.home.want_mark(op.region);
        }
        marks_.push_back(op);
        return;
    }
    LegMask legs = 0;
    const std::size_t first = shared_.layout.first_slot(op.set);
    for (std::size_t i = first; i < first + shared_.layout.slots_per_set(); ++i) {
        legs |= shared_.writable(view_, i, op.offset);
    }
    op.stage = Stage::Settle;
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((legs & bit_of(leg)) != 0) {
            add_sub(op, leg, op.parent->opcode, op.offset, static_cast<std::size_t>(op.bytes))
                .data = op.data;
        }
    }
    if (legs == 0) {
        finish(op, Status::IoError);
    }
}

/// Of a flush, too, whose set is all of the array.
void RaidChannel::settle_mirror(Op& op) {
    const Level level = shared_.layout.level();
    if (view_.frozen || (op.failed != 0 && !is_redundant(level))) {
        finish(op, op.failed != 0 ? op.status : Status::IoError);
        return;
    }
    if (op.failed == 0) {
        finish(op, Status::Ok);
        return;
    }
    // Where one is the only copy of its set, it stays, and its error is the request's.
    bool wait = false;
    bool lost = false;
    const LegMask stays = op.failed & view_.legs();
    for (std::size_t set = 0; set < shared_.layout.sets(); ++set) {
        LegMask copies = 0;
        LegMask incoming = 0;
        const std::size_t first = shared_.layout.first_slot(set);
        for (std::size_t i = first; i < first + shared_.layout.slots_per_set(); ++i) {
            const SlotView& slot = view_.slots[i];
            copies |= slot.current != kNoLeg ? bit_of(slot.current) : 0;
            incoming |= slot.incoming != kNoLeg ? bit_of(slot.incoming) : 0;
        }
        const bool only = level != Level::Raid5 && std::has_single_bit(copies);
        if (op.kind == Kind::Mirror && set != op.set) {
            continue;
        }
        lost = lost || (only && (copies & stays) != 0) || (copies & op.done) == 0;
        wait = wait || ((copies | incoming) & stays) != 0;
    }
    if (lost && level != Level::Raid5) {
        finish(op, op.status);
    } else if (wait) {
        hold(op);
    } else {
        finish(op, Status::Ok);
    }
}

}  // namespace remora::services::raid
