// SPDX-License-Identifier: Apache-2.0
// RemoteController: this node as an NVMe/TCP host of one controller of one remote subsystem. It
// connects in the background, keeps connected, and shows each namespace as a block::Device.
//
//   block::Channel ─► Lane (one a data reactor) ─► QueuePair (one TCP connection) ─► target
//                       ▲ go live / close                admin QueuePair on the control reactor
//                       └──────────── Controller (control reactor) ──────────┘
//
// Every call is made on the control reactor; devices' channels live on the data reactors.
//
// I/O and the path. While no path is up, requests wait in the order they came; those that were
// outstanding when the connection died go before them, in their old order, and are sent again.
// A request that has waited past Timing::path_timeout, counted from its submission, fails with
// Status::PathError. Each request completes exactly once: a command identifier carries a
// generation, connections have their own tables, and a table dies with its connection.
//
// The resend hazard. A write sent again on a new connection must not be overtaken by its first
// copy. What this side guarantees: no new Connect is sent before every connection of the old
// association has been shut down, drained until the controller closed its end (at most
// Timing::close_linger), and closed. What the target has to guarantee: it closes its end of a
// connection only after the I/O received on it has ended, or else ends that I/O before it accepts
// a new Connect of the same host (NVMe over Fabrics: a controller that lost a connection completes
// or aborts its outstanding commands when it ends the association). A write that failed with
// PathError may have been executed, or be executed once more while the old association lasts
// (at most the keep-alive timeout), exactly as with any NVMe over Fabrics host.
//
// Spec: NVM Express Base 2.0, NVMe over Fabrics (Base 2.0 section 3.3, 6), TCP Transport 1.0.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/nvme_tcp/ana.h"
#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "core/units.h"
#include "core/uuid.h"
#include "reactor/endpoint.h"
#include "reactor/task.h"

namespace remora::backends::nvme_tcp {

using core::Nanos;
using core::Result;
using reactor::Endpoint;
using reactor::Task;

/// A namespace known from before: its device exists at once and its I/O waits for the path. What
/// the controller later says about it must match in uuid and block size.
struct KnownNamespace {
    std::uint32_t nsid = 0;
    core::Uuid uuid;
    std::uint32_t block_size = 512;
    std::uint64_t block_count = 0;
    std::uint32_t number = 0;  ///< In the volume's name (MultipathController); 0: the nsid.
};

/// Every wait's limit. Tests shorten them.
struct Timing {
    Nanos connect_timeout = std::chrono::seconds(5);  ///< TCP connect, ICReq, Connect: each.
    Nanos admin_timeout = std::chrono::seconds(10);   ///< Any other admin command.
    Nanos scan_timeout = std::chrono::seconds(30);    ///< To read all of its namespaces.
    Nanos keep_alive = std::chrono::seconds(5);       ///< KATO; a dead peer is seen within twice.
    Nanos io_timeout = std::chrono::seconds(10);  ///< Outstanding I/O without progress: reconnect.
    Nanos path_timeout = std::chrono::seconds(30);  ///< A request's wait for a path.
    Nanos close_linger = std::chrono::seconds(3);   ///< For the controller to close its end.
    /// For what a connection had outstanding to end at a controller that does not say so.
    Nanos resend_hold = std::chrono::seconds(10);
    Nanos backoff_min = std::chrono::milliseconds(50);
    Nanos backoff_max = std::chrono::seconds(5);
    Nanos retry_delay = std::chrono::milliseconds(100);  ///< After a status that asks for a retry.
};

struct ControllerOptions {
    std::string name;  ///< Devices are named `<name>n<nsid>`.
    Endpoint endpoint;
    std::string subnqn;
    std::string hostnqn;
    core::Uuid hostid;
    std::uint32_t io_queues = 0;     ///< 0, or more than reactors: one per reactor.
    std::uint32_t queue_size = 128;  ///< Entries, 2..1024; the controller may allow fewer.
    bool header_digest = false;
    bool data_digest = false;
    std::vector<KnownNamespace> known;
    Timing timing;
};

enum class PathState { Connecting, Live, Down };

struct NamespaceStatus {
    std::uint32_t nsid = 0;
    std::string volume;  ///< Name of its device.
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint64_t eui64 = 0;
    block::Geometry geometry;
    bool present = false;  ///< The controller showed it when it was last asked.
    std::string problem;   ///< Why its I/O fails although present; empty when it does not.
    core::Uuid shown;      ///< The volume that is at this number now; `uuid` when it is that one.
    AnaState ana = AnaState::Optimized;  ///< As the controller said last.
};

struct ControllerStatus {
    PathState state = PathState::Connecting;
    std::string last_error;  ///< Why it is not live, or what is wrong with a namespace; a sentence.
    std::uint64_t reconnects = 0;
    std::vector<NamespaceStatus> namespaces;  ///< By nsid, known ones that are away included.
};

/// Told on the control reactor.
class NamespaceListener {
  public:
    /// A namespace appeared, vanished, came back or changed its size: look at status() again. New
    /// devices are there by now; a device that vanished stays until forget().
    virtual void on_namespaces_changed() = 0;

  protected:
    ~NamespaceListener() = default;
};

/// One path: one association with one controller.
class RemoteController {
  public:
    virtual ~RemoteController() = default;

    /// Makes the devices of the known namespaces and starts connecting. `control` is the current
    /// reactor; `reactors` outlive the controller, which the caller stops before destroying it.
    /// Errors: InvalidArgument with the option that is wrong.
    static Result<std::unique_ptr<RemoteController>> create(
        ControllerOptions options,
        std::span<const block::ReactorContext> reactors,
        reactor::Reactor& control);

    /// Null ends the telling. At most one; it outlives the controller or takes itself away.
    virtual void set_listener(NamespaceListener* listener) = 0;

    /// Until the controller is live and its namespaces are known. A refusal that repeating cannot
    /// change ends the wait at once. Errors: NotFound (no such subsystem there), PermissionDenied
    /// (host not allowed), Unavailable, DeadlineExceeded with the last reason, Aborted (stopped).
    virtual Task<Result<void>> wait_ready(Nanos limit) = 0;

    [[nodiscard]] virtual ControllerStatus status() const = 0;
    /// The device of a namespace, or null. It lives until forget() or the controller's end.
    [[nodiscard]] virtual block::Device* device(std::uint32_t nsid) const = 0;

    /// Asks the controller for its namespaces again (it also tells by itself). Errors: Unavailable.
    virtual Task<Result<void>> rescan() = 0;
    /// Destroys the device of a namespace. Errors: NotFound; FailedPrecondition while a channel of
    /// it is open. A namespace that is still present comes back with the next rescan.
    virtual Task<Result<void>> forget(std::uint32_t nsid) = 0;
    /// Drops the connections and connects anew; I/O waits meanwhile.
    virtual Task<> reset() = 0;
    /// Disconnects for good. No channel is open. Call once, before destruction.
    virtual Task<> stop() = 0;
};

}  // namespace remora::backends::nvme_tcp
