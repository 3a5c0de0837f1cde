// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/admin_queue.h"

#include <algorithm>
#include <cstring>

#include "core/log.h"
#include "core/probe.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

using nvme::AdminPlan;
using nvme::AdminResult;
using nvme::Transfer;
using nvme::spec::StatusCode;

namespace {

constexpr auto kEventRequest =
    static_cast<std::uint8_t>(nvme::spec::AdminOpcode::AsyncEventRequest);

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

}  // namespace

AdminQueue::AdminQueue(QueueShared& shared,
                       QueueOwner& owner,
                       QueueCommands& commands,
                       nvme::Controller& controller,
                       CompletionQueue& completions,
                       const QueueMemory& memory)
    : Poller(true),
      shared_(shared),
      owner_(owner),
      commands_(commands),
      controller_(controller),
      completions_(completions),
      memory_(memory),
      buffer_(controller.max_transfer_bytes()),
      segments_(nvme::max_segments(controller.max_transfer_bytes())) {
    CompletionOwner& posted = *this;
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        slots_[i].token = static_cast<nvme::CommandToken>(i);
        slots_[i].owner = &posted;
        free_.push_back(slots_[i]);
    }
    shared_.context.reactor.add_poller(*this);
}

AdminQueue::~AdminQueue() {
    shared_.context.reactor.remove_poller(*this);
    for (Slot& slot : slots_) {
        slot.core::ListHook<PendingCompletion>::unlink();
    }
    while (free_.pop_front() != nullptr) {
    }
}

bool AdminQueue::can_freeze() const {
    const auto events = std::ranges::count_if(
        slots_, [](const Slot& slot) { return slot.held && slot.command.opcode == kEventRequest; });
    return free_.size() + static_cast<std::size_t>(events) == kSlots;
}

SubmissionQueueState AdminQueue::save() const {
    return {.qid = 0,
            .cqid = 0,
            .address = memory_.address,
            .entries = memory_.entries,
            .head = head_,
            .broken = broken_};
}

bool AdminQueue::restore(const SubmissionQueueState& from) {
    if (from.head >= memory_.entries) {
        return false;
    }
    head_ = from.head;
    broken_ = from.broken;
    return true;
}

std::optional<nvme::CommandToken> AdminQueue::hold_event_request(std::uint16_t cid) {
    Slot* slot = free_.pop_front();
    if (slot == nullptr) {
        return std::nullopt;
    }
    slot->command = {};
    slot->command.opcode = kEventRequest;
    slot->command.cid = cid;
    slot->held = true;
    return slot->token;
}

/// Commands that the host has put there. A tail that cannot be breaks the queue.
std::uint32_t AdminQueue::offered() {
    const std::uint32_t tail = shared_.doorbells.load(nvme::spec::sq_doorbell(0));
    if (tail == head_) {
        return 0;
    }
    if (tail < memory_.entries) {
        return (tail + memory_.entries - head_) % memory_.entries;
    }
    REMORA_COVER("vfio-user: an admin queue breaks");
    log::warn("submission queue broken", log::kv("qid", 0), log::kv("tail", tail));
    broken_ = true;
    owner_.on_invalid_doorbell();
    return 0;
}

bool AdminQueue::poll() {
    bool worked = completions_.has_waiting() && completions_.retry();
    // One at a time: a command may end the queue that it came by. Few in a turn: each may clear or
    // copy much, and the reactor's other disks wait meanwhile.
    for (int i = 0; i < kMostInTurn && takes_commands() && offered() > 0; ++i) {
        if (shared_.memory->poisoned()) {
            owner_.on_memory_poisoned();
            discard();
            break;
        }
        Slot* slot = free_.pop_front();
        if (slot == nullptr) {
            break;
        }
        std::memcpy(&slot->command, memory_.entry(head_), sizeof(slot->command));
        __asm__ volatile("" : : : "memory");  // from here on the copy is what counts
        head_ = memory_.after(head_);
        shared_.doorbells.note_use(shared_.context.reactor.now());
        run(*slot);
        worked = true;
    }
    return worked;
}

bool AdminQueue::prepare_sleep() {
    if (completions_.has_waiting() && completions_.prepare_sleep()) {
        return true;
    }
    return takes_commands() && offered() > 0 && free_.front() != nullptr;
}

void AdminQueue::run(Slot& slot) {
    slot.held = true;  // complete_held() may come before execute() returns
    const AdminResult result = execute(slot);
    if (!result.pending) {
        slot.held = false;
        answer(slot, result.status, result.dw0);
    }
}

/// Between guest memory and the buffer.
std::uint16_t AdminQueue::move_data(const Slot& slot, const AdminPlan& plan, bool to_host) {
    const auto located = nvme::locate_data(shared_.guest(), slot.command, plan.bytes, segments_);
    if (!located) {
        return located.error();
    }
    core::SegmentCursor cursor(*located);
    const std::span<std::byte> bytes = std::span(buffer_).first(plan.bytes);
    const std::size_t moved = to_host ? cursor.copy_in(bytes) : cursor.copy_out(bytes);
    return moved == bytes.size() ? std::uint16_t{0} : refused(StatusCode::DataTransferError);
}

AdminResult AdminQueue::execute(Slot& slot) {
    // SGLs are not for admin commands on PCIe (NVM Express Base 2.0, PSDT), and none is fused.
    // There is no fabrics command either: its opcode is one of the vendor's there.
    if (slot.command.psdt() != 0 || slot.command.fuse() != 0) {
        return {.status = refused(StatusCode::InvalidField)};
    }
    if (slot.command.opcode == nvme::spec::kFabricsOpcode) {
        return {.status = refused(StatusCode::InvalidOpcode)};
    }
    if (auto done = commands_.run_queue_command(slot.command, slot.token)) {
        return *done;
    }
    const AdminPlan plan = controller_.plan(slot.command);
    if (plan.status != 0) {
        return {.status = plan.status};
    }
    const std::span<std::byte> data = std::span(buffer_).first(plan.bytes);
    if (plan.transfer == Transfer::FromHost) {
        if (const std::uint16_t status = move_data(slot, plan, false); status != 0) {
            return {.status = status};
        }
    }
    census_for_.reset();
    AdminResult result = controller_.execute(slot.command, data, slot.token);
    if (result.pending && census_for_ == slot.token) {
        // There is one reactor to ask, and it is this one.
        result = {.status = controller_.finish(slot.command, data, commands_.take_census())};
    }
    if (!result.pending && result.status == 0 && plan.transfer == Transfer::ToHost) {
        result.status = move_data(slot, plan, true);
    }
    return result;
}

void AdminQueue::complete_held(nvme::CommandToken token, std::uint16_t status, std::uint32_t dw0) {
    CHECK(token < kSlots && slots_[token].held);
    slots_[token].held = false;
    answer(slots_[token], status, dw0);
}

void AdminQueue::answer(Slot& slot, std::uint16_t status, std::uint32_t dw0) {
    if (discarding_) {
        release(slot);
        return;
    }
    if (nvme::is_logged(status)) {
        shared_.errors.add(
            nvme::command_error(slot.command, status, 0, shared_.context.reactor.now()));
    }
    slot.entry.dw0 = dw0;
    slot.entry.dw1 = 0U;
    slot.entry.sqhd = static_cast<std::uint16_t>(head_);
    slot.entry.sqid = std::uint16_t{0};
    slot.entry.cid = slot.command.cid;
    slot.entry.set_status(status);
    if (completions_.post(slot)) {
        release(slot);
    }
}

void AdminQueue::on_posted(PendingCompletion& completion) {
    release(static_cast<Slot&>(completion));
}

void AdminQueue::release(Slot& slot) {
    free_.push_front(slot);
}

}  // namespace remora::frontends::vfio_user_nvme
