// SPDX-License-Identifier: Apache-2.0
// Connection and Shard: Write Uncorrectable, and the marks that it leaves on blocks of a namespace.
//
//   Write Uncorrectable:  fences on every reactor ─► marks durable ─► shown on every reactor
//                           ─► the fences fall ─► answer
//   write over marks:     fences ─► written, durably ─► the rest of the marks durable ─► shown
//                           ─► the fences fall ─► answer
//
// So whatever a kill interrupts, after an answer the marks are as it said. Without one a block may
// be marked or not, but never reads as good what is not what was written last: a mark goes only
// when the data behind it can no longer be lost.
//
// Write and Write Zeroes clear marks, also as the destination of a Copy. Deallocate does not: it is
// advice, and may do nothing. A mark is the namespace's, not the volume's: by another namespace
// that shows the volume the blocks are read, and written, as if there was none.
//
// Everything else pays the one test of a flag (OpenNamespace::guarded), which is set while there
// are marks.
//
// NVM Command Set 1.0, Write Uncorrectable.
#include <utility>

#include "core/log.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::Action;
using nvme::spec::StatusCode;

namespace {

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

}  // namespace

// --- Shard ---

Task<Result<void>> MarkStore::keep(NamespacePlace place, nvme::UncorrectableBlocks marks) {
    if (keeper == nullptr) {
        co_return Result<void>();
    }
    Result<void> kept = co_await keeper->keep(place.nqn, place.nsid, std::move(marks));
    // Hosts may write again and again meanwhile: said once.
    if (!kept && !failing) {
        log::warn("blocks neither marked uncorrectable nor cleared: it could not be stored",
                  log::kv("subsystem", place.nqn), log::kv("nsid", place.nsid),
                  log::kv("reason", kept.error().message));
    }
    failing = !kept;
    co_return kept;
}

Task<std::uint16_t> Shard::set_uncorrectable(const NamespacePlace& place,
                                             nvme::UncorrectableBlocks marks,
                                             const std::vector<OpenNamespace*>& fenced) {
    MarkStore& store = *mark_store_;
    const Result<void> kept =
        co_await reactor::call_on(store.control, [&] { return store.keep(place, marks); });
    if (!kept) {
        co_return nvme::spec::status_field(StatusCode::InternalError);
    }
    for (std::size_t i = 0; i < fenced.size(); ++i) {
        OpenNamespace* target = fenced[i];
        co_await reactor::call_on(peers_[i]->reactor(), [target, &marks] {
            target->uncorrectable = marks;
            target->update_guard();
        });
    }
    co_return std::uint16_t{0};
}

// --- Connection: Write Uncorrectable ---

void Connection::begin_mark(Slot& slot) {
    prepare_request(slot);
    slot.state = SlotState::Executing;
    // As a request in the block layer: the connection stays until it is back.
    ++in_flight_;
    const bool started = shard_.tasks().spawn(
        [](Connection* self, Slot* work) -> Task<> { co_await self->run_mark(work); }, this, &slot);
    if (!started) {
        --in_flight_;
        answer(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
    }
}

Task<> Connection::run_mark(Slot* slot) {
    const NamespacePlace place{replica_->nqn(), slot->nsid, slot->incarnation};
    const BlockRange range{slot->plan.lba, slot->plan.blocks};
    std::vector<OpenNamespace*> fenced;  // on each reactor so far
    std::uint16_t status = co_await shard_.fence_everywhere(place, range, fenced);
    if (status == 0) {
        status = co_await mark_blocks(*slot, fenced);
    }
    co_await shard_.unfence_everywhere(fenced);
    CHECK(in_flight_ > 0);
    --in_flight_;
    if (accepts_input()) {
        answer(*slot, status);
    } else {
        release_slot(*slot);
    }
    if (closing()) {
        run_later();
    }
}

/// Behind the fence; everything is looked at again.
Task<std::uint16_t> Connection::mark_blocks(Slot& slot, const std::vector<OpenNamespace*>& fenced) {
    const OpenNamespace* target = target_of(slot);
    if (!accepts_input()) {
        co_return refused(StatusCode::AbortRequested);  // nobody is told
    }
    if (target == nullptr) {
        co_return refused(StatusCode::InvalidNamespace);
    }
    nvme::IoPlan plan;
    if (const std::uint16_t refusal = nvme::decode_io(slot.command, *target, max_transfer_, plan);
        refusal != 0) {
        co_return refusal;
    }
    if (!admitted(*target, plan)) {
        co_return refused(StatusCode::ReservationConflict);
    }
    nvme::UncorrectableBlocks marks = target->uncorrectable;
    if (!marks.mark({plan.lba, plan.blocks})) {
        co_return refused(StatusCode::CapacityExceeded);
    }
    co_return co_await store_marks(slot, std::move(marks), fenced);
}

/// Returns a status field.
Task<std::uint16_t> Connection::store_marks(Slot& slot,
                                            nvme::UncorrectableBlocks marks,
                                            const std::vector<OpenNamespace*>& fenced) {
    OpenNamespace* target = fenced[shard_.index()];
    if (marks == target->uncorrectable) {
        co_return std::uint16_t{0};
    }
    const NamespacePlace place{replica_->nqn(), slot.nsid, slot.incarnation};
    // A reservation that shuts this out is answered when it has ended.
    slot.target = target;
    const std::uint16_t status = co_await shard_.set_uncorrectable(place, std::move(marks), fenced);
    slot.target = nullptr;
    co_return status;
}

// --- Connection: commands that meet marks ---

/// Whether the request must not go to the volume as it is: then it was answered, or goes there
/// behind a fence.
bool Connection::meets_marks(Slot& slot, const OpenNamespace& target) {
    if (!target.uncorrectable.overlaps({slot.lba, slot.block_count})) {
        return false;
    }
    switch (slot.opcode) {
        case block::Opcode::Read: {
            const bool copy = slot.plan.action == Action::Copy;
            replica_->io.add_failure(nvme::kMarkedUncorrectable);
            answer(slot, nvme::kMarkedUncorrectable,
                   copy ? static_cast<std::uint32_t>(slot.range_index) : 0U);
            return true;
        }
        case block::Opcode::Write:
        case block::Opcode::WriteZeroes:
            begin_rewrite(slot);
            return true;
        case block::Opcode::Flush:
        case block::Opcode::Discard:
            break;
    }
    return false;
}

/// One at a time of each connection, so that a deep queue of such writes does not use up the turns
/// of the namespace.
void Connection::begin_rewrite(Slot& slot) {
    if (rewriting_) {
        slot.state = SlotState::Fenced;
        fenced_.push_back(slot);
        return;
    }
    if (slot.plan.action == Action::Request) {
        slot.plan.action = Action::Rewrite;
    }
    slot.state = SlotState::Executing;
    rewriting_ = true;
    ++in_flight_;
    const bool started = shard_.tasks().spawn(
        [](Connection* self, Slot* work) -> Task<> { co_await self->run_rewrite(work); }, this,
        &slot);
    if (!started) {
        rewriting_ = false;
        --in_flight_;
        end_rewrite(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
    }
}

Task<> Connection::run_rewrite(Slot* slot) {
    const NamespacePlace place{replica_->nqn(), slot->nsid, slot->incarnation};
    const BlockRange range{slot->lba, slot->block_count};
    std::vector<OpenNamespace*> fenced;  // on each reactor so far
    std::uint16_t status = co_await shard_.fence_everywhere(place, range, fenced);
    if (status == 0) {
        status = co_await rewrite_blocks(*slot, fenced);
    }
    co_await shard_.unfence_everywhere(fenced);
    CHECK(in_flight_ > 0);
    --in_flight_;
    rewriting_ = false;
    end_rewrite(*slot, status);
    resume_fenced();
    if (closing()) {
        run_later();
    }
}

/// Behind the fence. Blocks that were marked are good again only when their data is durable, or a
/// power loss would bring back what was there before them; so the write is, whatever the host
/// asked.
Task<std::uint16_t> Connection::rewrite_blocks(Slot& slot,
                                               const std::vector<OpenNamespace*>& fenced) {
    const BlockRange range{slot.lba, slot.block_count};
    nvme::UncorrectableBlocks marks = fenced[shard_.index()]->uncorrectable;
    if (!marks.clear(range)) {
        co_return refused(StatusCode::CapacityExceeded);
    }
    slot.force_unit_access = true;
    const std::uint16_t status = co_await perform(slot);
    if (status != 0) {
        co_return status;  // maybe written in part: the marks stay
    }
    co_return co_await store_marks(slot, std::move(marks), fenced);
}

void Connection::end_rewrite(Slot& slot, std::uint16_t status) {
    const bool copy = slot.plan.action == Action::Copy;
    if (!accepts_input()) {
        release_slot(slot);
    } else if (status != 0) {
        answer(slot, status, copy ? static_cast<std::uint32_t>(slot.range_index) : 0U);
    } else if (copy) {
        piece_done(slot);
        submit_batch();
    } else {
        replica_->io.add(slot.plan.transfer, slot.plan.bytes);
        answer(slot, 0);
    }
}

}  // namespace remora::frontends::nvme_tcp
