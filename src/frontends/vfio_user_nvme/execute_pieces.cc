// SPDX-License-Identifier: Apache-2.0
// SubmissionQueue: Compare, Verify and Copy, which read what no host receives. One piece of a
// bounded size after the other, with the slot's one request and a scratch buffer of the pool:
//
//   Compare, Verify:  read ─► (compare) ─► read ─► ...            ─► answer
//   Copy:             read ─► write ─► read ─► ... next range ... ─► answer
//
// Other commands may come in between: none of the three is atomic beyond a block.
#include <algorithm>
#include <cstring>

#include "core/probe.h"
#include "frontends/vfio_user_nvme/submission_queue.h"

namespace remora::frontends::vfio_user_nvme {

using nvme::Action;
using nvme::spec::StatusCode;

namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{128} * 1024;

}  // namespace

/// Blocks of the command, or of Copy's range, that are still to be read.
std::uint64_t SubmissionQueue::blocks_left(const Slot& slot) {
    if (slot.plan.action != Action::Copy) {
        return slot.plan.blocks - slot.blocks_done;
    }
    return nvme::copy_range(slot.list, slot.range_index).block_count.get() + 1U - slot.blocks_done;
}

void SubmissionQueue::begin_pieces(Slot& slot) {
    const block::Geometry& geometry = slot.target->geometry;
    std::uint64_t blocks = slot.plan.blocks;
    if (slot.plan.action == Action::Copy) {
        const auto good = nvme::check_copy(slot.list, slot.plan, geometry, blocks);
        if (!good) {
            answer(slot, good.error().status, good.error().range);
            return;
        }
    }
    slot.blocks_done = 0;
    slot.piece_lba = slot.plan.lba;
    const std::uint64_t wanted = std::min(blocks * geometry.block_size, kPieceBytes);
    if (!REMORA_SOMETIMES("vfio-user: the pool has no scratch buffer")) {
        slot.scratch = shared_.context.buffers.allocate(static_cast<std::size_t>(wanted));
    }
    if (slot.scratch.empty()) {
        answer(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
        return;
    }
    read_piece(slot);
}

void SubmissionQueue::read_piece(Slot& slot) {
    const std::uint32_t block = slot.target->geometry.block_size;
    const std::uint64_t blocks = std::min(blocks_left(slot), slot.scratch.size() / block);
    slot.lba = slot.plan.lba + slot.blocks_done;
    if (slot.plan.action == Action::Copy) {
        slot.lba = nvme::copy_range(slot.list, slot.range_index).lba + slot.blocks_done;
    }
    slot.opcode = block::Opcode::Read;
    slot.force_unit_access = false;
    slot.block_count = static_cast<std::uint32_t>(blocks);
    slot.piece = {slot.scratch.data(), static_cast<std::size_t>(blocks * block)};
    slot.data = std::span<const core::Segment>(&slot.piece, 1);
    submit(slot);
}

/// What was just read goes where the copy goes on.
void SubmissionQueue::write_piece(Slot& slot) {
    slot.opcode = block::Opcode::Write;
    slot.force_unit_access = slot.plan.force_unit_access;
    slot.lba = slot.piece_lba;
    submit(slot);
}

/// Whether the piece that was read is what the host sent, from byte `at` on.
bool SubmissionQueue::same_as_data(const Slot& slot, std::uint64_t at) {
    core::SegmentCursor cursor(slot.guest);
    cursor.advance(static_cast<std::size_t>(at));
    std::size_t done = 0;
    while (done < slot.piece.size) {
        const core::Segment run = cursor.peek(slot.piece.size - done);
        if (run.size == 0 || std::memcmp(run.data, slot.piece.data + done, run.size) != 0) {
            return false;
        }
        done += run.size;
        cursor.advance(run.size);
    }
    return true;
}

void SubmissionQueue::piece_done(Slot& slot) {
    if (slot.plan.action == Action::Copy && slot.opcode == block::Opcode::Read) {
        write_piece(slot);
        return;
    }
    const std::uint64_t at = slot.blocks_done * slot.target->geometry.block_size;
    if (slot.plan.action != Action::Copy) {
        // NVM Command Set 1.0, SMART: a Compare is a read command, a Verify only reads data units.
        shared_.smart.add_read(slot.piece.size,
                               slot.plan.action == Action::Compare && slot.blocks_done == 0);
    }
    if (slot.plan.action == Action::Compare && !same_as_data(slot, at)) {
        answer(slot, nvme::spec::status_field(StatusCode::CompareFailure, true));
        return;
    }
    slot.blocks_done += slot.block_count;
    slot.piece_lba += slot.block_count;
    if (slot.plan.action == Action::Copy && blocks_left(slot) == 0) {
        ++slot.range_index;
        slot.blocks_done = 0;
        if (slot.range_index * sizeof(nvme::spec::CopyRange) == slot.list.size()) {
            answer(slot, 0);
            return;
        }
    }
    if (blocks_left(slot) == 0) {
        answer(slot, 0);
        return;
    }
    read_piece(slot);
}

}  // namespace remora::frontends::vfio_user_nvme
