// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/submission_queue.h"

#include <algorithm>
#include <cstring>

#include "core/log.h"
#include "core/probe.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

SubmissionQueue::SubmissionQueue(QueueShared& shared,
                                 QueueOwner& owner,
                                 CompletionQueue& completions,
                                 const SubmissionQueueSpec& spec)
    : shared_(shared),
      owner_(owner),
      completions_(completions),
      qid_(spec.qid),
      memory_(spec.memory),
      slots_(std::make_unique<Slot[]>(memory_.entries)),
      segments_(std::make_unique<core::Segment[]>(kSegments * memory_.entries)) {
    CompletionOwner& posted = *this;
    for (std::uint32_t i = 0; i < memory_.entries; ++i) {
        slots_[i].index = static_cast<std::uint16_t>(i);
        slots_[i].owner = &posted;
        free_.push_back(slots_[i]);
    }
    ++completions_.users;
    shared_.context.reactor.add_poller(*this);
}

SubmissionQueue::~SubmissionQueue() {
    CHECK(idle() && batch_.empty());
    shared_.context.reactor.remove_poller(*this);
    for (Slot& slot : std::span(slots_.get(), memory_.entries)) {
        slot.core::ListHook<PendingCompletion>::unlink();  // nobody takes what still waits
        release_buffers(slot);
    }
    while (free_.pop_front() != nullptr) {
    }
    --completions_.users;
}

void SubmissionQueue::stop(bool publish) {
    stopping_ = true;
    publishing_ = publishing_ && publish;
}

SubmissionQueueState SubmissionQueue::save() const {
    return {.qid = qid_,
            .cqid = completions_.qid(),
            .address = memory_.address,
            .entries = memory_.entries,
            .head = head_,
            .broken = broken_};
}

bool SubmissionQueue::restore(const SubmissionQueueState& from) {
    if (from.head >= memory_.entries) {
        return false;
    }
    head_ = from.head;
    broken_ = from.broken;
    return true;
}

bool SubmissionQueue::uses(std::span<const std::byte> bytes) const {
    const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    for (const Slot& slot : std::span(slots_.get(), memory_.entries)) {
        if (slot.state != SlotState::Executing) {
            continue;
        }
        for (const core::Segment& segment : slot.guest) {
            const auto at = reinterpret_cast<std::uintptr_t>(segment.data);
            if (at < begin + bytes.size() && begin < at + segment.size) {
                return true;
            }
        }
    }
    return false;
}

/// Commands that the host has put there and that may be taken.
std::uint32_t SubmissionQueue::offered() {
    const std::uint32_t tail = shared_.doorbells.load(nvme::spec::sq_doorbell(qid_));
    if (tail == head_) {
        return 0;
    }
    if (tail >= memory_.entries) {
        break_queue(tail);
        return 0;
    }
    return (tail + memory_.entries - head_) % memory_.entries;
}

// NVM Express Base 2.0, Asynchronous Event Information, Invalid Doorbell Write Value: the host is
// told. What the queue does afterwards is not defined: the host deletes it, or resets the
// controller.
void SubmissionQueue::break_queue(std::uint32_t tail) {
    REMORA_COVER("vfio-user: a submission queue breaks");
    log::warn("submission queue broken", log::kv("qid", qid_), log::kv("tail", tail));
    broken_ = true;
    owner_.on_invalid_doorbell();
}

bool SubmissionQueue::poll() {
    bool worked = completions_.has_waiting() && completions_.retry();
    if (!takes_commands()) {
        return worked;
    }
    std::uint32_t count = offered();
    if (count == 0) {
        return worked;
    }
    count = std::min({count, kBatch, static_cast<std::uint32_t>(free_.size())});
    if (count == 0) {
        return worked;
    }
    ++shared_.counters.batches;
    shared_.doorbells.note_use(shared_.context.reactor.now());
    take(count);
    return true;
}

// A group's commands are copied, then carried out, so that the fetches overlap.
void SubmissionQueue::take(std::uint32_t count) {
    std::array<Slot*, kGroup> group{};
    while (count > 0) {
        const std::uint32_t size = std::min(count, kGroup);
        for (std::uint32_t i = 0; i < size; ++i) {
            Slot* slot = free_.pop_front();
            std::memcpy(&slot->command, memory_.entry(head_), sizeof(slot->command));
            head_ = memory_.after(head_);
            group[i] = slot;
        }
        // From here on the copies are what is checked and used.
        __asm__ volatile("" : : : "memory");
        if (shared_.memory->poisoned()) {
            owner_.on_memory_poisoned();
            stop(false);
            std::ranges::for_each(std::span(group).first(size),
                                  [this](Slot* slot) { free_.push_front(*slot); });
            break;
        }
        for (Slot* slot : std::span(group).first(size)) {
            admit(*slot);
        }
        count -= size;
    }
    submit_batch();
}

bool SubmissionQueue::prepare_sleep() {
    if (completions_.has_waiting()) {
        if (completions_.prepare_sleep()) {
            return true;
        }
    }
    if (!takes_commands()) {
        return false;
    }
    shared_.doorbells.request(nvme::spec::sq_doorbell(qid_), head_);
    return offered() > 0 && free_.front() != nullptr;
}

void SubmissionQueue::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        auto& slot = static_cast<Slot&>(*request);
        slot.pop_frame();
        CHECK(in_flight_ > 0 && slot.state == SlotState::Executing);
        --in_flight_;
        request_done(slot);
    }
    submit_batch();
    owner_.on_progress();
}

void SubmissionQueue::on_posted(PendingCompletion& completion) {
    auto& slot = static_cast<Slot&>(completion);
    CHECK(slot.state == SlotState::Posting);
    release(slot);
}

void SubmissionQueue::release_pieces(Slot& slot) {
    if (!slot.pieces.empty()) {
        shared_.pieces_bytes -= slot.pieces.size();
        shared_.context.buffers.release(std::exchange(slot.pieces, {}));
    }
}

void SubmissionQueue::release_buffers(Slot& slot) {
    release_pieces(slot);
    for (std::span<std::byte>* buffer : {&slot.list, &slot.scratch}) {
        if (!buffer->empty()) {
            shared_.context.buffers.release(*buffer);
            *buffer = {};
        }
    }
}

void SubmissionQueue::release(Slot& slot) {
    slot.state = SlotState::Free;
    free_.push_front(slot);
}

}  // namespace remora::frontends::vfio_user_nvme
