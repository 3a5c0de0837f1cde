// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: reads. The first try reads into the request's own memory, beside whatever
// writes the same blocks: what does not match may be such a write, or a guest that plays with its
// memory. The exact one has the blocks for itself and reads into a buffer; its word counts.
#include <algorithm>
#include <cstring>

#include "core/check.h"
#include "core/probe.h"
#include "services/integrity/integrity_channel.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

}  // namespace

/// The page is there; what is to be read of the part's first blocks of one kind? The lock is held.
IntegrityChannel::Progress IntegrityChannel::look(Slot& slot) {
    CachedPage& page = *slot.page;
    const std::uint32_t run = page.run_of_kind(slot.range());
    const BlockKind kind = page.kind(slot.entry);
    if (slot.holds && run < slot.blocks) {
        page.unlock({slot.entry + run, slot.blocks - run}, woken_);
    }
    slot.blocks = run;
    if (kind == BlockKind::NeverWritten) {
        release_page(slot);
        slot.stage = Stage::Zero;
        return Progress::Next;
    }
    if (kind == BlockKind::Doubtful && !slot.exact) {
        REMORA_COVER("integrity: a block is zeros, or was written before a crash");
        release_page(slot);
        slot.exact = true;
        slot.stage = Stage::Begin;
        return Progress::Next;
    }
    return read_below(slot);
}

/// The lock is held.
IntegrityChannel::Progress IntegrityChannel::read_below(Slot& slot) {
    Request& request = *slot.request;
    if (slot.exact) {
        slot.pieces[0] = {slot.buffer.data(), slot.blocks * block_size_};
        slot.piece_count = 1;
        request.data = std::span(slot.pieces).first(1);
    } else if (slot.blocks == slot.block_count) {
        request.data = slot.data;
    } else {
        core::SegmentCursor cursor = slot.position;
        std::size_t bytes = 0;
        const std::size_t wanted = slot.blocks * block_size_;
        for (slot.piece_count = 0; slot.piece_count < Slot::kPieces && bytes < wanted;
             ++slot.piece_count) {
            slot.pieces[slot.piece_count] = cursor.peek(wanted - bytes);
            bytes += slot.pieces[slot.piece_count].size;
            cursor.advance(slot.pieces[slot.piece_count].size);
        }
        if (bytes < wanted) {
            REMORA_COVER("integrity: a part of a read has too many segments");
            release_page(slot);
            slot.exact = true;
            slot.stage = Stage::Begin;
            return Progress::Next;
        }
        request.data = std::span(slot.pieces).first(slot.piece_count);
    }
    request.takes_in_place = false;  // the bytes are summed
    request.lba = shared_.layout.data_start + slot.lba + slot.done;
    request.block_count = slot.blocks;
    slot.stage = Stage::Check;
    down_.push_back(request);
    return Progress::Waits;
}

IntegrityChannel::Progress IntegrityChannel::zero(Slot& slot) {
    const std::size_t bytes = slot.blocks * block_size_;
    if (slot.takes_in_place && slot.blocks == slot.block_count) {
        slot.request->is_hole = true;
    } else if (slot.work != Work::Scrub) {
        if (!spend(bytes)) {
            return Progress::Later;
        }
        slot.position.zero(bytes);
    }
    slot.done += slot.blocks;
    slot.exact = slot.work == Work::Scrub;
    slot.stage = Stage::Release;
    return Progress::Next;
}

IntegrityChannel::Progress IntegrityChannel::check(Slot& slot) {
    Request& request = *slot.request;
    CHECK(!request.is_hole);  // it was not taken, so the bytes are there
    if (request.status != Status::Ok) {
        slot.status = request.status;
        slot.nvme_status = request.nvme_status;
        slot.stage = Stage::Release;
        return Progress::Next;
    }
    const std::size_t bytes = slot.blocks * block_size_;
    if (!slot.summed) {
        if (!spend(bytes)) {
            return Progress::Later;
        }
        sum(slot);
    }
    {
        const Hold hold(slot.page->set->lock);
        if (!hold) {
            return Progress::Later;
        }
        const bool good = slot.exact ? judge_exact(slot) : judge(slot);
        if (!good && !slot.exact) {
            REMORA_COVER("integrity: a read is done again, alone with its blocks");
            release_page(slot);
            slot.exact = true;
            slot.stage = Stage::Begin;
            return Progress::Next;
        }
        if (!good) {
            slot.status = Status::DataCorrupt;
        }
        release_page(slot);
    }
    slot.stage = Stage::Release;
    if (slot.status != Status::Ok) {
        return Progress::Next;
    }
    if (slot.work == Work::Scrub) {
        static_cast<ScrubRequest&>(request).blocks_read += slot.blocks;
    } else if (slot.exact) {
        slot.position.copy_in(slot.buffer.first(bytes));
        slot.exact = false;
    } else {
        slot.position.advance(bytes);
    }
    slot.done += slot.blocks;
    return Progress::Next;
}

void IntegrityChannel::sum(Slot& slot) {
    const core::Segment whole{slot.buffer.data(), slot.blocks * block_size_};
    core::SegmentCursor cursor =
        slot.exact ? core::SegmentCursor(std::span(&whole, 1)) : slot.position;
    for (std::uint32_t i = 0; i < slot.blocks; ++i) {
        core::Crc32c crc = shared_.salt.begin_block(slot.lba + slot.done + i);
        for (std::size_t left = block_size_; left > 0;) {
            const core::Segment run = cursor.peek(left);
            crc.update({run.data, run.size});
            cursor.advance(run.size);
            left -= run.size;
        }
        slot.sums[i] = ChecksumSalt::checksum_of(crc);
    }
    slot.summed = true;
}

/// The lock is held. False is not the last word.
bool IntegrityChannel::judge(Slot& slot) {
    for (std::uint32_t i = 0; i < slot.blocks; ++i) {
        if (!slot.page->allows(slot.entry + i, slot.sums[i])) {
            return false;
        }
    }
    return true;
}

/// The lock is held, and the blocks are the slot's own. A scrub looks at all of them, and what it
/// finds does not make it fail; a read ends with the first.
bool IntegrityChannel::judge_exact(Slot& slot) {
    for (std::uint32_t i = 0; i < slot.blocks; ++i) {
        if (judge_block(slot, i)) {
            continue;
        }
        shared_.mismatches.add(shared_.options.name, slot.lba + slot.done + i, reactor_.now());
        if (slot.work != Work::Scrub) {
            return false;
        }
    }
    return true;
}

/// What was found so after a crash is one value from then on, now that it was seen.
bool IntegrityChannel::judge_block(Slot& slot, std::uint32_t i) {
    CachedPage& page = *slot.page;
    const std::uint32_t entry = slot.entry + i;
    const Checksums at = page.entries[entry];
    std::uint32_t sum = slot.sums[i];
    if (at.a == kNeverWritten && sum != at.b && !page.second.test(entry)) {
        std::memset(slot.buffer.data() + i * block_size_, 0, block_size_);
        sum = kNeverWritten;
    } else if (!page.allows(entry, sum)) {
        return false;
    }
    if (at.a != at.b && !page.undurable.test(entry)) {
        page.change(entry, {sum, sum});
    }
    return true;
}

}  // namespace remora::services::integrity
