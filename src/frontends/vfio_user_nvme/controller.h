// SPDX-License-Identifier: Apache-2.0
// Controller: volumes shown as the namespaces of an NVMe controller, a PCI function on a vfio-user
// socket.
//
//   socket ─► Session (one client at a time) ─► Function ─► queues ─► block::Channel of a volume
//
// Everything (socket, messages, queues, I/O) is on one reactor: make it, change it, stop it and
// destroy it there. One client has the function at a time; a second one is refused while the first
// lives, and waits while the first one's last requests end. A client that comes back finds the
// function as after a reset: its guest's memory has gone with the connection.
// Spec: QEMU docs/interop/vfio-user.rst; NVM Express Base Specification 2.0.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "frontends/vfio_user_nvme/function.h"
#include "reactor/io.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "reactor/timer.h"
#include "vfio_user/session.h"

namespace remora::frontends::vfio_user_nvme {

struct ControllerSpec {
    std::string name;
    std::string socket_path;
    std::uint16_t io_queues = 16;  ///< Pairs, 1..kMaxIoQueues.
    /// Clients may map the doorbells: no message a command, but then they are polled,
    /// also when idle, though seldom.
    bool map_doorbells = true;
    bool msix = true;          ///< Else MSI with one message, and INTx.
    std::uint16_t cntlid = 1;  ///< In its subsystem.
    nvme::SubsystemIdentity identity;
};

struct ControllerStatus {
    bool connected = false;           ///< A client has a session.
    bool ready = false;               ///< The host has enabled the controller.
    std::uint32_t active_queues = 0;  ///< I/O submission queues that the host has made.
};

class Controller final : private reactor::AcceptHandler,
                         private reactor::TimerHandler,
                         private FunctionOwner {
  public:
    /// Listens. On `context.reactor`, which outlives the controller. Errors: InvalidArgument;
    /// FailedPrecondition when the path is taken; ResourceExhausted; what the system says about
    /// the path.
    static core::Result<std::unique_ptr<Controller>> create(const ControllerSpec& spec,
                                                            block::ReactorContext& context);
    Controller(const Controller&) = delete;
    Controller& operator=(const Controller&) = delete;
    /// Requires that stop() succeeded (or that no client ever came).
    ~Controller();

    /// Shows the volume under `from.nsid`; its geometry is the device's. `device` outlives its
    /// being here. Errors: InvalidArgument, AlreadyExists, ResourceExhausted.
    core::Result<void> add_namespace(const nvme::Namespace& from, block::Device& device);
    /// Takes it away from the host at once, and returns when its last command has ended. Errors:
    /// NotFound; DeadlineExceeded: it is hidden, and this is to be called again.
    reactor::Task<core::Result<void>> remove_namespace(std::uint32_t nsid, reactor::Nanos limit);

    /// Which controllers the subsystem has by now, this one with them.
    void set_subsystem_controllers(std::vector<std::uint16_t> cntlids) {
        function_->set_subsystem_controllers(std::move(cntlids));
    }

    /// Stops listening, lets the queues give back what they took, closes the session and the
    /// channels. Errors: DeadlineExceeded when a volume still holds requests after `limit`: the
    /// controller must then live on, and stop() be called again.
    reactor::Task<core::Result<void>> stop(reactor::Nanos limit);

    /// Takes no more commands and clients: what freeze() begins with. With many controllers all
    /// begin before the first is waited for.
    void begin_freeze();
    /// Takes no more commands; when those under way have ended, gives what another controller needs
    /// to go on with the client, which notices nothing but the pause. From then on this one does
    /// nothing at all and is not to be stopped: its process ends. Errors: FailedPrecondition:
    /// there is no client, or none that has agreed on a version; DeadlineExceeded: something is
    /// still under way after `limit`.
    reactor::Task<core::Result<FrozenController>> freeze(reactor::Nanos limit);
    /// Goes on where another one was frozen; with all its namespaces there. Takes the handles, also
    /// on an error. Errors: FailedPrecondition: another client was quicker; DataLoss.
    core::Result<void> restore(const FrozenController& from);

    [[nodiscard]] ControllerStatus status() const;
    [[nodiscard]] block::DeviceStats stats() const { return counters().io; }
    /// Of all queues, since the controller was made.
    [[nodiscard]] const QueueCounters& counters() const { return function_->counters(); }
    [[nodiscard]] const std::string& name() const { return spec_.name; }
    [[nodiscard]] const std::string& socket_path() const { return spec_.socket_path; }

  private:
    Controller(const ControllerSpec& spec, block::ReactorContext& context);

    void on_accept(reactor::Handle connection) override;
    void on_timer(reactor::Timer& timer) override;
    void on_session_ended() override;

    void open_session(reactor::Handle connection);
    void refuse(reactor::Handle connection);

    /// A client that comes while another is there gets this long to turn out to be its successor:
    /// the end of the old connection may be seen after the new one.
    static constexpr reactor::Nanos kSuccessorWait{200'000'000};

    ControllerSpec spec_;
    reactor::Reactor& reactor_;
    std::unique_ptr<Function> function_;
    std::unique_ptr<reactor::Acceptor> acceptor_;
    std::unique_ptr<vfio_user::Session> session_;
    reactor::Handle connection_ = reactor::kNoHandle;  // the session's
    reactor::Handle waiting_ = reactor::kNoHandle;     // a client that came too early
    reactor::Timer waiting_timer_;
    reactor::Signal session_ended_;
    bool stopping_ = false;
};

}  // namespace remora::frontends::vfio_user_nvme
