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
    auto recovery = ring_.start(setup, kMaxChain);
    if (!recovery) {
        ring_.detach();
        return std::unexpected(recovery.error());
    }
    const bool resumed = recovery->resumed;
    resubmit_ = std::move(recovery->in_flight);
    resubmit_next_ = 0;
    if (slot_count_ < setup.size) {
        slots_ = std::make_unique<Slot[]>(setup.size);
        segments_ = std::make_unique<core::Segment[]>(kMaxSegments * setup.size);
        slot_count_ = setup.size;
    }
    set_call(setup.parts.call);
    running_ = true;
    stopping_ = false;
    publishing_ = true;
    broken_ = false;
    if (setup.kick != nullptr) {
        kick_ = reactor_.io().open_event(setup.kick);
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

void Queue::set_call(std::shared_ptr<reactor::EventSource> source) {
    call_source_ = std::move(source);
    call_ = call_source_ == nullptr ? nullptr : reactor_.io().open_event(call_source_);
}

void Queue::update(const virtio::vhost_user::QueueParts& parts) {
    if (!running_) {
        return;  // it could not start, and the word of that crossed with this one
    }
    ring_.update(parts.memory, parts.log);
    if (call_source_ == parts.call) {
        return;
    }
    set_call(parts.call);
    if (call_ != nullptr) {
        // QEMU gives a ring its real descriptor only after it runs: what completed until then was
        // signalled to one that nobody hears. One interrupt too many does no harm.
        call_->signal();
    }
}

void Queue::stop(bool publish) {
    if (!running_) {
        return;  // it has drained, and the word of that crossed with this one
    }
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
        set_call(nullptr);
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
    const std::uint32_t base = ring_.base();
    ring_.detach();
    kick_.reset();
    set_call(nullptr);
    owner_.on_queue_drained(index_, base);
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
    // A driver with little to do mostly takes the request again that it has just had back: its
    // header is fetched along with the index that will say so. A hint never faults.
    __builtin_prefetch(last_header_);
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
    const auto heads = rest.first(std::min(rest.size(), virtio::vhost_user::DeviceRing::kMaxBatch));
    resubmit_next_ += heads.size();
    counters_.resubmitted += heads.size();
    admit_all(heads, false, batch);
}

// A volume that answers within the turn makes turns of both sides: the driver waits while we work
// and we while it does. Half of what it has under way at a time, and both work. Any other volume
// has its own things to do meanwhile, and sends what it gets in as few pieces as it comes in.
std::size_t Queue::share_of_offered() {
    constexpr std::size_t kMost = virtio::vhost_user::DeviceRing::kMaxBatch;
    if (!answers_at_once_) {
        return kMost;
    }
    depth_ =
        std::max(std::min(ring_.offered(), 2 * kMost), depth_ - std::min<std::size_t>(depth_, 1));
    return std::max((depth_ + 1) / 2, kGroup);
}

// False when nothing is offered, or the ring is broken.
bool Queue::admit_offered(block::RequestBatch& batch) {
    std::array<std::uint16_t, virtio::vhost_user::DeviceRing::kMaxBatch> heads;
    // What we still have the driver cannot offer again. If it does, what comes back in one turn is
    // more than the used ring holds.
    const std::size_t owned = ring_.size() - in_flight_ - ring_.unpublished();
    if (owned == 0 && ring_.has_work()) {
        break_ring("more chains than the ring has descriptors");
        return false;
    }
    const auto count =
        ring_.take_heads(std::span(heads).first(std::min(owned, share_of_offered())));
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
    if (ring_.memory_poisoned()) {
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

// The guest is being moved to another machine: what the request wrote has to go there again.
void Queue::log_written(const Slot& slot) {
    if (slot.opcode == Opcode::Read) {
        for (const core::Segment& segment : slot.data) {
            ring_.log_written({segment.data, segment.size});
        }
    }
    if (slot.status_byte != nullptr) {
        ring_.log_written({slot.status_byte, 1});
    }
}

void Queue::give_back(Slot& slot, std::uint32_t used_bytes) {
    if (ring_.logs()) {
        log_written(slot);
    }
    slot.busy = false;
    slot.status_byte = nullptr;
    if (publishing_) {
        ring_.push_used(slot.head, used_bytes);
    }
    reactor_.publish_later(*this);
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
        answers_at_once_ = slot.submitted == reactor_.now();
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
        if (wanted && call_ != nullptr) {
            call_->signal();
            ++counters_.interrupts;
        }
    }
    if (ring_.log_failed()) {
        break_ring("the dirty log does not reach the memory");
    }
    if (stopping_ && in_flight_ == 0 && !RunHook::linked()) {
        reactor_.run_soon(*this);
    }
}

}  // namespace remora::frontends::vhost_user_blk
