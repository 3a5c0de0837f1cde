// SPDX-License-Identifier: Apache-2.0
#include "frontends/vfio_user_nvme/completion_queue.h"

#include <cstring>

#include "core/log.h"
#include "core/probe.h"
#include "nvme/spec/pcie.h"

namespace remora::frontends::vfio_user_nvme {

using nvme::spec::Completion;

CompletionQueue::CompletionQueue(reactor::Reactor& reactor,
                                 Doorbells& doorbells,
                                 InterruptSink& sink,
                                 const CompletionQueueSpec& spec)
    : reactor_(reactor), doorbells_(doorbells), sink_(sink), spec_(spec) {}

CompletionQueueState CompletionQueue::save() const {
    return {.qid = spec_.qid,
            .address = spec_.memory.address,
            .entries = spec_.memory.entries,
            .interrupts = spec_.interrupts,
            .vector = spec_.vector,
            .tail = tail_,
            .head = head_,
            .phase = phase_,
            .broken = broken_};
}

bool CompletionQueue::restore(const CompletionQueueState& from) {
    if (from.tail >= spec_.memory.entries || from.head >= spec_.memory.entries) {
        return false;
    }
    tail_ = from.tail;
    head_ = from.head;
    phase_ = from.phase;
    broken_ = from.broken;
    return true;
}

/// The head is only looked at when the queue is full as far as is known.
bool CompletionQueue::has_room() {
    if (broken_ || !spec_.memory.reachable()) {
        return false;
    }
    const std::uint32_t next = spec_.memory.after(tail_);
    if (next != head_) {
        return true;
    }
    const std::uint32_t told = doorbells_.load(nvme::spec::cq_doorbell(spec_.qid));
    // Between the head so far and the tail: the host cannot have taken what was not there.
    const std::uint32_t entries = spec_.memory.entries;
    const std::uint32_t taken = (told + entries - head_) % entries;
    const std::uint32_t there = (tail_ + entries - head_) % entries;
    if (told >= entries || taken > there) {
        REMORA_COVER("vfio-user: a completion queue breaks");
        log::warn("completion queue broken", log::kv("qid", spec_.qid), log::kv("head", told));
        broken_ = true;
        sink_.on_invalid_doorbell();
        return false;
    }
    head_ = told;
    return next != head_;
}

void CompletionQueue::put(const Completion& entry) {
    Completion out = entry;
    const auto status = static_cast<std::uint16_t>(out.status_and_phase & ~1U);
    out.status_and_phase = static_cast<std::uint16_t>(status | (phase_ ? 1U : 0U));
    std::byte* to = spec_.memory.entry(tail_);
    // The dword with the phase tag last: the host may be looking.
    constexpr std::size_t kLast = sizeof(Completion) - kWordBytes;
    std::uint32_t last = 0;
    std::memcpy(to, &out, kLast);
    std::memcpy(&last, reinterpret_cast<const std::byte*>(&out) + kLast, sizeof(last));
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(to + kLast), last, __ATOMIC_RELEASE);
    tail_ = spec_.memory.after(tail_);
    phase_ = tail_ == 0 ? !phase_ : phase_;
    reactor_.publish_later(*this);
}

bool CompletionQueue::post(PendingCompletion& completion) {
    if (waiting_.empty() && has_room()) {
        put(completion.entry);
        return true;
    }
    REMORA_COVER("vfio-user: a completion waits for room");
    waiting_.push_back(completion);
    return false;
}

bool CompletionQueue::retry() {
    bool any = false;
    while (!waiting_.empty() && has_room()) {
        PendingCompletion* first = waiting_.pop_front();
        put(first->entry);
        first->owner->on_posted(*first);
        any = true;
    }
    return any;
}

bool CompletionQueue::prepare_sleep() {
    if (waiting_.empty() || broken_) {
        return false;
    }
    doorbells_.request(nvme::spec::cq_doorbell(spec_.qid), head_);
    return has_room();
}

bool CompletionQueue::has_untaken() const {
    const std::uint32_t told = doorbells_.load(nvme::spec::cq_doorbell(spec_.qid));
    return told != tail_;
}

void CompletionQueue::settle() {
    if (core::ListHook<reactor::Flushable>::linked()) {
        unlink();
        flush();
    }
}

void CompletionQueue::flush() {
    if (spec_.interrupts) {
        sink_.interrupt(spec_.vector);
    }
}

}  // namespace remora::frontends::vfio_user_nvme
