// SPDX-License-Identifier: Apache-2.0
// Connection: commands, from capsule to block layer and back.
#include "core/probe.h"
#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "nvme/status_map.h"

namespace remora::frontends::nvme_tcp {

using nvme::DataPath;
using nvme::Transfer;
using nvme::spec::StatusCode;

namespace {

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

}  // namespace

Slot* Connection::take_slot() {
    Slot* slot = nullptr;
    if (state_ == State::Live) {
        slot = free_.pop_front();
        if (const Slot* next = free_.front()) {
            next->prefetch();
        }
    } else if (connect_slot_.state == SlotState::Free) {
        slot = &connect_slot_;
    }
    if (slot != nullptr) {
        slot->state = SlotState::Receiving;
        slot->failure = 0;
        slot->marked = false;
        slot->plan = {};
        slot->takes_in_place = false;
        slot->is_hole = false;
        slot->received = 0;
        slot->range_index = 0;
        slot->OutPdu::slot = slot;
    }
    return slot;
}

void Connection::release_slot(Slot& slot) {
    release_scratch(slot);
    release_buffer(slot);
    slot.state = SlotState::Free;
    if (&slot != &connect_slot_) {
        free_.push_front(slot);
    }
}

/// What one connection may hold of the pool, so that a host cannot keep it from all others: a
/// quarter for reads that it has not taken, a quarter for writes that it owes the data of, half in
/// all. 16 MiB a way of the default pool keep any link busy.
bool Connection::has_share(const Slot& slot, bool in_stream) const {
    if (held_bytes_ == 0) {
        return true;  // whatever its size, or it would wait for ever
    }
    const std::size_t pool = shard_.buffers().capacity();
    const std::size_t bytes = slot.footprint();
    if (held_bytes_ + bytes > pool / 2) {
        return false;
    }
    const std::size_t way = slot.plan.transfer == Transfer::FromHost ? awaited_bytes_ : read_bytes_;
    return in_stream || way == 0 || way + bytes <= pool / 4;
}

/// `in_stream`: the data is on its way already, so it may use the reserve.
bool Connection::acquire_buffer(Slot& slot, bool in_stream) {
    slot.reserve = false;
    if (has_share(slot, in_stream) && !REMORA_SOMETIMES("target: the pool has no buffer now")) {
        slot.buffer = shard_.buffers().allocate(slot.plan.bytes);
    }
    if (!slot.buffer.empty()) {
        held_bytes_ += slot.footprint();
        if (slot.plan.transfer == Transfer::ToHost) {
            read_bytes_ += slot.footprint();
        }
    } else if (in_stream && reserve_free_) {
        // Data that is already in the stream blocks everything behind it, also data that other
        // commands' buffers wait for: one buffer of its own keeps a connection moving.
        CHECK(slot.plan.bytes <= reserve_.size());
        slot.buffer = reserve_.first(slot.plan.bytes);
        REMORA_COVER("target: a connection uses its reserve buffer");
        slot.reserve = true;
        reserve_free_ = false;
    }
    return !slot.buffer.empty();
}

void Connection::release_buffer(Slot& slot) {
    give_back(slot);
    if (slot.buffer.empty()) {
        return;
    }
    if (slot.reserve) {
        reserve_free_ = true;
    } else {
        held_bytes_ -= slot.footprint();
        if (slot.plan.transfer == Transfer::ToHost) {
            read_bytes_ -= slot.footprint();
        }
        shard_.buffers().release(slot.buffer);
    }
    slot.buffer = {};
    shard_.buffer_released();
}

/// How its data travels, or the status field to refuse it with.
std::expected<DataPath, std::uint16_t> Connection::plan_command(Slot& slot,
                                                                std::uint32_t in_capsule) {
    const std::uint16_t status = qid_ == 0 ? plan_admin(slot) : plan_io(slot);
    if (status != 0) {
        return std::unexpected(status);
    }
    return nvme::decode_sgl(slot.command, slot.plan.transfer, slot.plan.bytes, in_capsule);
}

void Connection::start_command(Slot& slot, std::uint32_t in_capsule) {
    if ((second_expected_ || slot.command.fuse() != 0) && qid_ != 0) [[unlikely]] {
        start_fused(slot, in_capsule);
        return;
    }
    const auto path = plan_command(slot, in_capsule);
    if (!path) {
        refuse(slot, path.error(), in_capsule);
        return;
    }
    start_transfer(slot, *path);
}

/// A capsule is answered when it is there as a whole: its host may still be sending the data.
void Connection::refuse(Slot& slot, std::uint16_t status, std::uint32_t in_capsule) {
    slot.plan = {};
    if (in_capsule == 0) {
        answer(slot, status);
        return;
    }
    REMORA_COVER("target: data of a command that was refused");
    slot.failure = status;
    receive_into(slot, nullptr);
}

std::uint16_t Connection::plan_admin(Slot& slot) {
    const nvme::AdminPlan plan = association_->controller().plan(slot.command);
    slot.plan.transfer = plan.transfer;
    slot.plan.bytes = plan.bytes;
    return plan.status;
}

std::uint16_t Connection::plan_io(Slot& slot) {
    if (slot.command.opcode == nvme::spec::kFabricsOpcode) {
        const bool connect = nvme::spec::fabrics_type(slot.command) ==
                             static_cast<std::uint8_t>(nvme::spec::FabricsType::Connect);
        return refused(connect ? StatusCode::CommandSequenceError : StatusCode::InvalidOpcode);
    }
    if (const std::uint16_t refusal = nvme::ana_refusal(port_->ana.state); refusal != 0) {
        return refusal;
    }
    slot.nsid = slot.command.nsid;
    const OpenNamespace* target = replica_->find(slot.nsid);
    if (target == nullptr) {
        return refused(StatusCode::InvalidNamespace);
    }
    if (const std::uint16_t refusal =
            nvme::decode_io(slot.command, *target, max_transfer_, slot.plan);
        refusal != 0) {
        return refusal;
    }
    if (!admitted(*target, slot.plan)) {
        return refused(StatusCode::ReservationConflict);
    }
    slot.incarnation = target->incarnation;
    return 0;
}

void Connection::start_transfer(Slot& slot, DataPath path) {
    if (path == DataPath::InCapsule) {
        if (acquire_buffer(slot, true)) {
            receive_into(slot, slot.buffer.data());
        } else {
            REMORA_COVER("target: data in the stream waits for a buffer");
            ++stats_.buffer_waits;
            incoming_.slot = &slot;
            incoming_.phase = Phase::AwaitBuffer;
            shard_.wait_for_buffer(*this);
        }
        return;
    }
    if (slot.plan.bytes == 0) {
        data_complete(slot);
    } else if (waiting_.empty() && acquire_buffer(slot, false)) {
        buffer_ready(slot);
    } else {
        wait_for_buffer(slot);
    }
}

void Connection::wait_for_buffer(Slot& slot) {
    REMORA_COVER("target: a command waits for a buffer");
    ++stats_.buffer_waits;
    slot.state = SlotState::WaitingBuffer;
    waiting_.push_back(slot);
    shard_.wait_for_buffer(*this);
}

void Connection::retry_buffers() {
    if (!accepts_input()) {
        return;
    }
    while (Slot* slot = waiting_.front()) {
        if (!acquire_buffer(*slot, false)) {
            break;
        }
        waiting_.pop_front();
        buffer_ready(*slot);
    }
    if (incoming_.phase == Phase::AwaitBuffer && acquire_buffer(*incoming_.slot, true)) {
        receive_into(*incoming_.slot, incoming_.slot->buffer.data());
        incoming_.phase = Phase::Payload;
        incoming_.since = looks_;  // so far it was we who made it wait
        resume_stashed();
        receive();  // submits the batch, too
    } else {
        submit_batch();
    }
    if (accepts_input() && (!waiting_.empty() || incoming_.phase == Phase::AwaitBuffer)) {
        shard_.wait_for_buffer(*this);
    }
}

void Connection::buffer_ready(Slot& slot) {
    if (slot.plan.transfer == Transfer::FromHost) {
        send_r2t(slot);
    } else {
        data_complete(slot);
    }
}

/// Everything the command needs is in memory.
void Connection::data_complete(Slot& slot) {
    if (slot.failure != 0) {
        fail_command(slot, slot.failure);
    } else if (qid_ == 0) {
        execute_admin(slot);
    } else {
        execute_io(slot);
    }
}

void Connection::execute_admin(Slot& slot) {
    slot.state = SlotState::Held;  // complete_held() may come before execute() returns
    const nvme::AdminResult result =
        association_->controller().execute(slot.command, slot.buffer, slot.index);
    if (!result.pending) {
        answer(slot, result.status, result.dw0, result.dw1);
    }
}

void Connection::complete_held(std::uint32_t token, std::uint16_t status, std::uint32_t dw0) {
    CHECK(token < depth_);
    Slot& slot = slots_[token];
    CHECK(slot.state == SlotState::Held);
    if (accepts_input()) {
        answer(slot, status, dw0);
    } else {
        release_slot(slot);
    }
}

/// The namespace that the command was checked against; null when it is there no more.
OpenNamespace* Connection::target_of(const Slot& slot) const {
    OpenNamespace* target = replica_->find(slot.nsid);
    return target != nullptr && target->incarnation == slot.incarnation ? target : nullptr;
}

void Connection::execute_io(Slot& slot) {
    OpenNamespace* target = target_of(slot);
    if (target == nullptr) {
        REMORA_COVER("target: a namespace goes while a command's data comes");
        fail_command(slot, refused(StatusCode::InvalidNamespace));
        return;
    }
    if (slot.plan.action == nvme::Action::Discard) {
        execute_ranges(slot, *target);
        return;
    }
    if (slot.plan.action == nvme::Action::Reservation) {
        begin_reservation(slot, *target);
        return;
    }
    if (slot.plan.action != nvme::Action::Request) {
        if (slot.plan.action == nvme::Action::Fused) {
            pair_ready(slot);
        } else if (slot.plan.action == nvme::Action::Mark) {
            begin_mark(slot);
        } else {
            begin_pieces(slot, *target);
        }
        return;
    }
    prepare_request(slot);
    submit_later(slot, *target);
}

/// The request of a command that is just one.
void Connection::prepare_request(Slot& slot) {
    slot.opcode = slot.plan.opcode;
    slot.takes_in_place = slot.opcode == block::Opcode::Read;
    slot.force_unit_access = slot.plan.force_unit_access;
    slot.lba = slot.plan.lba;
    slot.block_count = slot.plan.blocks;
    slot.segment = {slot.buffer.data(), slot.buffer.size()};
    slot.data = slot.buffer.empty() ? std::span<const core::Segment>()
                                    : std::span<const core::Segment>(&slot.segment, 1);
}

/// Dataset Management: one range after the other with the slot's one request.
void Connection::execute_ranges(Slot& slot, OpenNamespace& target) {
    // Giving up blocks is advice: without discard there is nothing to do (NVM Command Set 1.0,
    // Dataset Management).
    if ((slot.command.cdw11 & nvme::spec::kDsmDeallocate) == 0 || !target.geometry.can_discard) {
        answer(slot, 0);
        return;
    }
    const auto range = nvme::next_range(slot.buffer.first(slot.plan.range_bytes), slot.range_index,
                                        target.geometry, slot.lba, slot.block_count);
    if (!range || !*range) {
        answer(slot, range ? std::uint16_t{0} : range.error());
        return;
    }
    slot.opcode = block::Opcode::Discard;
    slot.force_unit_access = false;
    slot.data = {};
    submit_later(slot, target);
}

/// All but reservation commands: whether the namespace's reservation lets this host's by.
bool Connection::admitted(const OpenNamespace& target, const nvme::IoPlan& plan) const {
    return !target.access.reserved() || plan.action == nvme::Action::Reservation ||
           target.access.admits(nvme::group_of(plan), host_id_);
}

void Connection::submit_later(Slot& slot, OpenNamespace& target) {
    if (target.guarded && held_back(slot, target)) {
        return;
    }
    // Checked again: the volume may have changed while the data was on its way.
    const block::Status valid = block::validate(slot, target.geometry);
    if (valid != block::Status::Ok) {
        answer(slot, nvme::to_nvme(valid, slot.opcode != block::Opcode::Read));
        return;
    }
    enter_block_layer(slot, target);
}

void Connection::enter_block_layer(Slot& slot, OpenNamespace& target) {
    slot.status = block::Status::Ok;
    slot.nvme_status = 0;
    slot.push_frame(*this);
    slot.state = SlotState::Executing;
    slot.target = &target;
    target.enter();
    ++in_flight_;
    if (batch_target_ != &target) {
        submit_batch();
        batch_target_ = &target;
    }
    batch_.push_back(slot);
}

void Connection::submit_batch() {
    if (!batch_.empty()) {
        block::RequestBatch batch = std::move(batch_);
        port_->way_to(*std::exchange(batch_target_, nullptr)).submit(batch);
        CHECK(batch.empty());
    }
}

void Connection::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        auto& slot = static_cast<Slot&>(*request);
        slot.pop_frame();
        CHECK(in_flight_ > 0);
        --in_flight_;
        if (slot.loan) {
            ++loans_;
        } else {
            std::exchange(slot.target, nullptr)->leave();
        }
        request_done(slot);
    }
    submit_batch();
    if (closing() && in_flight_ == 0) {
        run_later();
    }
}

void Connection::request_done(Slot& slot) {
    if (slot.plan.action == nvme::Action::Request && accepts_input()) [[likely]] {
        count_request(slot);
        answer(slot, nvme::to_nvme(slot));
    } else if (slot.done != nullptr) {
        slot.done->notify();
    } else if (!accepts_input()) {
        REMORA_COVER("target: an answer has no connection any more");
        release_slot(slot);
    } else if (slot.status != block::Status::Ok) {
        const bool copy = slot.plan.action == nvme::Action::Copy;
        count_request(slot);
        answer(slot, nvme::to_nvme(slot), copy ? static_cast<std::uint32_t>(slot.range_index) : 0U);
    } else if (slot.plan.action == nvme::Action::Discard) {
        execute_io(slot);
    } else {
        piece_done(slot);
    }
}

/// For the SMART log: a command that is one request, or any that failed in the volume.
void Connection::count_request(const Slot& slot) {
    if (slot.status == block::Status::Ok) [[likely]] {
        replica_->io.add(slot.plan.transfer, slot.plan.bytes);
    } else {
        replica_->io.add_failure(nvme::to_nvme(slot));
    }
}

}  // namespace remora::frontends::nvme_tcp
