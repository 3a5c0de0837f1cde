// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: writes, write-zeroes and discards. What each says in the page is durable before
// the block below may change, so a block is at any instant one of the two that its entry names.
#include <algorithm>

#include "core/check.h"
#include "core/probe.h"
#include "services/integrity/integrity_channel.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

}  // namespace

/// Copies the part into the buffer and sums it, in one pass over its bytes.
void IntegrityChannel::copy_in(Slot& slot) {
    core::SegmentCursor cursor = slot.position;
    std::byte* to = slot.buffer.data();
    for (std::uint32_t i = 0; i < slot.blocks; ++i) {
        core::Crc32c crc = shared_.salt.begin_block(slot.lba + slot.done + i);
        for (std::size_t left = block_size_; left > 0;) {
            const core::Segment run = cursor.peek(left);
            crc.update_and_copy({run.data, run.size}, to);
            cursor.advance(run.size);
            to += run.size;
            left -= run.size;
        }
        slot.sums[i] = ChecksumSalt::checksum_of(crc);
    }
}

/// The blocks are the slot's own. Each entry must be one durable value before it takes another. The
/// lock is held.
IntegrityChannel::Progress IntegrityChannel::prepare(Slot& slot) {
    CachedPage& page = *slot.page;
    const EntryRange range = slot.range();
    page.settle_if_covered(shared_.flushes);
    if (page.undurable.any(range)) {
        // Nobody else writes to them, so what had to be flushed when it was first seen is enough.
        const std::uint64_t needed = slot.flush_needed != 0 ? slot.flush_needed : page.flush_needed;
        if (!shared_.flushes.covers(needed)) {
            return wait_for_flush(slot, needed);
        }
        page.settle(range);
    }
    for (std::uint32_t i = range.first; i < range.end(); ++i) {
        if (page.entries[i].a != page.entries[i].b) {
            return look_at_block(slot, i);
        }
    }
    for (std::uint32_t i = 0; i < slot.blocks; ++i) {
        page.change(range.first + i, {page.entries[range.first + i].a, slot.sums[i]});
    }
    slot.durable = true;
    slot.stage = Stage::Commit;
    want_write(page, slot);
    return Progress::Waits;
}

/// What is there, and whether it is durable, is of no matter: it is not looked at any more. The
/// lock is held.
IntegrityChannel::Progress IntegrityChannel::prepare_zeroes(Slot& slot) {
    CachedPage& page = *slot.page;
    const EntryRange range = slot.range();
    const bool must_be_durable = slot.request->force_unit_access && volatile_below_;
    const bool below_as_here = !page.stale && !page.in_flight;
    if (below_as_here && !must_be_durable && page.kind(range.first) == BlockKind::NeverWritten &&
        page.run_of_kind(range) == range.count) {
        release_page(slot);
        slot.done += slot.blocks;
        slot.stage = Stage::Release;
        return Progress::Next;
    }
    for (std::uint32_t i = range.first; i < range.end(); ++i) {
        page.change(i, {kNeverWritten, kNeverWritten});
    }
    page.forget_state(range);
    page.touched = true;
    // Before the blocks below are given up nothing must say any more that they are needed.
    slot.durable = must_be_durable || slot.work == Work::Discard;
    slot.stage = Stage::Commit;
    want_write(page, slot);
    return Progress::Waits;
}

/// The page has been written, or could not be; or the slot is to begin that.
IntegrityChannel::Progress IntegrityChannel::commit(Slot& slot) {
    if (slot.leads) {
        return lead_write(slot) ? Progress::Waits : Progress::Later;
    }
    if (slot.status != Status::Ok) {
        const Hold hold(slot.page->set->lock);
        if (!hold) {
            return Progress::Later;
        }
        revert(slot);
        release_page(slot);
        slot.stage = Stage::Release;
        return Progress::Next;
    }
    if (slot.work == Work::WriteZeroes) {
        slot.done += slot.blocks;
        slot.stage = Stage::Release;
        return Progress::Next;
    }
    return write_below(slot);
}

/// What was not written to a block is not in its entry, whatever the page below says by now.
void IntegrityChannel::revert(Slot& slot) {
    if (slot.work != Work::Write) {
        return;  // the blocks read as zeros from now on, or again as before after a crash
    }
    CachedPage& page = *slot.page;
    for (std::uint32_t i = slot.entry; i < slot.range().end(); ++i) {
        page.change(i, {page.entries[i].a, page.entries[i].a});
    }
}

IntegrityChannel::Progress IntegrityChannel::write_below(Slot& slot) {
    Request& request = *slot.request;
    if (slot.work == Work::Write) {
        slot.pieces[0] = {slot.buffer.data(), slot.blocks * block_size_};
        request.data = std::span(slot.pieces).first(1);
    }
    request.lba = shared_.layout.data_start + slot.lba + slot.done;
    request.block_count = slot.blocks;
    slot.stage = Stage::Note;
    down_.push_back(request);
    return Progress::Waits;
}

IntegrityChannel::Progress IntegrityChannel::note(Slot& slot) {
    const Request& request = *slot.request;
    const bool failed = request.status != Status::Ok;
    {
        CachedPage& page = *slot.page;
        const Hold hold(page.set->lock);
        if (!hold) {
            return Progress::Later;
        }
        if (slot.work == Work::Write) {
            page.settle_if_covered(shared_.flushes);  // before it needs another one
            const std::uint64_t needed = shared_.flushes.needed_now();
            if (failed) {
                page.note_failed(slot.range(), volatile_below_, needed);
            } else {
                page.note_written(slot.range(), !volatile_below_ || request.force_unit_access,
                                  needed);
            }
        }
        release_page(slot);
    }
    slot.stage = Stage::Release;
    if (failed) {
        slot.status = request.status;
        slot.nvme_status = request.nvme_status;
        return Progress::Next;
    }
    slot.done += slot.blocks;
    if (slot.work == Work::Write) {
        slot.position.advance(slot.blocks * block_size_);
    }
    return Progress::Next;
}

}  // namespace remora::services::integrity
