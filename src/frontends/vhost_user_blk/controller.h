// SPDX-License-Identifier: Apache-2.0
// Controller: a volume shown as a virtio-blk disk on a vhost-user socket.
//
//   socket ─► FrontEnd (at most two) ─► Lane × reactors ─► Queue × n ─► Channel of the volume
//
// Its socket and messages are on its home reactor: make it, stop it and destroy it there. Its
// queues are spread over reactors, each of which polls those of its lane. One front end has the
// queues at a time; a second one is served, but its queues wait until the first one's have drained
// (see FrontEnd); a third one waits a moment for a place. The front end may go and come back at any
// time; with the in-flight region nothing the guest asked for is lost, even when this process dies.
// Spec: QEMU docs/interop/vhost-user.rst; VIRTIO 1.2 section 5.2.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "frontends/vhost_user_blk/front_end.h"
#include "frontends/vhost_user_blk/lane.h"
#include "reactor/call.h"
#include "reactor/gate.h"
#include "reactor/io.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "reactor/timer.h"

namespace remora::frontends::vhost_user_blk {

struct ControllerSpec {
    std::string name;
    std::string socket_path;
    std::uint16_t queues = 1;  ///< 1..kMaxQueues.
};

struct ControllerStatus {
    bool connected = false;           ///< A front end has a session.
    std::uint32_t active_queues = 0;  ///< Queues that its driver has started.
};

class Controller final : private reactor::AcceptHandler,
                         private reactor::TimerHandler,
                         private FrontEndOwner,
                         private LaneOwner {
  public:
    static constexpr std::uint16_t kMaxQueues = 64;

    using Made = core::Result<std::unique_ptr<Controller>>;
    /// Opens the volume's channels and listens. On the home reactor, contexts[0]'s; queue i runs
    /// on contexts[i % contexts.size()]'s. `device` outlives the controller. Errors:
    /// InvalidArgument; FailedPrecondition when the path is taken; ResourceExhausted; what the
    /// system says about the path.
    static reactor::Task<Made> create(ControllerSpec spec,
                                      block::Device& device,
                                      std::vector<block::ReactorContext> contexts);
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;
    /// Requires that stop() succeeded.
    ~Controller();

    /// Stops listening, lets the queues give back what they took, closes the sessions and the
    /// channels. Errors: DeadlineExceeded when the volume still holds requests after `limit`: the
    /// controller must then live on, and stop() be called again.
    reactor::Task<core::Result<void>> stop(reactor::Nanos limit);

    [[nodiscard]] ControllerStatus status() const;
    /// Calls `visit(const Lane&)` for each lane, one after another, each on its own reactor, unless
    /// the controller is stopping.
    template <typename F>
    reactor::Task<> visit_lanes(F visit);
    /// Of all queues, since the controller was made.
    reactor::Task<QueueCounters> counters();
    [[nodiscard]] const std::string& name() const { return spec_.name; }
    [[nodiscard]] const std::string& socket_path() const { return spec_.socket_path; }

  private:
    Controller(ControllerSpec spec, block::Device& device, reactor::Reactor& home);
    /// Needs close_lanes() also after an error.
    reactor::Task<core::Result<void>> open_lanes(std::span<const block::ReactorContext> contexts);
    reactor::Task<> close_lanes();

    void on_accept(reactor::Handle connection) override;
    void on_timer(reactor::Timer& timer) override;

    [[nodiscard]] std::uint64_t features() const override;
    [[nodiscard]] std::uint64_t possible_features() const override;
    [[nodiscard]] std::uint16_t queue_count() const override { return spec_.queues; }
    void read_config(std::span<std::byte> config) const override;
    bool claim_queues(FrontEnd& front_end) override;
    void release_queues(FrontEnd& front_end) override;
    void start_queue(std::uint16_t index, const virtio::vhost_user::QueueSetup& setup) override {
        lane_of(index).start(index, setup);
    }
    void stop_queue(std::uint16_t index, bool publish) override {
        lane_of(index).stop(index, publish);
    }
    void update_queue(std::uint16_t index, const virtio::vhost_user::QueueParts& parts) override {
        lane_of(index).update(index, parts);
    }
    void on_front_end_ended(FrontEnd& front_end) override;

    void on_queue_drained(std::uint16_t index, std::uint32_t base) override;
    void on_queue_broken(std::uint16_t index, const std::string& reason) override;
    void on_queue_updated(std::uint16_t index) override;
    void on_lane_geometry(std::size_t lane, const block::Geometry& geometry) override;

    void open_front_end(reactor::Handle connection);
    [[nodiscard]] bool any_live() const;
    void refuse(reactor::Handle connection);
    [[nodiscard]] Lane& lane_of(std::uint16_t index) { return *lanes_[index % lanes_.size()].lane; }
    [[nodiscard]] block::Geometry geometry() const;

    static constexpr std::size_t kMaxFrontEnds = 2;
    /// A front end that comes while there are two gets this long to turn out to be the successor of
    /// one: the end of an old connection may be seen after a new one.
    static constexpr reactor::Nanos kSuccessorWait{200'000'000};

    struct OpenLane {
        std::unique_ptr<Lane> lane;
        std::optional<block::Geometry> geometry;  // that it checks requests against
    };

    ControllerSpec spec_;
    block::Device& device_;
    reactor::Reactor& reactor_;
    std::vector<OpenLane> lanes_;
    reactor::Gate visits_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::vector<std::unique_ptr<FrontEnd>> front_ends_;
    FrontEnd* with_queues_ = nullptr;
    reactor::Handle waiting_ = reactor::kNoHandle;  // a front end that came too early
    reactor::Timer waiting_timer_;
    reactor::Signal front_end_ended_;
    bool stopping_ = false;
};

template <typename F>
reactor::Task<> Controller::visit_lanes(F visit) {
    if (!visits_.enter()) {
        co_return;
    }
    for (const OpenLane& at : lanes_) {
        co_await reactor::call_on(at.lane->reactor(), [&] { visit(std::as_const(*at.lane)); });
    }
    visits_.leave();
}

}  // namespace remora::frontends::vhost_user_blk
