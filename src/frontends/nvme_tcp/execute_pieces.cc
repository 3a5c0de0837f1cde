// SPDX-License-Identifier: Apache-2.0
// Connection: Compare, Verify and Copy, which read what no host receives. One piece of a bounded
// size after the other, with the slot's one request and a scratch buffer of the pool:
//
//   Compare, Verify:  read ─► (compare) ─► read ─► ...            ─► answer
//   Copy:             read ─► write ─► read ─► ... next range ... ─► answer
//
// Other commands may come in between: none of the three is atomic beyond a block, and a Copy onto
// its own sources takes what it has written there.
#include <algorithm>
#include <bit>
#include <cstring>

#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"

namespace remora::frontends::nvme_tcp {

using nvme::Action;
using nvme::spec::StatusCode;

namespace {

constexpr std::uint64_t kPieceBytes = std::uint64_t{128} * 1024;

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

/// What a buffer of so many bytes takes of the pool.
std::size_t scratch_footprint(std::uint64_t bytes) {
    return std::bit_ceil(std::max(static_cast<std::size_t>(bytes), memory::BufferPool::kMinBytes));
}

/// Blocks of the command, or of Copy's range, that are still to be read.
std::uint64_t blocks_left(const Slot& slot) {
    if (slot.plan.action != Action::Copy) {
        return slot.plan.blocks - slot.blocks_done;
    }
    const auto list = slot.buffer.first(slot.plan.range_bytes);
    const auto range = nvme::copy_range(list, slot.range_index);
    return range.block_count.get() + 1U - slot.blocks_done;
}

}  // namespace

/// Scratch memory is not waited for: the command may hold a buffer that others wait for. Its host
/// tries again (NVM Express Base 2.0, Command Interrupted). A piece is enough. It counts as the
/// connection's share.
bool Connection::acquire_scratch(Slot& slot, std::uint64_t wanted) {
    const std::uint64_t bytes = std::min(wanted, kPieceBytes);
    const std::size_t takes = scratch_footprint(bytes);
    const bool alone = held_bytes_ <= slot.footprint();  // or it would be put off for ever
    const bool fits = alone || held_bytes_ + takes <= shard_.buffers().capacity() / 2;
    if (fits) {
        slot.scratch = shard_.buffers().allocate(static_cast<std::size_t>(bytes));
    }
    held_bytes_ += slot.scratch.empty() ? 0 : takes;
    return !slot.scratch.empty();
}

void Connection::release_scratch(Slot& slot) {
    if (!slot.scratch.empty()) {
        held_bytes_ -= scratch_footprint(slot.scratch.size());
        shard_.buffers().release(slot.scratch);
        slot.scratch = {};
        shard_.buffer_released();
    }
}

void Connection::begin_pieces(Slot& slot, OpenNamespace& target) {
    std::uint64_t blocks = slot.plan.blocks;
    if (slot.plan.action == Action::Copy) {
        const auto good = nvme::check_copy(slot.buffer.first(slot.plan.range_bytes), slot.plan,
                                           target.geometry, blocks);
        if (!good) {
            answer(slot, good.error().status, good.error().range);
            return;
        }
    }
    slot.range_index = 0;
    slot.blocks_done = 0;
    slot.piece_lba = slot.plan.lba;
    if (!acquire_scratch(slot, blocks * target.geometry.block_size)) {
        answer(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
        return;
    }
    read_piece(slot, target);
}

/// The next read into the scratch buffer.
void Connection::prepare_read(Slot& slot, std::uint32_t block) {
    const std::uint64_t blocks = std::min(blocks_left(slot), slot.scratch.size() / block);
    slot.lba = slot.plan.lba + slot.blocks_done;
    if (slot.plan.action == Action::Copy) {
        const auto list = slot.buffer.first(slot.plan.range_bytes);
        slot.lba = nvme::copy_range(list, slot.range_index).lba + slot.blocks_done;
    }
    slot.opcode = block::Opcode::Read;
    slot.force_unit_access = false;
    slot.block_count = static_cast<std::uint32_t>(blocks);
    slot.segment = {slot.scratch.data(), static_cast<std::size_t>(blocks * block)};
    slot.data = std::span<const core::Segment>(&slot.segment, 1);
}

void Connection::read_piece(Slot& slot, OpenNamespace& target) {
    prepare_read(slot, target.geometry.block_size);
    submit_later(slot, target);
}

/// What was just read goes where the copy goes on.
void Connection::write_piece(Slot& slot, OpenNamespace& target) {
    slot.opcode = block::Opcode::Write;
    slot.force_unit_access = slot.plan.force_unit_access;
    slot.lba = slot.piece_lba;
    submit_later(slot, target);
}

void Connection::piece_done(Slot& slot) {
    OpenNamespace* target = target_of(slot);
    if (target == nullptr) {
        answer(slot, refused(StatusCode::InvalidNamespace),
               static_cast<std::uint32_t>(slot.range_index));
        return;
    }
    if (slot.plan.action == Action::Copy && slot.opcode == block::Opcode::Read) {
        write_piece(slot, *target);
        return;
    }
    const std::size_t bytes = slot.segment.size;
    if (slot.plan.action != Action::Copy) {
        // The first piece is counted for the command: NVM Command Set 1.0, SMART Host Read Command
        // (not Verify) and SMART Data Units Read Command.
        replica_->io.add_read(bytes, slot.plan.action == Action::Compare && slot.blocks_done == 0);
    }
    if (slot.plan.action == Action::Compare) {
        const auto at = static_cast<std::size_t>(slot.blocks_done * target->geometry.block_size);
        if (std::memcmp(slot.buffer.data() + at, slot.scratch.data(), bytes) != 0) {
            answer(slot, refused(StatusCode::CompareFailure));
            return;
        }
    }
    slot.blocks_done += slot.block_count;
    slot.piece_lba += slot.block_count;
    if (slot.plan.action == Action::Copy && blocks_left(slot) == 0) {
        ++slot.range_index;
        slot.blocks_done = 0;
        if (slot.range_index * sizeof(nvme::spec::CopyRange) == slot.plan.range_bytes) {
            answer(slot, 0);
            return;
        }
    }
    if (blocks_left(slot) == 0) {
        answer(slot, 0);
        return;
    }
    read_piece(slot, *target);
}

}  // namespace remora::frontends::nvme_tcp
