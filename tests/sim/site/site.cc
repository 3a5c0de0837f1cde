// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/site/site.h"

#include <algorithm>
#include <utility>

#include "tests/sim/oracle/nvme_tcp_checker.h"

namespace remora::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::int64_t kUnixStartMs = 1'700'000'000'000;
constexpr const char* kFunctions = "br1:1-4";
constexpr const char* kVirtualFunctions = "0=br1:5-8";

/// The protocol checker of one connection.
class CheckedConnection final : public Sniffer {
  public:
    CheckedConnection(World& world,
                      const Connection& connection,
                      std::uint32_t in_capsule,
                      bool on_time,
                      bool hostile)
        : checker_(
              options(connection, in_capsule, on_time, hostile),
              [&world] { return world.now(); },
              [&world](const std::string& what) { world.violation(what); }) {}

    void on_bytes(std::size_t from_side, std::span<const std::byte> bytes) override {
        if (from_side == 0) {
            checker_.host_to_target(bytes);
        } else {
            checker_.target_to_host(bytes);
        }
    }
    void on_flip(std::size_t from_side) override {
        checker_.corrupted(from_side == 0 ? NvmeTcpChecker::Direction::HostToTarget
                                          : NvmeTcpChecker::Direction::TargetToHost);
    }
    void on_closed() override { checker_.closed(); }

  private:
    static CheckerOptions options(const Connection& connection,
                                  std::uint32_t in_capsule,
                                  bool on_time,
                                  bool hostile) {
        CheckerOptions options;
        options.name = connection.options().names[0] + " to " + connection.options().names[1] +
                       ", connection " + std::to_string(connection.options().id);
        options.io_in_capsule = in_capsule;
        options.stable_host_data = !hostile;
        options.keep_alive_times = 1;
        options.keep_alive_slack = on_time ? Nanos(seconds(1)) : core::kNever;
        return options;
    }
    NvmeTcpChecker checker_;
};

}  // namespace

Site::Site(World& world, Plan plan, std::uint64_t seed)
    : world_(world), plan_(std::move(plan)), seed_(seed), prng_(world.fork_prng()) {
    world_.network().tcp_window = plan_.tcp_window;
    world_.network().make_sniffer = [this](const Connection& connection) {
        return make_checker(connection);
    };
    world_.explains_error = [this](std::string_view line) { return explains(line); };
    for (std::size_t i = 0; i < plan_.target_reactors.size(); ++i) {
        add_target(i);
    }
    for (std::size_t i = 0; i < plan_.ipu_reactors.size(); ++i) {
        add_ipu(i);
    }
    for (std::size_t i = 0; i < plan_.volumes.size(); ++i) {
        const VolumePlan& volume = plan_.volumes[i];
        Node& home = volume.local ? *ipus_[volume.target] : *targets_[volume.target];
        home.machine->disk.set_atom("/disk/" + volume.id, volume.block_size);
        for (std::size_t k = 0; k < volume.lowers(); ++k) {
            home.machine->disk.set_atom("/disk/" + volume.lower(k), volume.block_size);
        }
        BlockModelOptions options;
        options.volume_id = i + 1;
        options.seed = seed_;
        options.block_size = volume.block_size;
        options.blocks = volume.blocks;
        options.unwritten_is_noise = volume.form == Form::Encrypted;
        options.late_landing = plan_.path_timeout + seconds(10);
        volumes_.push_back({volume,
                            std::make_unique<BlockModel>(
                                options, [this] { return world_.now(); },
                                [this, id = volume.id](const std::string& what) {
                                    world_.violation("volume " + id + ": " + what);
                                }),
                            -1});
    }
}

std::unique_ptr<Sniffer> Site::make_checker(const Connection& connection) {
    // A clock that leaps, a reactor that does not run or a slow network make it late by right.
    const Faults& faults = world_.faults();
    const bool on_time = std::ranges::none_of(
        std::array{Fault::ClockJump, Fault::Stall, Fault::Delay, Fault::Partition},
        [&](Fault fault) { return faults.drawn(fault); });
    return std::make_unique<CheckedConnection>(world_, connection, plan_.target.in_capsule_bytes,
                                               on_time, faults.drawn(Fault::HostileGuest));
}

void Site::add_daemon(Node& node, DaemonSpec spec) {
    node.files = std::make_unique<MachineFiles>(world_, *node.machine);
    node.vfs = std::make_unique<VfsFiles>(spec.name, *node.files, world_.fork_prng(), [this] {
        return kUnixStartMs + world_.now() / milliseconds(1);
    });
    spec.vfs = node.vfs->name();
    spec.socket_directory = socket_directory();
    spec.tuning = plan_.tuning;
    spec.target = plan_.target;
    spec.path_timeout = plan_.path_timeout;
    spec.pool_left = plan_.pool_left;
    node.daemon = std::make_unique<SimDaemon>(world_, *node.machine, std::move(spec));
    node.machine->clock.set_rate(plan_.clock_permille == 0
                                     ? 0
                                     : static_cast<std::int64_t>(prng_.below(
                                           static_cast<std::uint64_t>(plan_.clock_permille) * 2)) -
                                           plan_.clock_permille);
    node.daemon->restart_delay = [this] {
        // Mostly soon; now and then only after the other side has noticed, or has given up.
        switch (world_.faults().stopped() ? 0 : prng_.below(20)) {
            case 1:
            case 2:
                return core::Nanos(seconds(1 + prng_.below(8)));
            case 3:
                return plan_.path_timeout + seconds(prng_.below(40));
            default:
                return core::Nanos(milliseconds(1 + prng_.below(1000)));
        }
    };
}

void Site::add_target(std::size_t index) {
    auto node = std::make_unique<Node>();
    const std::string number = std::to_string(index);
    node->machine = &world_.add_machine("target" + number, "10.0.0." + std::to_string(index + 1));
    node->nqn = "nqn.2024-01.org.example:t" + number;
    DaemonSpec spec;
    spec.name = "target" + number;
    spec.reactors = plan_.target_reactors[index];
    add_daemon(*node, std::move(spec));
    node->daemon->on_death = [this, index] { target_died(index); };
    targets_.push_back(std::move(node));
}

void Site::add_ipu(std::size_t index) {
    auto node = std::make_unique<Node>();
    const std::string number = std::to_string(index);
    node->machine = &world_.add_machine("ipu" + number, "10.0.1." + std::to_string(index + 1));
    SimQemuOptions options;
    options.monitor_path = "/run/qmp";
    options.faults = plan_.qemu_faults;
    node->host = std::make_unique<SimHost>(world_, *node->machine, "qemu" + number, *this, options);
    node->host->on_death = [this, index] { host_died(index); };
    node->host->restart_delay = [this] { return core::Nanos(milliseconds(prng_.below(3000))); };
    DaemonSpec spec;
    spec.name = "ipu" + number;
    spec.reactors = plan_.ipu_reactors[index];
    spec.qmp_path = options.monitor_path;
    spec.functions = kFunctions;
    spec.virtual_functions = kVirtualFunctions;
    add_daemon(*node, std::move(spec));
    node->daemon->on_death = [vfs = node->vfs.get()] { vfs->crash(); };
    node->daemon->guest_moment = [this, host = node->host.get()] { host->guest_moment(prng_); };
    ipus_.push_back(std::move(node));
}

void Site::start() {
    for (const auto& node : targets_) {
        node->daemon->start();
    }
    for (const auto& node : ipus_) {
        node->host->start();
        node->daemon->start();
    }
}

void Site::target_died(std::size_t index) {
    targets_[index]->vfs->crash();
    for (Volume& volume : volumes_) {
        if (volume.plan.local || volume.plan.target != index) {
            continue;
        }
        if (!volume.plan.file) {
            volume.model->wiped();
        } else {
            volume.model->process_crash();
        }
    }
}

void Site::host_died(std::size_t index) {
    for (Volume& volume : volumes_) {
        if (volume.attached_ipu == static_cast<int>(index)) {
            volume.model->host_crash();
        }
    }
}

void Site::kill_target(std::size_t target) {
    SimDaemon& daemon = *targets_[target]->daemon;
    if (daemon.alive()) {
        world_.kill(*daemon.process());
    }
}

void Site::cut_power(std::size_t target) {
    world_.cut_power(*targets_[target]->machine);
    for (Volume& volume : volumes_) {
        if (!volume.plan.local && volume.plan.target == target && volume.plan.file) {
            volume.model->power_loss();
        }
    }
}

void Site::kill_ipu(std::size_t ipu) {
    SimDaemon& daemon = *ipus_[ipu]->daemon;
    if (daemon.alive()) {
        world_.kill(*daemon.process());
    }
}

void Site::kill_host(std::size_t ipu) {
    if (ipus_[ipu]->host->alive()) {
        world_.kill(*ipus_[ipu]->host->process());
    }
}

void Site::calm() {
    world_.faults().stop();
    for (const auto& target : targets_) {
        for (const auto& ipu : ipus_) {
            world_.network().bring_up(*target->machine, *ipu->machine);
        }
    }
    for (const auto& ipu : ipus_) {
        ipu->host->set_faults({});
    }
}

Volume* Site::volume_of(const std::string& socket_path) {
    // .../attached-FUNCTION-FIRST8, or local-FUNCTION-FIRST8: the volume's UUID begins so.
    const std::string first = socket_path.substr(socket_path.rfind('-') + 1);
    const auto found = std::ranges::find_if(volumes_, [&](const Volume& volume) {
        return volume.plan.uuid.text().substr(0, first.size()) == first;
    });
    return found == volumes_.end() ? nullptr : &*found;
}

VolumeOracle* Site::oracle_for(const std::string& socket_path) {
    Volume* volume = volume_of(socket_path);
    if (volume == nullptr) {
        world_.violation("a host was given a disk of no volume: " + socket_path);
        return nullptr;
    }
    return volume->model.get();
}

WorkloadOptions Site::workload_for(const std::string& socket_path) {
    WorkloadOptions work = plan_.workload;
    const Volume* volume = volume_of(socket_path);
    for (const DiskPlan& disk : plan_.disks) {
        if (disk.hostile && volume == &volumes_[disk.volume]) {
            work.hostile = ~std::uint32_t{0};
        }
    }
    return work;
}

void Site::errors_injected(bool begin) {
    injections_ = begin ? injections_ + 1 : injections_ - 1;
    last_injection_ = world_.now();
}

bool Site::errors_allowed(Nanos age) {
    if (errors_forbidden_) {
        return false;
    }
    // A path was away for as long as a request may wait: by the clock of the host's own machine, so
    // that its leaps count; another machine's may differ by a tenth.
    if (age >= plan_.path_timeout * 8 / 10) {
        return true;
    }
    // Or a disk said so, while the request was under way; or before, and a piece whose key was
    // being changed is refused until that has been tried again (services/crypto/rekey.h).
    const bool rekeys = world_.faults().drawn(Fault::Rekey);
    const Nanos began = world_.now() - age - (rekeys ? seconds(8) : seconds(1));
    if (injections_ > 0 || last_injection_ >= began) {
        return true;
    }
    return std::ranges::any_of(
        std::array{Fault::DiskError, Fault::DiskFull, Fault::FlushError},
        [&](Fault fault) { return world_.faults().last_strike(fault) >= began; });
}

bool Site::explains(std::string_view /*line*/) {
    const Faults& faults = world_.faults();
    return faults.struck(Fault::DiskError) + faults.struck(Fault::DiskFull) +
               faults.struck(Fault::FlushError) >
           0;
}

}  // namespace remora::sim
