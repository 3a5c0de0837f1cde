// SPDX-License-Identifier: Apache-2.0
// SubmissionQueue: commands, from their entry to the block layer and back.
#include <memory>

#include "core/probe.h"
#include "frontends/vfio_user_nvme/submission_queue.h"
#include "nvme/status_map.h"

namespace remora::frontends::vfio_user_nvme {

using nvme::Action;
using nvme::Transfer;
using nvme::spec::StatusCode;

namespace {

/// Pieces of the data of a command that has more than a slot has room for: a page of them is enough
/// for most.
constexpr std::size_t kManySegments = 256;

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

}  // namespace

void SubmissionQueue::admit(Slot& slot) {
    slot.state = SlotState::Executing;
    slot.plan = {};
    slot.guest = {};
    slot.target = nullptr;
    slot.range_index = 0;
    slot.nvme_status = 0;
    slot.takes_in_place = false;
    slot.is_hole = false;
    slot.submitted = shared_.context.reactor.now();
    if (const std::uint16_t status = plan(slot); status != 0) {
        ++shared_.counters.refused_commands;
        answer(slot, status);
        return;
    }
    execute(slot);
}

/// Every check before the command costs anything: 0, or the status field to refuse it with.
std::uint16_t SubmissionQueue::plan(Slot& slot) {
    OpenNamespace* target = shared_.find(slot.command.nsid);
    if (target == nullptr) {
        return refused(StatusCode::InvalidNamespace);
    }
    if (const std::uint16_t refusal =
            nvme::decode_io(slot.command, *target, kMaxTransferBytes, slot.plan);
        refusal != 0) {
        return refusal;
    }
    switch (slot.plan.action) {
        case Action::Fused:
            return refused(StatusCode::InvalidField);  // FUSES is 0
        case Action::Mark:
        case Action::Reservation:
        case Action::Rewrite:
            return refused(StatusCode::InvalidOpcode);
        case Action::Request:
        case Action::Discard:
        case Action::Compare:
        case Action::Verify:
        case Action::Copy:
            break;
    }
    if (const std::uint16_t refusal = locate(slot); refusal != 0) {
        return refusal;
    }
    slot.target = target;
    target->enter();
    return 0;
}

/// Where its data lies: in the slot's own segments, mostly.
std::uint16_t SubmissionQueue::locate(Slot& slot) {
    auto data =
        nvme::locate_data(shared_.guest(), slot.command, slot.plan.bytes, segments_of(slot));
    for (const std::size_t most : {kManySegments, nvme::kMostSegments}) {
        if (data || data.error() != nvme::kTooManySegments) {
            break;
        }
        const std::span<core::Segment> storage = more_segments(slot, most);
        if (storage.empty()) {
            return nvme::spec::status_field(StatusCode::CommandInterrupted);
        }
        data = nvme::locate_data(shared_.guest(), slot.command, slot.plan.bytes, storage);
    }
    if (!data) {
        return data.error();
    }
    slot.guest = *data;
    return 0;
}

/// Of the pool, which is all functions': this one has a quarter of it at most.
std::span<core::Segment> SubmissionQueue::more_segments(Slot& slot, std::size_t count) {
    const std::size_t bytes = count * sizeof(core::Segment);
    release_pieces(slot);
    if (shared_.pieces_bytes + bytes > shared_.context.buffers.capacity() / 4) {
        return {};
    }
    slot.pieces = shared_.context.buffers.allocate(bytes);
    if (slot.pieces.empty()) {
        return {};
    }
    shared_.pieces_bytes += bytes;
    auto* storage = reinterpret_cast<core::Segment*>(slot.pieces.data());
    std::uninitialized_default_construct_n(storage, count);
    return {storage, count};
}

void SubmissionQueue::execute(Slot& slot) {
    if (slot.plan.action == Action::Request) [[likely]] {
        execute_request(slot);
        return;
    }
    if (slot.plan.range_bytes > 0) {
        if (const std::uint16_t status = load_list(slot); status != 0) {
            answer(slot, status);
            return;
        }
    }
    if (slot.plan.action == Action::Discard) {
        execute_ranges(slot);
    } else {
        begin_pieces(slot);
    }
}

void SubmissionQueue::execute_request(Slot& slot) {
    slot.opcode = slot.plan.opcode;
    slot.force_unit_access = slot.plan.force_unit_access;
    slot.lba = slot.plan.lba;
    slot.block_count = slot.plan.blocks;
    slot.data = slot.guest;
    submit(slot);
}

/// The ranges of a command, copied once: the guest may be changing them.
std::uint16_t SubmissionQueue::load_list(Slot& slot) {
    // Buffers are not waited for: the host tries again (NVM Express Base 2.0, Command Interrupted).
    if (!REMORA_SOMETIMES("vfio-user: the pool has no buffer for a list")) {
        slot.list = shared_.context.buffers.allocate(slot.plan.range_bytes);
    }
    if (slot.list.empty()) {
        return nvme::spec::status_field(StatusCode::CommandInterrupted);
    }
    core::SegmentCursor cursor(slot.guest);
    return cursor.copy_out(slot.list) == slot.list.size() ? std::uint16_t{0}
                                                          : refused(StatusCode::DataTransferError);
}

/// Dataset Management: one range after the other with the slot's one request.
void SubmissionQueue::execute_ranges(Slot& slot) {
    // Giving up blocks is advice: without discard there is nothing to do (NVM Command Set 1.0,
    // Dataset Management).
    if ((slot.command.cdw11 & nvme::spec::kDsmDeallocate) == 0 ||
        !slot.target->geometry.can_discard) {
        answer(slot, 0);
        return;
    }
    const auto range = nvme::next_range(slot.list, slot.range_index, slot.target->geometry,
                                        slot.lba, slot.block_count);
    if (!range || !*range) {
        answer(slot, range ? std::uint16_t{0} : range.error());
        return;
    }
    slot.opcode = block::Opcode::Discard;
    slot.force_unit_access = false;
    slot.data = {};
    submit(slot);
}

void SubmissionQueue::submit(Slot& slot) {
    OpenNamespace& target = *slot.target;
    // The volume may have become smaller since the command was checked.
    const block::Status valid = block::validate(slot, target.geometry);
    if (valid != block::Status::Ok) {
        answer(slot, nvme::to_nvme(valid, slot.opcode != block::Opcode::Read));
        return;
    }
    slot.status = block::Status::Ok;
    slot.nvme_status = 0;
    slot.depth = 0;
    slot.push_frame(*this);
    ++in_flight_;
    if (batch_target_ != &target) {
        submit_batch();
        batch_target_ = &target;
    }
    batch_.push_back(slot);
}

void SubmissionQueue::submit_batch() {
    if (!batch_.empty()) {
        block::RequestBatch batch = std::move(batch_);
        std::exchange(batch_target_, nullptr)->channel->submit(batch);
        CHECK(batch.empty());
    }
    batch_target_ = nullptr;
}

void SubmissionQueue::request_done(Slot& slot) {
    count(slot);
    if (slot.plan.action == Action::Request) [[likely]] {
        answer(slot, nvme::to_nvme(slot));
    } else if (!publishing_) {
        REMORA_COVER("vfio-user: a command's host is gone before its last request");
        answer(slot, refused(StatusCode::AbortRequested));
    } else if (slot.status != block::Status::Ok) {
        const bool copy = slot.plan.action == Action::Copy;
        answer(slot, nvme::to_nvme(slot), copy ? static_cast<std::uint32_t>(slot.range_index) : 0U);
    } else if (slot.plan.action == Action::Discard) {
        execute_ranges(slot);
    } else {
        piece_done(slot);
    }
}

void SubmissionQueue::count(const Slot& slot) {
    const bool good = slot.status == block::Status::Ok;
    const std::uint64_t bytes = std::uint64_t{slot.block_count} * slot.target->geometry.block_size;
    const core::Nanos took = shared_.context.reactor.now() - slot.submitted;
    shared_.counters.io.count(slot.opcode, good ? bytes : 0, slot.status,
                              static_cast<std::uint64_t>(took.count()));
    if (!good) {
        shared_.smart.add_failure(nvme::to_nvme(slot));
    } else if (slot.plan.action == Action::Request) {
        shared_.smart.add(slot.plan.transfer, slot.plan.bytes);
    }
}

void SubmissionQueue::answer(Slot& slot, std::uint16_t status, std::uint32_t dw0) {
    if (slot.target != nullptr) {
        std::exchange(slot.target, nullptr)->leave();
    }
    release_buffers(slot);
    if (!publishing_) {
        release(slot);
        return;
    }
    if (nvme::is_logged(status)) {
        shared_.errors.add(
            nvme::command_error(slot.command, status, qid_, shared_.context.reactor.now()));
    }
    slot.entry.dw0 = dw0;
    slot.entry.dw1 = 0U;
    slot.entry.sqhd = static_cast<std::uint16_t>(head_);
    slot.entry.sqid = qid_;
    slot.entry.cid = slot.command.cid;
    slot.entry.set_status(status);
    slot.state = SlotState::Posting;
    if (completions_.post(slot)) {
        release(slot);
    }
}

}  // namespace remora::frontends::vfio_user_nvme
