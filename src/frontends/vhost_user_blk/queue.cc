// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/queue.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/probe.h"
#include "virtio/status_map.h"

namespace remora::frontends::vhost_user_blk {

using block::Opcode;
using block::Status;
using virtio::BlkRequest;
using virtio::BlkStatus;
using virtio::BlkType;

namespace {

using FlushHook = core::ListHook<reactor::Flushable>;
using RunHook = core::ListHook<reactor::Runnable>;

}  // namespace

Queue::Queue(reactor::Reactor& reactor,
             const QueueDevice& device,
             QueueOwner& owner,
             std::uint16_t index)
    : reactor_(reactor), device_(device), owner_(owner), index_(index) {}

Queue::~Queue() {
    CHECK(!running_ && in_flight_ == 0);
    RunHook::unlink();
    FlushHook::unlink();
}

core::Result<void> Queue::start(const virtio::vhost_user::QueueSetup& setup) {
    CHECK(!running_ && in_flight_ == 0);
    virtio::SplitQueue::Options options{.rings = setup.rings,
                                        .size = setup.size,
                                        .last_avail = setup.base,
                                        .max_chain = kMaxChain,
                                        .event_index = setup.event_index,
                                        .indirect = setup.indirect};
    if (auto started = ring_.start(options); !started) {
        return started;
    }
    bool resumed = false;
    resubmit_.clear();
    resubmit_next_ = 0;
    inflight_.detach();
    if (!setup.inflight.empty()) {
        auto recovery = inflight_.attach(setup.inflight, setup.size, ring_.published_index());
        if (!recovery) {
            return std::unexpected(recovery.error());
        }
        if (recovery->resumed) {
            // The front end's base does not count what was in flight; the memory does.
            resumed = true;
            resubmit_ = std::move(recovery->in_flight);
            options.last_avail =
                static_cast<std::uint16_t>(ring_.published_index() + resubmit_.size());
            CHECK(ring_.start(options).has_value());
        }
    }
    if (slot_count_ < setup.size) {
        slots_ = std::make_unique<Slot[]>(setup.size);
        segments_ = std::make_unique<core::Segment[]>(kMaxSegments * setup.size);
        slot_count_ = setup.size;
    }
    memory_ = setup.memory;
    kick_ = setup.kick;
    call_ = setup.call;
    running_ = true;
    stopping_ = false;
    publishing_ = true;
    broken_ = false;
    if (kick_ != nullptr) {
        kick_->set_handler(this);
    }
    ring_.suppress_kicks();
    reactor_.add_poller(*this);
    if (!resubmit_.empty()) {
        REMORA_COVER("guest: requests left in flight are run again");
        log::info("requests left in flight are run again", log::kv("queue", index_),
                  log::kv("count", resubmit_.size()));
    }
    if (resumed && call_ != nullptr) {
        // The interrupt for what the dead process published last may never have been sent.
        call_->signal();
        ++counters_.interrupts;
    }
    return {};
}

void Queue::stop(bool publish) {
    CHECK(running_);
    if (!stopping_) {
        stopping_ = true;
        reactor_.remove_poller(*this);
        if (kick_ != nullptr) {
            kick_->set_handler(nullptr);
        }
    }
    // The index that is answered counts what a dead process left as taken: the driver, or another
    // device that goes on from there, would wait for it in vain.
    while (publish && !broken_ && left_in_flight()) {
        REMORA_COVER("guest: a ring stops before all that was left in flight is run again");
        block::RequestBatch batch;
        admit_left(batch);
        submit(batch);
    }
    if (!publish && publishing_) {
        REMORA_COVER("guest: the front end is gone with requests under way");
        publishing_ = false;
        call_ = nullptr;
        ring_.discard_unpublished();
    }
    if (in_flight_ == 0 && !ring_.has_unpublished() && !RunHook::linked()) {
        reactor_.run_soon(*this);
    }
}

// The queue has drained, and everything is published.
void Queue::run() {
    if (!running_ || !stopping_ || in_flight_ != 0 || ring_.has_unpublished()) {
        return;
    }
    FlushHook::unlink();
    running_ = false;
    inflight_.detach();
    memory_ = nullptr;
    kick_ = nullptr;
    call_ = nullptr;
    owner_.on_queue_drained(index_, ring_.last_avail());
}

bool Queue::prepare_sleep() {
    if (broken_) {
        return false;
    }
    // Without a kick the driver will never wake us.
    return ring_.request_kicks() || resubmit_next_ < resubmit_.size() || kick_ == nullptr;
}

void Queue::break_ring(std::string reason) {
    if (!broken_) {
        REMORA_COVER("guest: a ring breaks");
        broken_ = true;
        owner_.on_queue_broken(index_, std::move(reason));
    }
}

bool Queue::poll() {
    if (broken_) {
        return false;
    }
    block::RequestBatch batch;
    if (left_in_flight()) {
        admit_left(batch);
    } else if (!admit_offered(batch)) {
        return broken_;
    }
    submit(batch);
    ring_.suppress_kicks();
    return true;
}

void Queue::admit_left(block::RequestBatch& batch) {
    const auto rest = std::span(resubmit_).subspan(resubmit_next_);
    const auto heads = rest.first(std::min(rest.size(), virtio::SplitQueue::kMaxBatch));
    resubmit_next_ += heads.size();
    counters_.resubmitted += heads.size();
    admit_all(heads, false, batch);
}

// False when nothing is offered, or the ring is broken.
bool Queue::admit_offered(block::RequestBatch& batch) {
    std::array<std::uint16_t, virtio::SplitQueue::kMaxBatch> heads;
    // What we still have the driver cannot offer again. If it does, what comes back in one turn is
    // more than the used ring holds.
    const std::size_t owned = ring_.size() - in_flight_ - ring_.unpublished();
    if (owned == 0 && ring_.has_work()) {
        break_ring("more chains than the ring has descriptors");
        return false;
    }
    const auto count = ring_.take_heads(std::span(heads).first(std::min(owned, heads.size())));
    if (!count) {
        break_ring("an available index or head that no driver writes");
        return false;
    }
    if (*count == 0) {
        return false;
    }
    admit_all(std::span(heads).first(*count), true, batch);
    return true;
}

void Queue::submit(block::RequestBatch& batch) {
    ++counters_.batches;
    in_flight_ += batch.size();
    if (memory_->poisoned()) {
        break_ring("the shared memory was truncated");
        fail_all(batch);
    } else if (!batch.empty()) {
        device_.channel->submit(batch);
    }
}

// Gives back admitted requests whose memory turned out to be gone: nothing of it reaches a volume.
void Queue::fail_all(block::RequestBatch& batch) {
    block::RequestBatch failed;
    while (block::Request* request = batch.pop_front()) {
        request->status = Status::Aborted;
        failed.push_back(*request);
    }
    complete(failed);
}

// Answers a request that never reaches the channel.
Queue::Admission Queue::finish(Slot& slot, BlkStatus status, std::uint32_t used_bytes) {
    if (slot.status_byte != nullptr) {
        *slot.status_byte = static_cast<std::byte>(status);
    }
    give_back(slot, used_bytes);
    return Admission::Finished;
}

void Queue::give_back(Slot& slot, std::uint32_t used_bytes) {
    slot.busy = false;
    slot.status_byte = nullptr;
    if (publishing_) {
        ring_.push_used(slot.head, used_bytes);
        REMORA_GUEST_MOMENT();
        inflight_.used(slot.head);
    }
    reactor_.flush_later(*this);
}

void Queue::count(const Slot& slot) {
    counters_.io.count(slot.opcode, slot.status == Status::Ok ? slot.bytes : 0, slot.status,
                       static_cast<std::uint64_t>((reactor_.now() - slot.submitted).count()));
}

void Queue::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        request->pop_frame();
        DCHECK(request->depth == 0);
        Slot& slot = static_cast<Slot&>(*request);
        CHECK(slot.busy && in_flight_ > 0);
        --in_flight_;
        count(slot);
        // A session that is gone has nobody to read the status; its memory is still mapped.
        if (publishing_ && slot.status_byte != nullptr) {
            *slot.status_byte = static_cast<std::byte>(virtio::to_blk_status(slot.status));
        }
        give_back(slot, slot.status == Status::Ok ? slot.used_bytes : 1);
    }
}

void Queue::flush() {
    if (ring_.has_unpublished()) {
        const bool wanted = ring_.publish();
        REMORA_GUEST_MOMENT();
        inflight_.published(ring_.published_index());
        REMORA_GUEST_MOMENT();
        if (wanted && call_ != nullptr) {
            call_->signal();
            ++counters_.interrupts;
        }
    }
    if (stopping_ && in_flight_ == 0 && !RunHook::linked()) {
        reactor_.run_soon(*this);
    }
}

}  // namespace remora::frontends::vhost_user_blk
