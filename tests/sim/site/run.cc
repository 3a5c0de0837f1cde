// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/site/run.h"

#include <algorithm>
#include <functional>
#include <memory>

#include "core/log.h"
#include "core/probe.h"
#include "tests/sim/site/chaos.h"
#include "tests/sim/site/client.h"
#include "tests/sim/site/site.h"

namespace remora::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How long things may take once nothing goes wrong any more, in simulated time. A call in progress
// may wait for another (60 s), a request for its path (30 s), a host for its guest (40 s).
constexpr Nanos kProvisionLimit{seconds(120)};
constexpr Nanos kConvergeLimit{seconds(300)};
// What had been started slowly (a connect of 12 s, a stall) comes to its end meanwhile, and paths
// are tried again.
constexpr Nanos kSettleTime{seconds(40)};
constexpr Nanos kDrainLimit{seconds(60)};
constexpr Nanos kVerifyLimit{seconds(120)};
constexpr Nanos kDetachLimit{seconds(200)};
// Over the path time-out: commands that others overtake count as lost after three I/O time-outs of
// 10 s; then there is a connect, and a guest that reboots or lets go.
constexpr Nanos kAnswerLimit{seconds(60)};
// A dead target's silence is noticed after an I/O time-out of 10 s, looked at now and then.
constexpr Nanos kNoticeLimit{seconds(15)};
constexpr Nanos kStopLimit{seconds(30)};
// What waits for a host that has not answered gives up within this time, and then can be stopped.
constexpr Nanos kQuietTime{seconds(45)};

void take_log(core::log::Level level, std::string_view line) {
    if (current_world() != nullptr) {
        current_world()->logged(level, line);
    }
}

#ifdef REMORA_PROBES
/// Code looks at a guest's memory, or is between two steps that must not be torn apart.
void take_moment() {
    Process* process = current_world() != nullptr ? current_world()->running() : nullptr;
    if (process == nullptr) {
        return;
    }
    if (process->guest_moment) {
        process->guest_moment();
    }
    process->step();
}

bool be_unlucky(const core::probe::Mark& mark) {
    constexpr std::uint64_t kOneIn = 10;
    const bool unlucky = current_world() != nullptr && current_world()->running() != nullptr &&
                         current_world()->faults().strikes(Fault::Unlucky, kOneIn);
    if (unlucky) {
        core::probe::cover(mark);
    }
    return unlucky;
}
#endif

class Run {
  public:
    Run(World& world, Plan plan, std::uint64_t seed)
        : world_(world),
          site_(*new Site(world, std::move(plan), seed)),
          client_(*new Client(site_)),
          chaos_(*new Chaos(site_)) {}

    void carry_out() {
        site_.start();
        client_.start();
        watch_ages();
        world_.run_until([this] { return client_.attached_all(); }, after(kProvisionLimit));
        chaos_.start();
        world_.run_until([] { return false; }, after(site_.plan().duration));
        site_.calm();
        client_.settle();
        world_.run_until([] { return false; }, after(kSettleTime));
        expect("everything to come up again", kConvergeLimit, [this] { return converged(); });
        each_disk([](GuestDisk& disk) { disk.quiesce(); });
        expect("all requests to be answered", kDrainLimit,
               [this] { return all_disks([](const GuestDisk& disk) { return disk.drained(); }); });
        site_.forbid_errors();
        each_disk([](GuestDisk& disk) { disk.verify_all(); });
        expect("every block to be read", kVerifyLimit,
               [this] { return all_disks([](const GuestDisk& disk) { return disk.verified(); }); });
        client_.detach_all();
        expect("every disk to be detached", kDetachLimit,
               [this] { return client_.detached_all() && no_disks(); });
        world_.run_until([] { return false; }, after(kQuietTime));
        stop();
        if (!world_.failed()) {
            for (Volume& volume : site_.volumes()) {
                volume.model->final_check();
            }
        }
    }

    [[nodiscard]] std::uint64_t operations() const {
        std::uint64_t sum = 0;
        for (const Volume& volume : site_.volumes()) {
            sum += volume.model->stats().begun;
        }
        return sum;
    }

  private:
    Nanos after(Nanos limit) { return world_.now() + limit; }
    void expect(const std::string& what, Nanos limit, const std::function<bool()>& done) {
        if (!world_.failed() && !world_.run_until(done, after(limit)) && !world_.failed()) {
            world_.violation("faults have stopped, and still waiting for " + what + " after " +
                             std::to_string(limit / seconds(1)) + " s: " + state());
        }
    }

    /// A request is answered, or it fails once it has waited for its path for as long as it may: no
    /// other end, and no third one. Deaths and leaps of its own machine start the count anew.
    void watch_ages() {
        if (world_.faults().drawn(Fault::Stall) || world_.faults().drawn(Fault::SmallPool)) {
            return;
        }
        world_.events().after(seconds(1), [this] {
            const Nanos limit = site_.plan().path_timeout + kAnswerLimit;
            for (const Client::Disk& disk : client_.disks()) {
                const Node& node = *site_.ipus()[disk.ipu];
                const bool judged = !disk.hostile && node.daemon->serving() &&
                                    world_.now() - node.machine->last_upset > limit;
                if (judged && oldest_request(disk) > limit) {
                    world_.violation("a request is neither answered nor failed in time: " +
                                     state());
                }
                judge_without_path(disk);
            }
            watch_ages();
        });
    }

    /// The same while the target is down. Once all that was sent before is known to be lost,
    /// nothing but the path time-out holds a request.
    void judge_without_path(const Client::Disk& disk) {
        const VolumePlan& volume = site_.volumes()[disk.volume].plan;
        const Node& ipu = *site_.ipus()[disk.ipu];
        const Faults& faults = world_.faults();
        if (volume.local || disk.hostile || !ipu.daemon->serving() || faults.drawn(Fault::Churn) ||
            faults.drawn(Fault::HostTrouble)) {
            return;
        }
        const Node& target = *site_.targets()[volume.target];
        const Nanos limit = site_.plan().path_timeout + seconds(2);
        Nanos since = std::max(target.machine->last_upset, ipu.machine->last_upset);
        // A ring that was stopped goes on when its last requests have ended, and they begin anew.
        for (const Fault fault : {Fault::DropVhost, Fault::Reboot, Fault::KillHost}) {
            if (faults.struck(fault) > 0) {
                since = std::max(since, faults.last_strike(fault) + site_.plan().path_timeout);
            }
        }
        if (!target.daemon->alive() && world_.now() - since > limit + kNoticeLimit &&
            oldest_request(disk) > limit) {
            world_.violation("a request waits on for a target that is down: " + state());
        }
    }

    [[nodiscard]] GuestDisk* disk_of(const Client::Disk& disk) const {
        SimQemu* qemu = site_.ipus()[disk.ipu]->host->qemu();
        if (qemu == nullptr) {
            return nullptr;
        }
        return qemu->disk_behind(Site::socket_directory() + "/" + client_.name_of(disk));
    }
    template <typename F>
    bool all_disks(F test) const {
        return std::ranges::all_of(client_.disks(), [&](const Client::Disk& disk) {
            if (disk.hostile) {
                return true;
            }
            const GuestDisk* guest = disk_of(disk);
            return guest != nullptr && test(*guest);
        });
    }
    template <typename F>
    void each_disk(F act) {
        for (const Client::Disk& disk : client_.disks()) {
            site_.ipus()[disk.ipu]->host->run([this, disk, act] {
                if (GuestDisk* guest = disk.hostile ? nullptr : disk_of(disk)) {
                    act(*guest);
                }
            });
        }
    }
    bool converged() {
        const auto serves = [](const auto& node) { return node->daemon->serving(); };
        const auto at_rest = [](const auto& node) {
            return node->host->qemu() != nullptr && node->host->qemu()->at_rest();
        };
        return std::ranges::all_of(site_.targets(), serves) &&
               std::ranges::all_of(site_.ipus(), serves) && client_.settled() &&
               std::ranges::all_of(site_.ipus(), at_rest) &&
               all_disks([](const GuestDisk& disk) { return disk.started(); }) &&
               std::ranges::all_of(client_.disks(), [this](const Client::Disk& disk) {
                   return disk.hostile || oldest_request(disk) < seconds(1);
               });
    }
    /// Its age by the clock of its own machine; 0 without one.
    [[nodiscard]] Nanos oldest_request(const Client::Disk& disk) const {
        const GuestDisk* guest = disk_of(disk);
        return guest == nullptr
                   ? Nanos{0}
                   : guest->oldest_request(site_.ipus()[disk.ipu]->machine->clock.now());
    }
    bool no_disks() {
        return std::ranges::all_of(site_.ipus(), [](const auto& node) {
            return node->host->qemu() != nullptr && node->host->qemu()->disks().empty();
        });
    }

    void stop() {
        if (world_.failed()) {
            return;
        }
        std::vector<Node*> nodes;
        for (const auto& node : site_.ipus()) {
            nodes.push_back(node.get());
        }
        for (const auto& node : site_.targets()) {
            nodes.push_back(node.get());
        }
        for (Node* node : nodes) {
            node->daemon->restart_delay = nullptr;
            node->daemon->stop_gently();
        }
        expect("every daemon to stop", kStopLimit, [&nodes] {
            return std::ranges::none_of(nodes, [](Node* node) { return node->daemon->alive(); });
        });
        for (Node* node : nodes) {
            if (!world_.failed() && !node->daemon->stopped_clean()) {
                world_.violation(node->daemon->spec().name +
                                 " could not stop though nothing was in its way");
            }
        }
    }

    std::string state() {
        std::string text;
        for (const auto* nodes : {&site_.targets(), &site_.ipus()}) {
            for (const auto& node : *nodes) {
                text += node->daemon->spec().name +
                        (node->daemon->serving() ? " serves; " : " does not serve; ");
            }
        }
        text += client_.settled() ? "the client is content; " : "the client still calls; ";
        for (const Client::Disk& disk : client_.disks()) {
            const GuestDisk* guest = disk_of(disk);
            text += "function " + disk.function.text() + " of ipu" + std::to_string(disk.ipu) +
                    (disk.hostile ? " (hostile)" : "");
            if (guest == nullptr) {
                text += ": no disk; ";
                continue;
            }
            text += (guest->started() ? ": started, " : ": not started, ") +
                    std::to_string(guest->counts().issued) + " issued, " +
                    std::to_string(guest->counts().completed) + " completed, oldest " +
                    std::to_string(oldest_request(disk) / milliseconds(1)) + " ms; ";
        }
        return text;
    }

    World& world_;
    Site& site_;
    Client& client_;
    Chaos& chaos_;
};

}  // namespace

RunResult run_seed(const RunOptions& options) {
    core::log::set_level(core::log::Level::Info);
    core::log::set_sink(&take_log);
#ifdef REMORA_PROBES
    core::probe::hooks.guest_moment = &take_moment;
    core::probe::hooks.unlucky = &be_unlucky;
#endif
    auto& world = *new World(options.seed);
    if (options.trace != nullptr) {
        world.trace().print_to(options.trace);
    }
    VfsFiles::seed_sqlite(static_cast<std::uint32_t>(options.seed | 1U));
    Plan plan = draw_plan(world.fork_prng(), options.focus, world.faults());
    for (const Fault fault : options.without) {
        world.faults().disable(fault);
    }
    RunResult result;
    result.focus = plan.focus;
    auto& run = *new Run(world, std::move(plan), options.seed);
    run.carry_out();
    result.failure = world.failure();
    result.trace_hash = world.trace().hash();
    result.events = world.events().ran();
    result.operations = run.operations();
    result.simulated = world.now();
    for (std::size_t i = 0; i < kFaultCount; ++i) {
        if (world.faults().struck(static_cast<Fault>(i)) > 0) {
            result.struck.push_back(static_cast<Fault>(i));
        }
    }
    return result;
}

}  // namespace remora::sim
