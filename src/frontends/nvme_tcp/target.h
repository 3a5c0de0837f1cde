// SPDX-License-Identifier: Apache-2.0
// frontends::nvme_tcp::Target: shows block devices to NVMe/TCP hosts.
//
//   control reactor: Target  what exists: subsystems, namespaces, listeners; it accepts
//        │ messages               │ accepted connections, spread over the data reactors
//        ▼                        ▼
//   data reactor:   Shard    replicas of the subsystems with open channels, controllers,
//   connections
//
// A connection lives on one reactor for life. A controller lives where its admin queue does; its
// I/O queues may be elsewhere and find it by the reactor number inside the controller id. Shards
// share nothing: they learn of changes, and of each other's queues, by message.
//
// Every public call runs on the control reactor and ends by itself. What Target guarantees to a
// host that shut its sending side down: the target closes its own side only after the last
// request of that connection has left the block layer. A host that waits for the end of the stream
// before it sends a write again therefore never has an old copy of it still running here. A host
// that was killed cannot wait: the Connect of its successor does (shard_departures.cc).
//
// NVM Express Base 2.0, NVMe/TCP Transport Specification 1.0.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "block/stage.h"
#include "core/result.h"
#include "core/uuid.h"
#include "nvme/reservation.h"
#include "nvme/reservation_keeper.h"
#include "nvme/spec/ana.h"
#include "nvme/spec/fabrics.h"
#include "nvme/uncorrectable.h"
#include "nvme/uncorrectable_keeper.h"
#include "reactor/endpoint.h"
#include "reactor/io.h"
#include "reactor/task.h"

namespace remora::frontends::nvme_tcp {

using core::Nanos;
using core::Result;
using nvme::spec::AnaState;
using reactor::Endpoint;
using reactor::Task;

/// Every bound of the target. Fixed at construction.
struct TargetLimits {
    std::uint32_t subsystems = 256;
    std::uint32_t namespaces = 1024;  ///< Of one subsystem; also its greatest NSID.
    std::uint32_t listeners = 64;
    std::uint32_t referrals = 16;
    std::uint32_t connections = 1024;           ///< Of one reactor.
    std::uint32_t controllers = 256;            ///< Of one reactor.
    std::uint32_t io_queues = 64;               ///< Of one controller.
    std::uint32_t queue_depth = 1024;           ///< Entries of an I/O queue (CAP.MQES + 1).
    std::uint32_t in_capsule_bytes = 16384;     ///< Of an I/O queue (IOCCSZ).
    std::uint32_t max_h2c_data = 256 * 1024;    ///< MAXH2CDATA.
    std::uint32_t transfer_shift = 6;           ///< MDTS: 4 KiB << 6 = 256 KiB.
    Nanos handshake{std::chrono::seconds(10)};  ///< Accept to ICReq, and ICResp to Connect.
    /// An admin Connect's wait for the I/O that its host left behind; then the target is busy. Less
    /// than a host's own limit for Connect: ours has 5 s, Linux 60 s.
    Nanos hold{std::chrono::seconds(3)};
    Nanos linger{std::chrono::seconds(1)};  ///< How long a TermReq may take to be read.
    /// What a peer has to send (the rest of a PDU, the data of an R2T) or to take (an answer) it
    /// has to within this, or twice this, each by itself; or it is dropped.
    Nanos stall{std::chrono::seconds(30)};
    /// A reservation command's wait for the commands that it shuts out, which a slow volume still
    /// executes. Less than what hosts give a command: Linux 30 s.
    Nanos drain{std::chrono::seconds(20)};
};

struct SubsystemOptions {
    std::string nqn;
    std::string serial;                ///< At most 20 ASCII characters; empty: made from the NQN.
    std::string model;                 ///< At most 40 ASCII characters; empty: "Remora".
    std::uint32_t max_namespaces = 0;  ///< 0: TargetLimits::namespaces.
    std::vector<std::string> allowed_hosts;  ///< Host NQNs; empty: any host.
};

/// Another discovery service that hosts are told of.
struct Referral {
    Endpoint endpoint;
    std::string subnqn{nvme::spec::kDiscoveryNqn};
};

struct NamespaceOptions {
    std::uint32_t nsid = 0;                 ///< 0: the lowest free one.
    block::Device* device = nullptr;        ///< Outlives the namespace.
    core::Uuid uuid;                        ///< Nil: the device's.
    std::array<unsigned char, 16> nguid{};  ///< All zero: none.
    std::uint64_t eui64 = 0;                ///< 0: none.
    /// As a ReservationKeeper was given it before a restart; empty: none.
    nvme::ReservationRecord reservation;
    /// As an UncorrectableKeeper was given them; empty: none.
    nvme::UncorrectableBlocks uncorrectable;
};

/// Plain counters of one connection.
struct ConnectionStats {
    std::uint64_t id = 0;
    std::string peer;
    std::string hostnqn;  ///< Empty before Connect.
    std::uint16_t cntlid = 0;
    std::uint16_t qid = 0;
    std::uint32_t reactor = 0;
    std::uint64_t recv_calls = 0;
    std::uint64_t recv_bytes = 0;
    std::uint64_t recv_pdus = 0;
    std::uint64_t send_calls = 0;
    std::uint64_t send_bytes = 0;
    std::uint64_t send_pdus = 0;
    std::uint64_t commands = 0;
    std::uint64_t failed_commands = 0;
    std::uint64_t buffer_waits = 0;  ///< Commands that waited for the pool.
};

struct TargetStats {
    std::uint64_t accepted = 0;
    std::uint64_t protocol_errors = 0;  ///< Connections ended for what the peer sent.
    std::uint64_t keep_alive_timeouts = 0;
    std::uint64_t controllers = 0;  ///< Now.
    std::vector<ConnectionStats> connections;
};

class Shard;
class Listener;
class Reservations;
class Turnstile;
struct MarkStore;

class Target {
  public:
    /// `reactors` are copied; the reactors, their pools and `control` outlive the target.
    /// `discovery_nqn` names this target's discovery subsystem besides the well-known name.
    Target(std::span<const block::ReactorContext> reactors,
           reactor::Reactor& control,
           TargetLimits limits = {},
           std::string discovery_nqn = {});
    Target(const Target&) = delete;
    Target& operator=(const Target&) = delete;
    /// After stop().
    ~Target();

    /// Who makes reservations survive a restart (PTPL); without one hosts cannot ask for it. Called
    /// before the first namespace is added. The keeper is used until stop() has ended.
    void set_reservation_keeper(nvme::ReservationKeeper* keeper);
    /// The same for the marks of Write Uncorrectable; without one they end with the target.
    void set_uncorrectable_keeper(nvme::UncorrectableKeeper* keeper);

    /// Errors: InvalidArgument (NQN, serial, model), AlreadyExists, ResourceExhausted.
    Task<Result<void>> create_subsystem(SubsystemOptions options);
    /// With its listeners and namespaces; connected hosts are disconnected and their requests end
    /// first. Errors: NotFound.
    Task<Result<void>> delete_subsystem(std::string nqn);
    [[nodiscard]] bool has_subsystem(const std::string& nqn) const {
        return subsystems_.contains(nqn);
    }

    /// Returns where it listens (the port that was picked). Subsystems share an endpoint; the
    /// discovery subsystem answers on it, too. Adding the same again is no error. The address is
    /// one that hosts can connect to, not a wildcard. A host that finds a subsystem which exists,
    /// but not at this endpoint, is told to come again; so create all subsystems before the first
    /// listener of an endpoint they share. Errors: NotFound, InvalidArgument, and what listen()
    /// says.
    Task<Result<Endpoint>> add_listener(std::string nqn,
                                        Endpoint at,
                                        AnaState state = AnaState::Optimized);
    /// How good the way through this listener is, from now on; hosts that came through it are told.
    /// When it returns, no new command passes a listener that lost its access; those that were
    /// begun end by themselves. Errors: NotFound.
    Task<Result<void>> set_ana_state(std::string nqn, Endpoint at, AnaState state);
    /// All commands of all namespaces that come through this listener go through `stage` from now
    /// on, on every reactor, also those of hosts that are connected. It stays for as long as one
    /// of them is; putting the same again is no error, another one is. Errors: NotFound, those of
    /// the stage's channels.
    Task<Result<void>> put_stage(std::string nqn, Endpoint at, std::shared_ptr<block::Stage> stage);
    /// Every listener's discovery log names these, instead of those before. Errors:
    /// ResourceExhausted.
    Task<Result<void>> set_referrals(std::vector<Referral> referrals);
    /// Connections made through it go on. Errors: NotFound.
    Task<Result<void>> remove_listener(std::string nqn, Endpoint at);

    /// Opens a channel of the device on every reactor, then tells the connected hosts. Returns the
    /// NSID. Errors: NotFound, AlreadyExists (the NSID), InvalidArgument, ResourceExhausted.
    Task<Result<std::uint32_t>> add_namespace(std::string nqn, NamespaceOptions options);
    /// New commands fail at once, hosts are told, running requests end, channels are closed. When
    /// it returns the device is not used any more. Errors: NotFound.
    Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid);
    /// Reads the device's geometry again and tells the hosts; for a device that grew. Errors:
    /// NotFound.
    Task<Result<void>> refresh_namespace(std::string nqn, std::uint32_t nsid);

    Task<TargetStats> stats();

    /// Stops listening, disconnects everyone, closes all channels. Call once, before destruction.
    Task<> stop();

  private:
    friend class Listener;
    struct Subsystem;

    Task<Result<void>> do_create_subsystem(SubsystemOptions options);
    Task<Result<void>> do_delete_subsystem(std::string nqn);
    Task<Result<Endpoint>> do_add_listener(std::string nqn, Endpoint at, AnaState state);
    Task<Result<void>> do_set_ana_state(std::string nqn, Endpoint at, AnaState state);
    Task<Result<void>> do_put_stage(std::string nqn,
                                    Endpoint at,
                                    std::shared_ptr<block::Stage> stage);
    Task<Result<void>> do_set_referrals(std::vector<Referral> referrals);
    Task<Result<void>> do_remove_listener(std::string nqn, Endpoint at);
    Task<Result<std::uint32_t>> do_add_namespace(std::string nqn, NamespaceOptions options);
    Task<Result<void>> do_remove_namespace(std::string nqn, std::uint32_t nsid);
    Task<Result<void>> do_refresh_namespace(std::string nqn, std::uint32_t nsid);
    Task<> do_stop();

    Result<Subsystem*> find(const std::string& nqn);
    Result<std::uint32_t> choose_nsid(const Subsystem& subsystem, std::uint32_t wanted) const;
    Result<Listener*> open_listener(const Endpoint& at);
    /// An accepted connection goes to the next reactor.
    void accepted(reactor::Handle connection, const Endpoint& at);
    Task<> publish_discovery();
    void close_unused_listeners();
    Task<> withdraw_namespace(const std::string& nqn, std::uint32_t nsid);
    Task<> announce_namespace(const std::string& nqn, std::uint32_t nsid);

    std::vector<block::ReactorContext> reactors_;
    reactor::Reactor& control_;
    TargetLimits limits_;
    std::string discovery_nqn_;
    std::vector<Referral> referrals_;
    std::vector<std::unique_ptr<Shard>> shards_;
    std::unique_ptr<Reservations> reservations_;
    std::unique_ptr<MarkStore> mark_store_;
    std::map<std::string, std::unique_ptr<Subsystem>> subsystems_;
    std::map<Endpoint, std::unique_ptr<Listener>> listeners_;
    std::uint16_t next_port_id_ = 1;
    std::uint64_t next_incarnation_ = 1;
    std::uint64_t generation_ = 0;  // of the discovery log
    std::size_t next_shard_ = 0;
    bool stopped_ = false;
    std::unique_ptr<Turnstile> turnstile_;  // one change at a time
};

}  // namespace remora::frontends::nvme_tcp
