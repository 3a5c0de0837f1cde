// SPDX-License-Identifier: Apache-2.0
// Queue: one virtqueue of a vhost-user-blk device, polled by its reactor.
//
//   poll:     take a batch of heads ─► walk, parse, translate each ─► one Channel::submit
//   complete: status byte and used element each
//   flush:    one publish and at most one interrupt for all that completed since the last one, of a
//             turn those of what came in and those of what was polled
//
// The ring may be split or packed. A slot per descriptor head holds the request and its segments,
// so the number in flight is bounded by the ring and no I/O allocates. A head that comes again
// while its slot is busy, or an index no driver could have written, breaks the ring: the owner is
// told and the queue stops taking work. Owned by a lane of its controller; all on that
// lane's reactor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "frontends/vhost_user_blk/config_space.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "virtio/blk_request.h"
#include "virtio/vhost_user/device_ring.h"
#include "virtio/vhost_user/session.h"

namespace remora::frontends::vhost_user_blk {

/// Told by its queues, never from within a call of its own.
class QueueOwner {
  public:
    virtual void on_queue_drained(std::uint16_t index, std::uint32_t base) = 0;
    virtual void on_queue_broken(std::uint16_t index, std::string reason) = 0;

  protected:
    ~QueueOwner() = default;
};

/// What all queues of a lane share. Outlives them.
struct QueueDevice {
    block::Channel* channel = nullptr;
    block::Geometry geometry;
    std::array<std::byte, virtio::kBlkIdBytes> identity{};
};

struct QueueCounters {
    block::DeviceStats io;
    std::uint64_t batches = 0;         ///< Polls that found work.
    std::uint64_t kicks = 0;           ///< Notifications from the driver.
    std::uint64_t interrupts = 0;      ///< Notifications to the driver.
    std::uint64_t refused_chains = 0;  ///< Broke the rules of the ring or of the request.
    std::uint64_t resubmitted = 0;     ///< Run again after a reconnect.

    void add(const QueueCounters& other) {
        io.add(other.io);
        batches += other.batches;
        kicks += other.kicks;
        interrupts += other.interrupts;
        refused_chains += other.refused_chains;
        resubmitted += other.resubmitted;
    }
};

class Queue final : private reactor::Poller,
                    private reactor::Flushable,
                    private reactor::Runnable,
                    private reactor::EventHandler,
                    private block::Completer {
  public:
    Queue(reactor::Reactor& reactor,
          const QueueDevice& device,
          QueueOwner& owner,
          std::uint16_t index);
    Queue(const Queue&) = delete;
    Queue& operator=(const Queue&) = delete;
    ~Queue();

    /// Goes live. Requires that it is not running. Errors: InvalidArgument for a ring or an
    /// in-flight region that cannot be; then it does not run.
    core::Result<void> start(const virtio::vhost_user::QueueSetup& setup);
    /// See SessionDevice::stop_queue. Nothing, if it does not run.
    void stop(bool publish);
    void update(const virtio::vhost_user::QueueParts& parts);

    [[nodiscard]] bool running() const { return running_; }
    [[nodiscard]] std::size_t in_flight() const { return in_flight_; }
    [[nodiscard]] const QueueCounters& counters() const { return counters_; }

  private:
    /// One descriptor head's request.
    struct Slot : block::Request {
        std::byte* status_byte = nullptr;  ///< Null: the chain has none.
        std::uint64_t bytes = 0;           ///< Of data, for the counters.
        core::Nanos submitted{};
        std::uint32_t used_bytes = 0;  ///< What the used element says when all went well.
        std::uint16_t head = 0;
        bool busy = false;
    };
    /// A chain on its way from the ring to the channel.
    struct Walked {
        Slot* slot = nullptr;
        virtio::Chain chain;
        bool good = false;
    };
    enum class Admission { Submit, Finished };
    static constexpr std::size_t kGroup = 8;

    bool poll() override;
    bool prepare_sleep() override;
    void end_sleep() override { ring_.suppress_kicks(); }
    void on_event() override { ++counters_.kicks; }
    void complete(block::RequestBatch& batch) override;
    void flush() override;
    void run() override;

    /// Whether some of what a dead process left has not been run again yet.
    [[nodiscard]] bool left_in_flight() const { return resubmit_next_ < resubmit_.size(); }
    void admit_left(block::RequestBatch& batch);
    bool admit_offered(block::RequestBatch& batch);
    [[nodiscard]] std::size_t share_of_offered();
    void submit(block::RequestBatch& batch);
    void admit_all(std::span<const std::uint16_t> heads, bool fresh, block::RequestBatch& batch);
    void admit_group(std::span<const std::uint16_t> heads, bool fresh, block::RequestBatch& batch);
    Admission admit(Walked& walked);
    Admission translate(Slot& slot, const virtio::BlkRequest& request);
    block::Status set_range(Slot& slot, std::uint64_t sector, std::uint64_t bytes) const;
    Admission answer_identity(Slot& slot, const virtio::BlkRequest& request);
    void fail_all(block::RequestBatch& batch);
    Admission finish(Slot& slot, virtio::BlkStatus status, std::uint32_t used_bytes);
    void count(const Slot& slot);
    void give_back(Slot& slot, std::uint32_t used_bytes);
    void log_written(const Slot& slot);
    void set_call(std::shared_ptr<reactor::EventSource> source);
    void break_ring(std::string reason);
    [[nodiscard]] std::span<core::Segment> segments_of(std::uint16_t head) const {
        return {segments_.get() + kMaxSegments * head, kMaxSegments};
    }

    reactor::Reactor& reactor_;
    const QueueDevice& device_;
    QueueOwner& owner_;
    const std::uint16_t index_;
    virtio::vhost_user::DeviceRing ring_;
    std::unique_ptr<reactor::Event> kick_;
    std::shared_ptr<reactor::EventSource> call_source_;
    std::unique_ptr<reactor::Event> call_;
    std::unique_ptr<Slot[]> slots_;
    std::unique_ptr<core::Segment[]> segments_;
    std::uint16_t slot_count_ = 0;
    std::vector<std::uint16_t> resubmit_;  // heads a dead process left in flight
    std::size_t resubmit_next_ = 0;
    std::size_t in_flight_ = 0;               // requests the channel holds
    const std::byte* last_header_ = nullptr;  // of the chain walked last; may be unmapped by now
    std::size_t depth_ = 0;  // about what the driver has under way, if the volume answers at once
    bool answers_at_once_ = false;
    bool running_ = false;
    bool stopping_ = false;
    bool publishing_ = false;  // completions still go to the driver
    bool broken_ = false;
    QueueCounters counters_;
};

}  // namespace remora::frontends::vhost_user_blk
