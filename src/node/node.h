// SPDX-License-Identifier: Apache-2.0
// node::Node: the data plane as the control plane drives it. It builds and rewires the graph of
// devices, front ends and remote controllers, and places them on reactors.
//
// Every call runs on the control reactor and is a coroutine that ends by itself (each wait inside
// has a deadline). A call either does the whole of its job or leaves nothing behind. It holds
// actual state only: what should exist is the control plane's store. Names are the caller's and
// unique per kind; volumes share one name space.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "block/device.h"
#include "core/histogram.h"
#include "core/result.h"
#include "core/uuid.h"
#include "node/vfio_nvme.h"
#include "nvme/reservation.h"
#include "nvme/reservation_keeper.h"
#include "nvme/spec/ana.h"
#include "nvme/uncorrectable.h"
#include "nvme/uncorrectable_keeper.h"
#include "reactor/endpoint.h"
#include "reactor/task.h"
#include "services/crypto/aes_xts.h"
#include "services/crypto/rekey_keeper.h"
#include "services/fault/fault_settings.h"
#include "services/integrity/integrity_device.h"
#include "services/qos/rates.h"
#include "services/raid/raid_options.h"

namespace remora::node {

using core::Result;
using nvme::spec::AnaState;
using reactor::Endpoint;
using reactor::Task;
using services::crypto::RekeyPoint;
using services::crypto::RekeyProgress;
using services::fault::FaultCounts;
using services::fault::FaultSettings;
using services::integrity::IntegrityStatus;
using services::qos::Capacity;
using services::qos::Rates;
using services::raid::RaidStatus;

struct RamSpec {
    std::string name;
    core::Uuid uuid;
    std::uint32_t block_size = 512;
    std::uint64_t block_count = 0;
};

struct NullSpec {
    std::string name;
    core::Uuid uuid;
    std::uint32_t block_size = 512;
    std::uint64_t block_count = 0;
};

struct FileSpec {
    std::string name;
    core::Uuid uuid;
    std::string path;
    std::uint32_t block_size = 512;
    std::uint64_t size_bytes = 0;  ///< What the file must have; 0: any.
    bool create = false;           ///< Make it, of size_bytes, when it is not there.
};

/// The key of an encrypted volume is being changed.
struct RekeySpec {
    std::unique_ptr<const services::crypto::XtsKey> next;
    RekeyPoint point;                    ///< As the keeper last had it.
    std::uint64_t bytes_per_second = 0;  ///< 0: the default.
};

/// A volume whose bytes are ciphertext in the volume below.
struct EncryptedSpec {
    std::string name;
    core::Uuid uuid;
    std::string lower;
    std::unique_ptr<const services::crypto::XtsKey> key;
    std::uint32_t sector_size = 512;
    services::crypto::SectorNumbers numbers = services::crypto::SectorNumbers::Units512;
    std::optional<RekeySpec> rekey;
};

/// A volume made of several others.
struct RaidSpec {
    std::string name;
    core::Uuid uuid;
    services::raid::Level level = services::raid::Level::Raid1;
    std::uint32_t chunk_bytes = 65536;
    /// Of a new array its members in order; else all volumes that may belong to it, in any order.
    std::vector<std::string> members;
    std::vector<std::string> spares;  ///< Of a new array only.
    /// Make it, unless it is on the members already; else it must be there.
    bool fresh = false;
    bool overwrite = false;                         ///< A new one: also over another array.
    std::uint64_t background_bytes_per_second = 0;  ///< 0: the default.
};

/// A volume whose blocks have checksums, in the volume below.
struct IntegritySpec {
    std::string name;
    core::Uuid uuid;
    std::string lower;
    bool fresh = false;      ///< Make it, unless it is there already; else it must be there.
    bool overwrite = false;  ///< A new one: also over another of the kind.
};

struct VolumeInfo {
    std::string name;
    core::Uuid uuid;
    block::Geometry geometry;
};

struct SubsystemSpec {
    std::string nqn;
    std::string serial;
    std::string model;
    std::uint32_t max_namespaces = 0;  ///< 0: the built-in limit.
    std::string allowed_host;          ///< Host NQN; empty: any host.
};

/// Another discovery service that hosts of this one are told of.
struct ReferralSpec {
    Endpoint endpoint;
    std::string subnqn;  ///< Empty: the name that all discovery subsystems have.
};

struct NamespaceSpec {
    std::string nqn;         ///< Of the subsystem.
    std::uint32_t nsid = 0;  ///< 0: the lowest free one.
    std::string volume;
    core::Uuid uuid;                          ///< Nil: the volume's.
    std::array<unsigned char, 16> nguid{};    ///< All zero: none.
    std::uint64_t eui64 = 0;                  ///< 0: none.
    nvme::ReservationRecord reservation;      ///< As the keeper last had it.
    nvme::UncorrectableBlocks uncorrectable;  ///< The same.
};

/// A namespace of a remote controller that is known from before (a restart): its device exists at
/// once, and its I/O waits for the path.
struct KnownNamespace {
    std::uint32_t nsid = 0;
    core::Uuid uuid;
    std::uint32_t block_size = 512;
    std::uint64_t block_count = 0;
    std::uint32_t number = 0;  ///< In the name of its volume; 0: the nsid.
};

/// One way to a remote controller's subsystem.
struct RemotePathSpec {
    std::string id;  ///< Unique in the remote controller.
    Endpoint endpoint;
    std::vector<KnownNamespace> known;
};

/// Which of several paths gets a request, of those that ANA says are best.
enum class PathPolicy { Failover, RoundRobin, QueueDepth };

/// How long a remote controller's connections wait for what.
struct ConnectionTimings {
    core::Nanos connect{std::chrono::seconds(5)};     ///< TCP connect, ICReq and Connect, each.
    core::Nanos keep_alive{std::chrono::seconds(5)};  ///< A dead controller is known in 1.5 of it.
    /// Outstanding I/O that makes no progress for so long: the connection is made anew.
    core::Nanos io{std::chrono::seconds(10)};
    /// The longest pause between two attempts to connect.
    core::Nanos reconnect_max{std::chrono::seconds(5)};
};

struct RemoteSpec {
    std::string name;                   ///< Volumes appear as `<name>n<number>`; mostly the nsid.
    std::vector<RemotePathSpec> paths;  ///< The preferred ones first; at least one, at most 8.
    PathPolicy policy = PathPolicy::QueueDepth;
    std::string subnqn;
    std::string hostnqn;          ///< Empty: this node's own.
    std::uint32_t io_queues = 0;  ///< 0: one per reactor.
    std::uint32_t queue_size = 128;
    bool header_digest = false;
    bool data_digest = false;
    ConnectionTimings timings;
};

enum class PathState { Connecting, Live, Down };

/// A volume of a remote controller.
struct RemoteNamespace {
    std::uint32_t nsid = 0;  ///< As the first path that shows it does.
    std::string volume;      ///< Name of its device.
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint64_t eui64 = 0;
    block::Geometry geometry;
    std::uint32_t number = 0;  ///< In `volume`.
};

/// A namespace as one path has it.
struct PathNamespace {
    KnownNamespace identity;
    std::string volume;  ///< The device it is joined to.
    AnaState access = AnaState::Optimized;
    bool present = false;  ///< The controller showed it when it was last asked.
};

struct RemotePathStatus {
    std::string id;
    PathState state = PathState::Connecting;
    std::string last_error;  ///< Why it is not live; empty when it is.
    std::uint64_t reconnects = 0;
    std::vector<PathNamespace> namespaces;
};

struct RemoteStatus {
    PathState state = PathState::Connecting;  ///< The best of its paths'.
    std::string last_error;                   ///< The first path's that has one.
    std::uint64_t reconnects = 0;             ///< Of all paths.
    PathPolicy policy = PathPolicy::QueueDepth;
    std::vector<RemoteNamespace> namespaces;
    std::vector<RemotePathStatus> paths;
};

struct DiscoveryEntry {
    std::string subnqn;
    Endpoint endpoint;
};

struct VhostBlkSpec {
    std::string name;
    std::string volume;
    std::string socket_path;
    std::uint32_t queues = 1;
    Rates rates;  ///< Of this disk, besides the volume's own.
};

struct VhostBlkStatus {
    bool connected = false;  ///< A front end (QEMU) has a session.
    std::uint32_t active_queues = 0;
};

/// A minimum of something's rates, of what its pool's back end can do.
struct Minimum {
    std::string pool;
    Rates least;

    bool operator==(const Minimum&) const = default;
};

/// What stands for the listener with an NVMe controller that is a function of the local host.
inline Endpoint way_of_function(const std::string& controller) {
    return Endpoint::unix_path(controller);
}

/// What competes for what, and what each has for sure. A pool is a back end that several volumes
/// share: a remote controller, by its name, or this node's own volumes, by the empty name. Volumes
/// made of others compete as those do.
struct Competition {
    std::map<std::string, Capacity> pools;
    std::map<std::string, Minimum> volumes;  ///< By name, also of those that are not there (yet).
    /// By subsystem NQN and listener, or way_of_function().
    std::map<std::pair<std::string, Endpoint>, Minimum> controllers;

    bool operator==(const Competition&) const = default;
};

struct BenchmarkSpec {
    std::string volume;
    enum class Pattern { Read, Write, ReadWrite } pattern = Pattern::Read;  ///< Random offsets.
    std::uint32_t io_bytes = 4096;
    std::uint32_t queue_depth = 32;
    std::uint32_t milliseconds = 5000;  ///< Up to an hour.
};

struct BenchmarkResult {
    std::uint64_t operations = 0;
    std::uint64_t errors = 0;
    core::Nanos elapsed{};
    core::Histogram latency_ns;
};

class Node {
  public:
    virtual ~Node() = default;

    virtual Task<Result<VolumeInfo>> create_ram(RamSpec spec) = 0;
    virtual Task<Result<VolumeInfo>> create_null(NullSpec spec) = 0;
    virtual Task<Result<VolumeInfo>> create_file(FileSpec spec) = 0;
    /// It grows with the volume below, which it uses until it is deleted. Errors: NotFound,
    /// AlreadyExists, InvalidArgument, Unavailable when no cipher here can be trusted.
    virtual Task<Result<VolumeInfo>> create_encrypted(EncryptedSpec spec) = 0;
    /// Gives an encrypted volume another key while it is in use, in the background. Errors:
    /// NotFound; FailedPrecondition while that is being done, or without a keeper.
    virtual Task<Result<void>> rekey_volume(std::string name, RekeySpec spec) = 0;
    /// Nothing when its key is not being changed.
    [[nodiscard]] virtual std::optional<RekeyProgress> rekey_progress(
        const std::string& name) const = 0;
    /// The volumes below are in use until it is deleted. Errors: those of RaidDevice::create() and
    /// assemble(), NotFound, AlreadyExists.
    virtual Task<Result<VolumeInfo>> create_raid(RaidSpec spec) = 0;
    /// Nothing when there is no array of that name; as the next, of IntegrityDevice.
    [[nodiscard]] virtual std::optional<RaidStatus> raid_status(const std::string& name) const = 0;
    /// `volume` is in use by the array from then on. Errors: NotFound, those of RaidDevice.
    virtual Task<Result<void>> add_raid_spare(std::string name, std::string volume) = 0;
    /// `with` may be a member already. Errors: as above.
    virtual Task<Result<void>> replace_raid_member(std::string name,
                                                   std::string member,
                                                   std::string with) = 0;
    virtual Task<Result<void>> remove_raid_member(std::string name, std::string member) = 0;
    /// Volumes that are no part of the array any more are not in use by it any more.
    virtual void release_raid_members(const std::string& name) = 0;
    /// 0: the default.
    virtual void set_raid_rate(const std::string& name, std::uint64_t bytes_per_second) = 0;
    /// Starts or cancels. Errors: NotFound, FailedPrecondition.
    virtual Result<void> scrub_raid(const std::string& name, bool on) = 0;
    /// The volume below is in use until it is deleted. Errors: those of IntegrityDevice::create()
    /// and open(), NotFound, AlreadyExists.
    virtual Task<Result<VolumeInfo>> create_integrity(IntegritySpec spec) = 0;
    [[nodiscard]] virtual std::optional<IntegrityStatus> integrity_status(
        const std::string& name) const = 0;
    /// 0: the default.
    virtual void set_integrity_scrub_rate(const std::string& name,
                                          std::uint64_t bytes_per_second) = 0;
    virtual Result<void> scrub_integrity(const std::string& name, bool on) = 0;
    /// What is made of others has its marks on them taken away, as far as they can be written.
    /// Errors: NotFound; FailedPrecondition while something uses it.
    virtual Task<Result<void>> delete_volume(std::string name) = 0;
    /// Makes a volume of this node's own larger; its hosts see it at once. The same size again is
    /// no error. Errors: NotFound, FailedPrecondition (it would shrink, or is a remote or an
    /// encrypted one), InvalidArgument, ResourceExhausted.
    virtual Task<Result<VolumeInfo>> grow_volume(std::string name, std::uint64_t block_count) = 0;
    [[nodiscard]] virtual std::optional<VolumeInfo> find_volume(const std::string& name) const = 0;
    virtual Task<Result<block::DeviceStats>> volume_stats(std::string name) = 0;
    /// What all users of the volume may have together, from now on; all zero: anything. Holds for
    /// the volume of that name whether it is there already, comes later, or goes and comes again.
    virtual Task<> set_volume_rates(std::string name, Rates rates) = 0;
    /// From now on, instead of what was before: where a minimum is set in a pool that has a
    /// capacity, all of that pool's volumes take turns (services/qos/share.h); nowhere else. The
    /// minima fit the capacities; that is the caller's to see to.
    virtual Task<> set_competition(Competition competition) = 0;
    /// Which of the volume's requests are failed or held up on purpose, from now on, with counts
    /// from zero; empty: none, and those that are held up go at once. I/O goes on meanwhile. Holds
    /// as the rates do. Errors: InvalidArgument; Aborted while another call changes them.
    virtual Task<Result<void>> set_volume_faults(std::string name, FaultSettings settings) = 0;
    /// What was done to its requests since then; zeros without settings. Errors: NotFound.
    virtual Task<Result<FaultCounts>> volume_fault_counts(std::string name) = 0;

    virtual Task<Result<void>> create_subsystem(SubsystemSpec spec) = 0;
    /// With its listeners and namespaces; connected hosts are disconnected.
    virtual Task<Result<void>> delete_subsystem(std::string nqn) = 0;
    /// Returns where it listens (the port that was picked). Subsystems may share an endpoint.
    virtual Task<Result<Endpoint>> add_listener(std::string nqn, Endpoint at, AnaState state) = 0;
    virtual Task<Result<void>> remove_listener(std::string nqn, Endpoint at) = 0;
    /// Hosts are told; when it returns, nothing new passes a listener without access.
    virtual Task<Result<void>> set_ana_state(std::string nqn, Endpoint at, AnaState state) = 0;
    /// What all commands of all namespaces that come through the listener may have together, from
    /// now on, until it is removed; all zero: anything. Its minimum holds from the first call on.
    /// Errors: NotFound.
    virtual Task<Result<void>> set_controller_rates(std::string nqn, Endpoint at, Rates rates) = 0;
    /// For how long that has held its commands back, in all. Nanoseconds.
    virtual Task<std::uint64_t> controller_throttled_ns(std::string nqn, Endpoint at) = 0;
    /// Instead of those before.
    virtual Task<Result<void>> set_referrals(std::vector<ReferralSpec> referrals) = 0;
    /// Who is given what hosts want to survive a restart; without one they cannot want it. Once,
    /// before the first namespace; it is used until stop() has ended.
    virtual void set_reservation_keeper(nvme::ReservationKeeper& keeper) = 0;
    /// The same for the blocks that hosts mark uncorrectable.
    virtual void set_uncorrectable_keeper(nvme::UncorrectableKeeper& keeper) = 0;
    /// The same for the change of keys; before the first encrypted volume.
    virtual void set_rekey_keeper(services::crypto::RekeyKeeper& keeper) = 0;
    /// Returns the nsid.
    virtual Task<Result<std::uint32_t>> add_namespace(NamespaceSpec spec) = 0;
    virtual Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid) = 0;

    /// Asks the discovery subsystem at `endpoint` for its log. `hostnqn` empty: this node's own.
    virtual Task<Result<std::vector<DiscoveryEntry>>> discover(Endpoint endpoint,
                                                               std::string hostnqn,
                                                               core::Nanos limit) = 0;
    /// Starts a remote controller; it connects, and reconnects for ever, in the background.
    virtual Task<Result<void>> create_remote(RemoteSpec spec) = 0;
    /// Waits until a path is live and its namespaces are known. Errors: DeadlineExceeded,
    /// Unavailable, PermissionDenied... with the last reason.
    virtual Task<Result<void>> wait_remote(std::string name, core::Nanos limit) = 0;
    /// Starts one more path; I/O goes on meanwhile. Errors: NotFound, AlreadyExists,
    /// ResourceExhausted.
    virtual Task<Result<void>> add_remote_path(std::string name, RemotePathSpec path) = 0;
    /// As wait_remote, for this path.
    virtual Task<Result<void>> wait_remote_path(std::string name,
                                                std::string path,
                                                core::Nanos limit) = 0;
    /// Ends one of several paths; what it was doing goes to the others. Errors: NotFound;
    /// FailedPrecondition when it is the only one that shows a volume in use.
    virtual Task<Result<void>> remove_remote_path(std::string name, std::string path) = 0;
    virtual Task<Result<void>> set_remote_policy(std::string name, PathPolicy policy) = 0;
    /// From each path's next connection on. Errors: NotFound.
    virtual Result<void> set_remote_timings(const std::string& name,
                                            const ConnectionTimings& timings) = 0;
    /// Errors: FailedPrecondition while one of its volumes is in use.
    virtual Task<Result<void>> delete_remote(std::string name) = 0;
    /// Drops the connections and connects anew; I/O waits meanwhile.
    virtual Task<Result<void>> reset_remote(std::string name) = 0;
    [[nodiscard]] virtual std::optional<RemoteStatus> remote_status(
        const std::string& name) const = 0;

    /// Serves the volume on a vhost-user socket at `socket_path`.
    virtual Task<Result<void>> create_vhost_blk(VhostBlkSpec spec) = 0;
    virtual Task<Result<void>> delete_vhost_blk(std::string name) = 0;
    /// From now on. Errors: NotFound; Aborted while it is being made or removed.
    virtual Task<Result<void>> set_vhost_blk_rates(std::string name, Rates rates) = 0;
    virtual Task<Result<VhostBlkStatus>> vhost_blk_status(std::string name) = 0;
    virtual Task<Result<block::DeviceStats>> vhost_blk_stats(std::string name) = 0;

    /// Serves an NVMe controller of the subsystem on a vfio-user socket. It has the namespaces that
    /// the subsystem has and gets. Errors: NotFound (the subsystem), AlreadyExists,
    /// InvalidArgument, those of sockets.
    virtual Task<Result<void>> create_vfio_nvme(VfioNvmeSpec spec) = 0;
    virtual Task<Result<void>> delete_vfio_nvme(std::string name) = 0;
    /// As set_vhost_blk_rates().
    virtual Task<Result<void>> set_vfio_nvme_rates(std::string name, Rates rates) = 0;
    virtual Task<Result<VfioNvmeStatus>> vfio_nvme_status(std::string name) = 0;
    virtual Task<Result<block::DeviceStats>> vfio_nvme_stats(std::string name) = 0;

    virtual Task<Result<BenchmarkResult>> run_benchmark(BenchmarkSpec spec) = 0;

    /// Stops everything, front ends first. True: all has ended and the node may be destroyed.
    /// False: after `limit` something still held requests (a guest's I/O that waits for its path);
    /// then the process ends without destroying the node, as a crash would, and the guests' rings
    /// keep what was in flight. Call once.
    virtual Task<bool> stop(core::Nanos limit) = 0;
};

}  // namespace remora::node
