// SPDX-License-Identifier: Apache-2.0
// Controller: a volume shown as a virtio-blk disk on a vhost-user socket.
//
//   socket ─► Session (one front end at a time) ─► Queue × n ─► block::Channel of the volume
//
// Everything (socket, messages, queues, I/O) is on one reactor: make it, stop it and destroy it
// there. One front end has the device at a time; a second one is refused while the first lives, and
// waits while the first one's last requests drain. The front end may go and come back at any time;
// with the in-flight region nothing the guest asked for is lost, even when this process dies.
// Spec: QEMU docs/interop/vhost-user.rst; VIRTIO 1.2 section 5.2.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "frontends/vhost_user_blk/queue.h"
#include "reactor/io.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "reactor/timer.h"
#include "virtio/vhost_user/session.h"

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

class Controller final : public block::DeviceListener,
                         private reactor::AcceptHandler,
                         private reactor::TimerHandler,
                         private virtio::vhost_user::SessionDevice,
                         private QueueOwner {
  public:
    static constexpr std::uint16_t kMaxQueues = 64;

    /// Opens the volume's channel and listens. On `context.reactor`; `device` and `context` outlive
    /// the controller. Errors: InvalidArgument; FailedPrecondition when the path is taken;
    /// ResourceExhausted; what the system says about the path.
    static core::Result<std::unique_ptr<Controller>> create(const ControllerSpec& spec,
                                                            block::Device& device,
                                                            block::ReactorContext& context);
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;
    /// Requires that stop() succeeded (or that no front end ever came).
    ~Controller();

    /// Stops listening, lets the queues give back what they took, closes the session and the
    /// channel. Errors: DeadlineExceeded when the volume still holds requests after `limit`: the
    /// controller must then live on, and stop() be called again.
    reactor::Task<core::Result<void>> stop(reactor::Nanos limit);

    /// The volume grew or shrank (it tells): the guest is told where it asked to be.
    void on_geometry_changed() override;

    [[nodiscard]] ControllerStatus status() const;
    [[nodiscard]] block::DeviceStats stats() const { return counters().io; }
    /// Of all queues, since the controller was made.
    [[nodiscard]] QueueCounters counters() const;
    [[nodiscard]] const std::string& name() const { return spec_.name; }
    [[nodiscard]] const std::string& socket_path() const { return spec_.socket_path; }

  private:
    Controller(const ControllerSpec& spec, block::Device& device, block::ReactorContext& context);

    void on_accept(reactor::Handle connection) override;
    void on_timer(reactor::Timer& timer) override;

    [[nodiscard]] std::uint64_t features() const override;
    [[nodiscard]] std::uint64_t possible_features() const override;
    [[nodiscard]] std::uint16_t queue_count() const override { return spec_.queues; }
    void read_config(std::span<std::byte> config) const override;
    core::Result<void> start_queue(std::uint16_t index,
                                   const virtio::vhost_user::QueueSetup& setup) override;
    void stop_queue(std::uint16_t index, bool publish) override;
    void set_call(std::uint16_t index, reactor::Event* call) override;
    void on_session_ended() override;

    void on_queue_drained(std::uint16_t index, std::uint16_t last_avail) override;
    void on_queue_broken(std::uint16_t index, std::string reason) override;

    void open_session(reactor::Handle connection);
    void refuse(reactor::Handle connection);
    void close_channel();

    /// A front end that comes while another is there gets this long to turn out to be its
    /// successor: the end of the old connection may be seen after the new one.
    static constexpr reactor::Nanos kSuccessorWait{200'000'000};

    ControllerSpec spec_;
    block::Device& device_;
    reactor::Reactor& reactor_;
    QueueDevice shared_;
    std::unique_ptr<block::Channel> channel_;
    std::vector<std::unique_ptr<Queue>> queues_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::unique_ptr<virtio::vhost_user::Session> session_;
    reactor::Handle waiting_ = reactor::kNoHandle;  // a front end that came too early
    reactor::Timer waiting_timer_;
    reactor::Signal session_ended_;
    bool stopping_ = false;
};

}  // namespace remora::frontends::vhost_user_blk
