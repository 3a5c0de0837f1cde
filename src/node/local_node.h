// SPDX-License-Identifier: Apache-2.0
// LocalNode: the Node of this process: the composition root that ties back ends, the NVMe/TCP
// target, remote controllers and vhost-user disks together. Made, used and destroyed on the
// control reactor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "frontends/nvme_tcp/target.h"
#include "node/competitors.h"
#include "node/controller_limits.h"
#include "node/crypt_volumes.h"
#include "node/node.h"
#include "node/remotes.h"
#include "node/stacked_volumes.h"
#include "node/vfio_controllers.h"
#include "node/vhost_disks.h"
#include "node/volume_table.h"

namespace remora::node {

struct LocalNodeOptions {
    HostIdentity identity;                               ///< Of this node as an NVMe host.
    core::Nanos path_timeout{std::chrono::seconds(30)};  ///< A request's wait for a path.
    core::Nanos listen_limit{
        std::chrono::seconds(5)};  ///< For an address that is in use to free up.
    frontends::nvme_tcp::TargetLimits target;
    /// What volumes are encrypted by; none: they cannot be.
    std::optional<services::crypto::XtsKernel> crypt_kernel = services::crypto::best_kernel();
    /// What hand_over() of the process before this one gave.
    std::vector<FrozenFunction> frozen;
};

class LocalNode : public Node {
  public:
    LocalNode(std::span<const block::ReactorContext> reactors,
              reactor::Reactor& control,
              const LocalNodeOptions& options);

    Task<Result<VolumeInfo>> create_ram(RamSpec spec) override;
    Task<Result<VolumeInfo>> create_null(NullSpec spec) override;
    Task<Result<VolumeInfo>> create_file(FileSpec spec) override;
    Task<Result<VolumeInfo>> create_encrypted(EncryptedSpec spec) override;
    Task<Result<void>> rekey_volume(std::string name, RekeySpec spec) override;
    [[nodiscard]] std::optional<RekeyProgress> rekey_progress(
        const std::string& name) const override {
        return crypts_.rekey_progress(name);
    }
    Task<Result<VolumeInfo>> create_raid(RaidSpec spec) override;
    [[nodiscard]] std::optional<RaidStatus> raid_status(const std::string& name) const override {
        return stacked_.raid_status(name);
    }
    Task<Result<void>> add_raid_spare(std::string name, std::string volume) override;
    Task<Result<void>> replace_raid_member(std::string name,
                                           std::string member,
                                           std::string with) override;
    Task<Result<void>> remove_raid_member(std::string name, std::string member) override;
    void release_raid_members(const std::string& name) override {
        stacked_.release_raid_members(name);
    }
    void set_raid_rate(const std::string& name, std::uint64_t bytes_per_second) override {
        stacked_.set_raid_rate(name, bytes_per_second);
    }
    Result<void> scrub_raid(const std::string& name, bool on) override {
        return stacked_.scrub_raid(name, on);
    }
    Task<Result<VolumeInfo>> create_integrity(IntegritySpec spec) override;
    [[nodiscard]] std::optional<IntegrityStatus> integrity_status(
        const std::string& name) const override {
        return stacked_.integrity_status(name);
    }
    void set_integrity_scrub_rate(const std::string& name,
                                  std::uint64_t bytes_per_second) override {
        stacked_.set_integrity_scrub_rate(name, bytes_per_second);
    }
    Result<void> scrub_integrity(const std::string& name, bool on) override {
        return stacked_.scrub_integrity(name, on);
    }
    Task<Result<void>> delete_volume(std::string name) override;
    Task<Result<VolumeInfo>> grow_volume(std::string name, std::uint64_t block_count) override;
    [[nodiscard]] std::optional<VolumeInfo> find_volume(const std::string& name) const override;
    Task<Result<block::DeviceStats>> volume_stats(std::string name) override;
    Task<> set_volume_rates(std::string name, Rates rates) override;
    Task<> set_competition(Competition competition) override;
    Task<Result<void>> set_volume_faults(std::string name, FaultSettings settings) override;
    Task<Result<FaultCounts>> volume_fault_counts(std::string name) override;

    Task<Result<void>> create_subsystem(SubsystemSpec spec) override;
    Task<Result<void>> delete_subsystem(std::string nqn) override;
    Task<Result<Endpoint>> add_listener(std::string nqn, Endpoint at, AnaState state) override;
    Task<Result<void>> remove_listener(std::string nqn, Endpoint at) override;
    Task<Result<void>> set_ana_state(std::string nqn, Endpoint at, AnaState state) override;
    Task<Result<void>> set_controller_rates(std::string nqn, Endpoint at, Rates rates) override;
    Task<std::uint64_t> controller_throttled_ns(std::string nqn, Endpoint at) override;
    Task<Result<void>> set_referrals(std::vector<ReferralSpec> referrals) override;
    void set_reservation_keeper(nvme::ReservationKeeper& keeper) override {
        target_.set_reservation_keeper(&keeper);
    }
    void set_rekey_keeper(services::crypto::RekeyKeeper& keeper) override {
        crypts_.set_keeper(keeper);
    }
    void set_uncorrectable_keeper(nvme::UncorrectableKeeper& keeper) override {
        target_.set_uncorrectable_keeper(&keeper);
    }
    Task<Result<std::uint32_t>> add_namespace(NamespaceSpec spec) override;
    Task<Result<void>> remove_namespace(std::string nqn, std::uint32_t nsid) override;

    Task<Result<std::vector<DiscoveryEntry>>> discover(Endpoint endpoint,
                                                       std::string hostnqn,
                                                       core::Nanos limit) override;
    Task<Result<void>> create_remote(RemoteSpec spec) override;
    Task<Result<void>> wait_remote(std::string name, core::Nanos limit) override;
    Task<Result<void>> add_remote_path(std::string name, RemotePathSpec path) override;
    Task<Result<void>> wait_remote_path(std::string name,
                                        std::string path,
                                        core::Nanos limit) override;
    Task<Result<void>> remove_remote_path(std::string name, std::string path) override;
    Task<Result<void>> set_remote_policy(std::string name, PathPolicy policy) override;
    Result<void> set_remote_timings(const std::string& name,
                                    const ConnectionTimings& timings) override;
    Task<Result<void>> delete_remote(std::string name) override;
    Task<Result<void>> reset_remote(std::string name) override;
    [[nodiscard]] std::optional<RemoteStatus> remote_status(const std::string& name) const override;

    Task<Result<void>> create_vhost_blk(VhostBlkSpec spec) override;
    Task<Result<void>> delete_vhost_blk(std::string name) override;
    Task<Result<void>> set_vhost_blk_rates(std::string name, Rates rates) override;
    Task<Result<VhostBlkStatus>> vhost_blk_status(std::string name) override;
    Task<Result<block::DeviceStats>> vhost_blk_stats(std::string name) override;

    Task<Result<void>> create_vfio_nvme(VfioNvmeSpec spec) override;
    Task<Result<void>> delete_vfio_nvme(std::string name) override {
        return vfio_.remove(std::move(name));
    }
    Task<Result<void>> set_vfio_nvme_rates(std::string name, Rates rates) override {
        return vfio_.set_rates(std::move(name), rates);
    }
    Task<Result<VfioNvmeStatus>> vfio_nvme_status(std::string name) override {
        return vfio_.status(std::move(name));
    }
    Task<Result<block::DeviceStats>> vfio_nvme_stats(std::string name) override {
        return vfio_.stats(std::move(name));
    }

    Task<Result<BenchmarkResult>> run_benchmark(BenchmarkSpec spec) override;
    Task<bool> stop(core::Nanos limit) override;
    /// Ends everything but what a client would not get over, which is given to the process that
    /// takes this one's place. The node is not to be used any more, and not to be destroyed.
    Task<std::vector<FrozenFunction>> hand_over(core::Nanos limit);

  private:
    Task<> lift_faults();
    using NamespaceKey = std::pair<std::string, std::uint32_t>;  // subsystem NQN, nsid
    void release_namespace(const NamespaceKey& key);

    std::span<const block::ReactorContext> reactors_;
    LocalNodeOptions options_;
    Competitors competitors_;
    VolumeTable volumes_;
    CryptVolumes crypts_;
    StackedVolumes stacked_;
    Remotes remotes_;
    frontends::nvme_tcp::Target target_;
    ControllerLimits controllers_;
    VhostDisks vhost_;
    VfioControllers vfio_;
    std::map<NamespaceKey, NamespaceSpec> namespaces_;
    std::size_t next_benchmark_ = 0;
};

}  // namespace remora::node
