// SPDX-License-Identifier: Apache-2.0
// Lane: those queues of a virtio-blk device that one reactor runs, and the channel to the volume
// that they share there. Queue i of a device with n lanes is the lane i % n's.
//
//   Controller (home reactor) ──start, stop, update──► Lane (its reactor) ─► Queue × n ─► Channel
//                             ◄──drained, broken, ...──
//
// Both ways go by mailboxes, which keep their order, also where a lane is on the home reactor. Each
// start is matched by one word that the queue has drained, behind a stop; words of updates come
// before it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "frontends/vhost_user_blk/queue.h"
#include "reactor/reactor.h"

namespace remora::frontends::vhost_user_blk {

/// Told on the home reactor, never from within a call of its own.
class LaneOwner {
  public:
    virtual void on_queue_drained(std::uint16_t index, std::uint32_t base) = 0;
    /// It takes no more work, or could not start; it is to be stopped.
    virtual void on_queue_broken(std::uint16_t index, const std::string& reason) = 0;
    virtual void on_queue_updated(std::uint16_t index) = 0;
    /// The lane's requests are checked against `geometry` from now on.
    virtual void on_lane_geometry(std::size_t lane, const block::Geometry& geometry) = 0;

  protected:
    ~LaneOwner() = default;
};

/// Where a lane belongs.
struct LanePlace {
    reactor::Reactor& home;
    LaneOwner& owner;
    std::uint16_t number = 0;  ///< 0..lanes-1.
    std::uint16_t lanes = 1;
    std::uint16_t queues = 1;  ///< Of the device.
};

class Lane final : public block::DeviceListener, private QueueOwner {
  public:
    /// On the lane's reactor, where it is destroyed too. `device` outlives it. Errors: the
    /// device's.
    static core::Result<std::unique_ptr<Lane>> open(const LanePlace& place,
                                                    block::Device& device,
                                                    const block::ReactorContext& context);
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    /// No queue runs.
    ~Lane();

    // From the home reactor; see SessionDevice.
    void start(std::uint16_t index, const virtio::vhost_user::QueueSetup& setup);
    void stop(std::uint16_t index, bool publish);
    void update(std::uint16_t index, const virtio::vhost_user::QueueParts& parts);
    [[nodiscard]] reactor::Reactor& reactor() const { return reactor_; }

    // On the lane's reactor.
    /// Of its queues, since it was opened.
    [[nodiscard]] QueueCounters counters() const;
    [[nodiscard]] const block::Geometry& geometry() const { return shared_.geometry; }

  private:
    struct Seat {
        std::unique_ptr<Queue> queue;
        std::optional<std::uint32_t> failed_at;  // it could not start; where it would have begun
    };

    Lane(const LanePlace& place, block::Device& device, const block::ReactorContext& context);

    void on_geometry_changed() override;
    void on_queue_drained(std::uint16_t index, std::uint32_t base) override;
    void on_queue_broken(std::uint16_t index, std::string reason) override;

    [[nodiscard]] Seat& seat(std::uint16_t index) { return seats_[index / place_.lanes]; }
    void do_start(std::uint16_t index, const virtio::vhost_user::QueueSetup& setup);
    void do_stop(std::uint16_t index, bool publish);

    LanePlace place_;
    block::Device& device_;
    reactor::Reactor& reactor_;
    QueueDevice shared_;
    std::unique_ptr<block::Channel> channel_;
    std::vector<Seat> seats_;
};

}  // namespace remora::frontends::vhost_user_blk
