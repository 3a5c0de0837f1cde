// SPDX-License-Identifier: Apache-2.0
// Connection: fused Compare and Write. Two capsules that follow each other are one operation:
//
//   first capsule ─► data ─► Paired ─┐
//   second capsule ─► data ─► Paired ┴─► fences on every reactor ─► compare ─► write ─► both
//   answers
//
// No other write of any host to these blocks of the namespace is carried out between the compare
// and the end of the write. A write that comes by another namespace of the same volume, or not by
// this target, is not shut out, and reads are not: they see whole blocks as always.
//
// What fails before the pair begins ends both: the other one is aborted (Failed Fused Command). A
// first whose next capsule is no second, or a second behind no first, is alone (Missing Fused
// Command). After the compare the first has succeeded, whatever becomes of the write.
//
// NVM Express Base 2.0, Fused Operations; NVM Command Set 1.0, Compare and Write.
#include <cstring>

#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "nvme/status_map.h"

namespace remora::frontends::nvme_tcp {

using nvme::Action;
using nvme::spec::StatusCode;

namespace {

/// Either of the two would fail again if it was sent again as it is, alone.
std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

bool same_blocks(const Slot& first, const Slot& second) {
    return first.nsid == second.nsid && first.incarnation == second.incarnation &&
           first.plan.lba == second.plan.lba && first.plan.blocks == second.plan.blocks;
}

bool changes(const Slot& slot) {
    return slot.opcode != block::Opcode::Read && slot.opcode != block::Opcode::Flush;
}

}  // namespace

// --- Two capsules ---

/// A capsule of a pair, or the one behind a first.
void Connection::start_fused(Slot& slot, std::uint32_t in_capsule) {
    const std::uint8_t fuse = slot.command.fuse();
    const bool expected = std::exchange(second_expected_, false);
    Slot* first = std::exchange(fused_first_, nullptr);
    if (fuse == nvme::spec::kFuseSecond) {
        start_second(slot, in_capsule, expected, first);
        return;
    }
    if (first != nullptr) {
        abort_fused(*first, refused(StatusCode::MissingFusedCommand));
    }
    const auto path = plan_command(slot, in_capsule);
    if (fuse == nvme::spec::kFuseFirst) {
        second_expected_ = true;
        fused_first_ = path ? &slot : nullptr;
        slot.partner = nullptr;
        fused_since_ = looks_;
    }
    if (!path) {
        refuse(slot, path.error(), in_capsule);
        return;
    }
    start_transfer(slot, *path);
}

/// `first` is null when there was none, or it has failed already.
void Connection::start_second(Slot& slot, std::uint32_t in_capsule, bool expected, Slot* first) {
    if (first == nullptr) {
        refuse(slot,
               refused(expected ? StatusCode::FailedFusedCommand : StatusCode::MissingFusedCommand),
               in_capsule);
        return;
    }
    const auto path = plan_command(slot, in_capsule);
    if (!path) {
        abort_fused(*first, refused(StatusCode::FailedFusedCommand));
        refuse(slot, path.error(), in_capsule);
        return;
    }
    if (!same_blocks(*first, slot)) {
        abort_fused(*first, refused(StatusCode::InvalidField));
        refuse(slot, refused(StatusCode::InvalidField), in_capsule);
        return;
    }
    first->partner = &slot;
    slot.partner = first;
    start_transfer(slot, *path);
}

/// Ends one of a pair that has not begun; if its data is still to come, when that is here.
void Connection::abort_fused(Slot& slot, std::uint16_t status) {
    slot.partner = nullptr;
    if (slot.state == SlotState::Paired) {
        answer(slot, status);
    } else if (slot.failure == 0) {
        slot.failure = status;
    }
}

/// Ends a command whose data, or namespace, did not come through.
void Connection::fail_command(Slot& slot, std::uint16_t status) {
    if (slot.plan.action == Action::Fused) {
        if (fused_first_ == &slot) {
            fused_first_ = nullptr;
        }
        if (Slot* other = std::exchange(slot.partner, nullptr)) {
            abort_fused(*other, refused(StatusCode::FailedFusedCommand));
        }
    }
    answer(slot, status);
}

/// The host owes the second capsule no longer than it may owe data.
void Connection::watch_fused() {
    if (second_expected_ && overdue(fused_since_)) {
        second_expected_ = false;
        if (Slot* first = std::exchange(fused_first_, nullptr)) {
            abort_fused(*first, refused(StatusCode::MissingFusedCommand));
        }
    }
}

// --- The pair ---

/// The data of one of a pair is here.
void Connection::pair_ready(Slot& slot) {
    slot.state = SlotState::Paired;
    Slot* other = slot.partner;
    if (other == nullptr || other->state != SlotState::Paired) {
        return;
    }
    const bool is_first = slot.command.fuse() == nvme::spec::kFuseFirst;
    Pair pair{is_first ? &slot : other, is_first ? other : &slot};
    pair.first->state = SlotState::Executing;
    pair.second->state = SlotState::Executing;
    // As a request in the block layer: the connection stays until the pair is back.
    ++in_flight_;
    const bool started = shard_.tasks().spawn(
        [](Connection* self, Pair work) -> Task<> { co_await self->run_pair(work); }, this, pair);
    if (!started) {
        --in_flight_;
        end_pair(pair, nvme::spec::status_field(StatusCode::CommandInterrupted), 0);
    }
}

Task<> Connection::run_pair(Pair pair) {
    const NamespacePlace place{replica_->nqn(), pair.first->nsid, pair.first->incarnation};
    const BlockRange range{pair.first->plan.lba, pair.first->plan.blocks};
    std::vector<OpenNamespace*> fenced;  // on each reactor so far
    std::uint16_t compared = co_await shard_.fence_everywhere(place, range, fenced);
    std::uint16_t written = 0;
    if (compared == 0) {
        compared = co_await compare_first(*pair.first);
    }
    if (compared == 0) {
        written = co_await write_second(*pair.second);
    }
    end_pair(pair, compared, written);
    co_await shard_.unfence_everywhere(fenced);
    CHECK(in_flight_ > 0);
    --in_flight_;
    if (closing()) {
        run_later();
    }
}

void Connection::end_pair(const Pair& pair, std::uint16_t compared, std::uint16_t written) {
    pair.first->partner = nullptr;
    pair.second->partner = nullptr;
    if (!accepts_input()) {
        release_slot(*pair.first);
        release_slot(*pair.second);
        return;
    }
    answer(*pair.first, compared);
    answer(*pair.second, compared == 0 ? written : refused(StatusCode::FailedFusedCommand));
}

Task<std::uint16_t> Connection::compare_first(Slot& slot) {
    OpenNamespace* target = target_of(slot);
    if (target == nullptr) {
        co_return refused(StatusCode::InvalidNamespace);
    }
    const std::uint32_t block = target->geometry.block_size;
    slot.blocks_done = 0;
    if (!acquire_scratch(slot, std::uint64_t{slot.plan.blocks} * block)) {
        co_return nvme::spec::status_field(StatusCode::CommandInterrupted);
    }
    while (slot.blocks_done < slot.plan.blocks) {
        prepare_read(slot, block);
        const std::uint16_t status = co_await perform(slot);
        if (status != 0) {
            co_return status;
        }
        const auto at = static_cast<std::size_t>(slot.blocks_done * block);
        if (std::memcmp(slot.buffer.data() + at, slot.scratch.data(), slot.segment.size) != 0) {
            co_return refused(StatusCode::CompareFailure);
        }
        slot.blocks_done += slot.block_count;
    }
    replica_->io.add_read(slot.plan.bytes, true);
    co_return std::uint16_t{0};
}

Task<std::uint16_t> Connection::write_second(Slot& slot) {
    prepare_request(slot);
    const std::uint16_t status = co_await perform(slot);
    if (status == 0) {
        replica_->io.add(slot.plan.transfer, slot.plan.bytes);
    }
    co_return status;
}

/// One request, behind fences on every reactor; everything is looked at again before it goes. A
/// pair that could read its blocks finds none of them marked when it writes.
Task<std::uint16_t> Connection::perform(Slot& slot) {
    OpenNamespace* target = target_of(slot);
    if (!accepts_input()) {
        co_return refused(StatusCode::AbortRequested);  // nobody is told
    }
    if (target == nullptr) {
        co_return refused(StatusCode::InvalidNamespace);
    }
    if (!admitted(*target, slot.plan)) {
        co_return refused(StatusCode::ReservationConflict);
    }
    const block::Status valid = block::validate(slot, target->geometry);
    if (valid != block::Status::Ok) {
        co_return nvme::to_nvme(valid, slot.opcode != block::Opcode::Read);
    }
    if (slot.opcode == block::Opcode::Read &&
        target->uncorrectable.overlaps({slot.lba, slot.block_count})) {
        replica_->io.add_failure(nvme::kMarkedUncorrectable);
        co_return nvme::kMarkedUncorrectable;
    }
    reactor::Signal done;
    slot.done = &done;
    enter_block_layer(slot, *target);
    submit_batch();
    co_await done.wait_until(core::kNever);  // the device bounds how long
    slot.done = nullptr;
    if (slot.status != block::Status::Ok) {
        replica_->io.add_failure(nvme::to_nvme(slot));
    }
    co_return nvme::to_nvme(slot);
}

// --- Behind the fences of others ---

/// What a guarded namespace does not let by now: answered, or kept until the fence falls. As many
/// wait as the queue has entries.
bool Connection::held_back(Slot& slot, const OpenNamespace& target) {
    // Nothing passes this after the answer to whoever reserved the namespace.
    if (!admitted(target, slot.plan)) {
        const bool copy = slot.plan.action == Action::Copy;
        answer(slot, refused(StatusCode::ReservationConflict),
               copy ? static_cast<std::uint32_t>(slot.range_index) : 0U);
        return true;
    }
    if (!changes(slot) || !target.fence.overlaps({slot.lba, slot.block_count})) {
        return meets_marks(slot, target);
    }
    slot.state = SlotState::Fenced;
    fenced_.push_back(slot);
    return true;
}

void Connection::resume_fenced() {
    if (!accepts_input() || fenced_.empty()) {
        return;
    }
    core::Queue<Slot> resumed = std::move(fenced_);
    while (Slot* slot = resumed.pop_front()) {
        if (OpenNamespace* target = target_of(*slot)) {
            submit_later(*slot, *target);
        } else {
            const bool copy = slot->plan.action == Action::Copy;
            answer(*slot, refused(StatusCode::InvalidNamespace),
                   copy ? static_cast<std::uint32_t>(slot->range_index) : 0U);
        }
    }
    submit_batch();
}

bool Connection::has_write_inside(const OpenNamespace& target) const {
    if (qid_ == 0 || in_flight_ == 0 || slots_ == nullptr) {
        return false;
    }
    return std::ranges::any_of(std::span(slots_.get(), depth_), [&target](const Slot& slot) {
        return slot.state == SlotState::Executing && slot.target == &target && changes(slot) &&
               target.fence.overlaps({slot.lba, slot.block_count});
    });
}

}  // namespace remora::frontends::nvme_tcp
