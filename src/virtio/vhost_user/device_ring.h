// SPDX-License-Identifier: Apache-2.0
// DeviceRing: a queue's ring, split or packed as the guest has agreed, with the in-flight region
// and the dirty log kept in step with it. Which of the two it is is known from start() on; each
// verb is one branch that always goes the same way. Owned by a front end's queue, on its reactor.
//
//   take_heads ─► note_taken, walk (per chain) ─► … ─► push_used ─► publish (once a batch)
//
// A head names a chain in flight: the index of its first descriptor, or its buffer id. It is below
// the ring's size either way.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/probe.h"
#include "core/result.h"
#include "virtio/packed_queue.h"
#include "virtio/split_queue.h"
#include "virtio/vhost_user/inflight.h"
#include "virtio/vhost_user/packed_inflight.h"
#include "virtio/vhost_user/queue_setup.h"

namespace remora::virtio::vhost_user {

class DeviceRing {
  public:
    static constexpr std::size_t kMaxBatch = SplitQueue::kMaxBatch;
    static constexpr std::size_t kUsualOffer = 32;

    /// Whether such rings can be; looks at nothing in them. Any thread. Errors: InvalidArgument.
    static core::Result<void> check(const QueueSetup& setup);
    /// Goes live. Errors: InvalidArgument for a ring or an in-flight region that cannot be.
    core::Result<InflightQueue::Recovery> start(const QueueSetup& setup, std::uint16_t max_chain);
    /// Lets go of the in-flight region, the memory and the log.
    void detach();
    /// `memory` has all that the one before it had.
    void update(std::shared_ptr<const MemoryView> memory, const QueueLog& log);
    [[nodiscard]] bool logs() const { return log_.log != nullptr; }
    [[nodiscard]] bool memory_poisoned() const { return memory_->poisoned(); }

    std::optional<std::size_t> take_heads(std::span<std::uint16_t> heads) {
        return packed_ ? packed_ring_.take_heads(heads) : split_.take_heads(heads);
    }
    void prefetch(std::uint16_t head) const {
        packed_ ? packed_ring_.prefetch(head) : split_.prefetch(head);
    }
    /// The chain at `head` is about to be run.
    void note_taken(std::uint16_t head) {
        packed_ ? packed_inflight_.taken(packed_ring_, head) : split_inflight_.taken(head);
    }
    [[nodiscard]] bool walk(std::uint16_t head, Chain& chain) const {
        return packed_ ? packed_ring_.walk(guest_, head, chain) : split_.walk(guest_, head, chain);
    }
    void push_used(std::uint16_t head, std::uint32_t written_bytes) {
        if (packed_) {
            packed_ring_.push_used(head, written_bytes);
            packed_inflight_.used(head);
        } else {
            split_.push_used(head, written_bytes);
            REMORA_GUEST_MOMENT();
            split_inflight_.used(head);
        }
    }
    /// Returns whether the driver wants to be told.
    [[nodiscard]] bool publish();
    [[nodiscard]] std::uint16_t unpublished() const {
        return packed_ ? packed_ring_.unpublished() : split_.unpublished();
    }
    [[nodiscard]] bool has_unpublished() const { return unpublished() != 0; }
    void discard_unpublished() {
        packed_ ? packed_ring_.discard_unpublished() : split_.discard_unpublished();
    }

    void suppress_kicks() {
        packed_ ? packed_ring_.suppress_kicks() : split_.suppress_kicks();
        log_ring();
    }
    [[nodiscard]] bool request_kicks() {
        const bool work = packed_ ? packed_ring_.request_kicks() : split_.request_kicks();
        log_ring();
        return work;
    }
    /// About how many chains are available, as the driver says it. A packed ring would have to be
    /// walked for that: it names a usual number whether it has any or not.
    [[nodiscard]] std::size_t offered() const { return packed_ ? kUsualOffer : split_.offered(); }
    [[nodiscard]] bool has_work() const {
        return packed_ ? packed_ring_.has_work() : split_.has_work();
    }

    [[nodiscard]] std::uint16_t size() const {
        return packed_ ? packed_ring_.size() : split_.size();
    }
    /// Where the ring is, as GET_VRING_BASE tells it.
    [[nodiscard]] std::uint32_t base() const {
        return packed_ ? packed_ring_.base().encoded() : std::uint32_t{split_.last_avail()};
    }

    /// Marks bytes of the guest's memory that were written. No more than a look without a log.
    void log_written(std::span<const std::byte> bytes);
    /// The log does not reach, or is gone: what the front end copies is not what the guest has.
    [[nodiscard]] bool log_failed() const { return log_failed_; }

  private:
    core::Result<InflightQueue::Recovery> start_split(const QueueSetup& setup,
                                                      std::uint16_t max_chain);
    core::Result<InflightQueue::Recovery> start_packed(const QueueSetup& setup,
                                                       std::uint16_t max_chain);
    void log_ring() {
        if (log_.log != nullptr && log_.ring) {
            mark_ring();
        }
    }
    void mark_ring();

    bool packed_ = false;
    bool log_failed_ = false;
    SplitQueue split_;
    PackedQueue packed_ring_;
    InflightQueue split_inflight_;
    PackedInflight packed_inflight_;
    QueueLog log_;
    std::shared_ptr<const MemoryView> memory_;
    memory::GuestMemory guest_;  // what is in it, for this reactor
    RingMemory rings_;
};

}  // namespace remora::virtio::vhost_user
