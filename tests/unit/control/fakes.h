// SPDX-License-Identifier: Apache-2.0
// The control plane's surroundings, in memory: data plane, and a network with targets. Every
// step that has an effect goes through Steps.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "node/node.h"
#include "reactor/call.h"
#include "tests/unit/control/fake_layers.h"
#include "tests/unit/control/memory_store.h"
#include "tests/unit/control/steps.h"

namespace remora::test {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;

/// The world outside: targets that can be reached, by "address:port", and files.
struct Network {
    struct Space {
        std::uint32_t nsid = 1;
        core::Uuid uuid;
    };
    struct Subsystem {
        std::string nqn;
        std::vector<Space> spaces;
    };
    std::map<std::string, std::vector<Subsystem>> targets;
    FakeLayers::Marks marks;                     ///< What arrays and checksums left on volumes.
    std::map<std::string, std::uint64_t> files;  ///< This host's, by path: their bytes.
    std::vector<std::string> also_at;  ///< Where every discovery log says its subsystems are, too.

    [[nodiscard]] const Subsystem* find(const std::string& where, const std::string& nqn) const;
};

class FakeNode final : public FakeLayers {
  public:
    FakeNode(Network& network, Steps& steps);
    ~FakeNode() override;

    std::map<std::string, node::SubsystemSpec> subsystems;
    std::set<std::string> listeners;                   ///< "nqn address:port"
    std::map<std::string, node::AnaState> ana_states;  ///< The same.
    std::vector<node::ReferralSpec> referrals;
    std::map<std::pair<std::string, std::uint32_t>, node::NamespaceSpec> namespaces;
    std::map<std::string, node::RemoteSpec> remotes;
    std::map<std::string, node::VhostBlkSpec> vhosts;
    std::map<std::string, node::Rates> controller_rates;  ///< "nqn address:port"; none: no limit.
    std::uint16_t next_port = 40000;
    nvme::ReservationKeeper* keeper = nullptr;
    nvme::UncorrectableKeeper* mark_keeper = nullptr;
    bool refuses_vhosts = false;
    bool front_ends_connected = true;
    int places_taken = 0;  ///< So many times a place to listen at is somebody else's still.
    bool remotes_are_busy = false;  ///< delete_remote says that something reads a volume.

    Task<Result<node::VolumeInfo>> create_ram(node::RamSpec spec) override;
    Task<Result<node::VolumeInfo>> create_null(node::NullSpec spec) override;
    Task<Result<node::VolumeInfo>> create_file(node::FileSpec spec) override;
    Task<Result<void>> delete_volume(std::string name) override;
    Task<Result<node::VolumeInfo>> grow_volume(std::string name, std::uint64_t blocks) override;
    [[nodiscard]] std::optional<node::VolumeInfo> find_volume(
        const std::string& name) const override;
    Task<Result<block::DeviceStats>> volume_stats(std::string name) override;
    Task<Result<void>> set_controller_rates(std::string nqn,
                                            reactor::Endpoint at,
                                            node::Rates rates) override;
    Task<std::uint64_t> controller_throttled_ns(std::string /*nqn*/,
                                                reactor::Endpoint /*at*/) override;
    Task<Result<void>> create_subsystem(node::SubsystemSpec spec) override;
    Task<Result<void>> delete_subsystem(std::string nqn) override;
    Task<Result<reactor::Endpoint>> add_listener(std::string nqn,
                                                 reactor::Endpoint at,
                                                 node::AnaState state) override;
    Task<Result<void>> set_ana_state(std::string nqn,
                                     reactor::Endpoint at,
                                     node::AnaState state) override;
    Task<Result<void>> set_referrals(std::vector<node::ReferralSpec> specs) override;
    Task<Result<void>> remove_listener(std::string nqn, reactor::Endpoint at) override;
    void set_reservation_keeper(nvme::ReservationKeeper& to) override { keeper = &to; }
    void set_uncorrectable_keeper(nvme::UncorrectableKeeper& to) override { mark_keeper = &to; }
    Task<Result<std::uint32_t>> add_namespace(node::NamespaceSpec spec) override;
    Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid) override;

    Task<Result<std::vector<node::DiscoveryEntry>>> discover(reactor::Endpoint endpoint,
                                                             std::string /*hostnqn*/,
                                                             core::Nanos /*limit*/) override;
    void show(const node::RemoteSpec& spec, const node::RemotePathSpec& path);
    Task<Result<void>> create_remote(node::RemoteSpec spec) override;
    /// The test's: the network was away when the remote controller was made, and is there now.
    void show_remote(const std::string& name);
    Task<Result<void>> add_remote_path(std::string name, node::RemotePathSpec path) override;
    Task<Result<void>> wait_remote_path(std::string name,
                                        std::string path,
                                        core::Nanos /*limit*/) override;
    Task<Result<void>> remove_remote_path(std::string name, std::string path) override;
    Task<Result<void>> set_remote_policy(std::string name, node::PathPolicy policy) override;
    Result<void> set_remote_timings(const std::string& name,
                                    const node::ConnectionTimings& timings) override;
    Task<Result<void>> wait_remote(std::string name, core::Nanos /*limit*/) override;
    Task<Result<void>> delete_remote(std::string name) override;
    Task<Result<void>> reset_remote(std::string name) override;
    [[nodiscard]] std::optional<node::RemoteStatus> remote_status(
        const std::string& name) const override;

    static void add_space(const std::string& remote,
                          std::uint32_t nsid,
                          const core::Uuid& uuid,
                          node::RemoteStatus& status,
                          node::RemotePathStatus& path);

    Task<Result<void>> create_vhost_blk(node::VhostBlkSpec spec) override;
    Task<Result<void>> delete_vhost_blk(std::string name) override;
    Task<Result<void>> set_vhost_blk_rates(std::string name, node::Rates rates) override;
    Task<Result<node::VhostBlkStatus>> vhost_blk_status(std::string name) override;
    Task<Result<block::DeviceStats>> vhost_blk_stats(std::string name) override;
    Task<Result<node::BenchmarkResult>> run_benchmark(node::BenchmarkSpec spec) override;
    Task<bool> stop(core::Nanos /*limit*/) override;

    /// What there is, to be compared with what there was.
    [[nodiscard]] std::string everything() const;

  private:
    static block::Geometry geometry(std::uint32_t block_size, std::uint64_t block_count);
    Result<void> take_place(const std::string& place);
    static Result<void> missing(const std::string& name);
    Result<node::VolumeInfo> add_volume(const std::string& name,
                                        const core::Uuid& uuid,
                                        std::uint32_t block_size,
                                        std::uint64_t block_count);

    Network& network_;
    std::map<std::string, std::string> file_of_;  // volume -> path
    Steps& steps_;
};

}  // namespace remora::test
