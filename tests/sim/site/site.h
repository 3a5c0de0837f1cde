// SPDX-License-Identifier: Apache-2.0
// Site: the plan made real in a world: target machines, IPU machines with a host each, volumes with
// their models, and the network between them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/nodes/machine_files.h"
#include "tests/sim/nodes/sim_daemon.h"
#include "tests/sim/nodes/sim_host.h"
#include "tests/sim/oracle/block_model.h"
#include "tests/sim/oracle/sqlite_vfs.h"
#include "tests/sim/site/plan.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

/// A machine that runs a remorad.
struct Node {
    Machine* machine = nullptr;
    std::unique_ptr<MachineFiles> files;
    std::unique_ptr<VfsFiles> vfs;
    std::unique_ptr<SimDaemon> daemon;
    std::unique_ptr<SimHost> host;  ///< An IPU's.
    std::string nqn;                ///< A target's.
};

struct Volume {
    VolumePlan plan;
    std::unique_ptr<BlockModel> model;
    int attached_ipu = -1;  ///< Where the client has it now, or may have it.
};

class Site final : public HostDisks {
  public:
    Site(World& world, Plan plan, std::uint64_t seed);
    Site(const Site&) = delete;
    Site& operator=(const Site&) = delete;

    World& world() { return world_; }
    [[nodiscard]] const Plan& plan() const { return plan_; }
    std::vector<std::unique_ptr<Node>>& targets() { return targets_; }
    std::vector<std::unique_ptr<Node>>& ipus() { return ipus_; }
    std::vector<Volume>& volumes() { return volumes_; }
    void start();

    /// No more faults, everything that is down comes up: from now on nothing may fail.
    void calm();
    /// Errors on purpose may strike from now on; or surely none any more.
    void errors_injected(bool begin);
    /// From now on guests see no errors any more.
    void forbid_errors() { errors_forbidden_ = true; }

    void kill_target(std::size_t target);
    void cut_power(std::size_t target);
    void kill_ipu(std::size_t ipu);
    void kill_host(std::size_t ipu);

    static constexpr std::uint16_t kPort = 4420;
    static std::string socket_directory() { return "/run/remora"; }

  private:
    VolumeOracle* oracle_for(const std::string& socket_path) override;
    WorkloadOptions workload_for(const std::string& socket_path) override;
    bool errors_allowed(Nanos age) override;
    Volume* volume_of(const std::string& socket_path);
    void add_target(std::size_t index);
    void add_ipu(std::size_t index);
    void add_daemon(Node& node, DaemonSpec spec);
    std::unique_ptr<Sniffer> make_checker(const Connection& connection);
    bool explains(std::string_view line);
    void target_died(std::size_t index);
    void host_died(std::size_t index);

    World& world_;
    Plan plan_;
    std::uint64_t seed_;
    core::Prng prng_;
    std::vector<std::unique_ptr<Node>> targets_;
    std::vector<std::unique_ptr<Node>> ipus_;
    std::vector<Volume> volumes_;
    bool errors_forbidden_ = false;
    std::size_t injections_ = 0;  ///< That fail requests now.
    core::Nanos last_injection_ = core::Nanos::min();
};

}  // namespace remora::sim
