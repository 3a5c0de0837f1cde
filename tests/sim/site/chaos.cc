// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/site/chaos.h"

namespace remora::sim {

namespace {

using std::chrono::milliseconds;

}  // namespace

template <typename F>
void Chaos::plan(Fault fault, std::uint64_t most, F strike) {
    // Drawn whether it is on or not, so that switching one kind off leaves the others in place.
    World& world = site_.world();
    const std::uint64_t times = 1 + prng_.below(most);
    for (std::uint64_t i = 0; i < times; ++i) {
        const auto within = static_cast<std::uint64_t>(site_.plan().duration.count());
        const Nanos after{static_cast<std::int64_t>(prng_.below(within))};
        world.events().after(after, [&world, fault, strike] {
            if (world.faults().strikes(fault, 1)) {
                strike();
            }
        });
    }
}

void Chaos::partition() {
    World& world = site_.world();
    Faults& faults = world.faults();
    Machine& a = *site_.targets()[faults.pick(Fault::Partition, site_.targets().size())]->machine;
    Machine& b = *site_.ipus()[faults.pick(Fault::Partition, site_.ipus().size())]->machine;
    world.trace().note("link down", a.name);
    world.network().take_down(a, b);
    // Short ones are ridden out, long ones outlive every timeout.
    const std::uint64_t most = faults.pick(Fault::Partition, 4) == 0 ? 60'000 : 3000;
    world.events().after(milliseconds(faults.pick(Fault::Partition, most)), [&world, &a, &b] {
        world.trace().note("link up", a.name);
        world.network().bring_up(a, b);
    });
}

void Chaos::plan_host_faults() {
    Site* site = &site_;
    Faults* faults = &site_.world().faults();
    plan(Fault::KillHost, 2,
         [=] { site->kill_host(faults->pick(Fault::KillHost, site->ipus().size())); });
    plan(Fault::Reboot, 2, [=] {
        SimHost& host = *site->ipus()[faults->pick(Fault::Reboot, site->ipus().size())]->host;
        host.run([&host] { host.qemu()->reboot_guest(); });
    });
    plan(Fault::DropVhost, 6, [=] {
        SimHost& host = *site->ipus()[faults->pick(Fault::DropVhost, site->ipus().size())]->host;
        const bool drop = faults->pick(Fault::DropVhost, 2) == 0;
        const std::uint64_t which = faults->pick(Fault::DropVhost, 16);
        host.run([&host, drop, which] {
            const auto disks = host.qemu()->disks();
            VhostMaster* master =
                disks.empty() ? nullptr
                              : host.qemu()->master_behind(disks[which % disks.size()]->path());
            if (master != nullptr) {
                drop ? master->drop_connection() : master->share_memory_again();
            }
        });
    });
}

void Chaos::start() {
    Site* site = &site_;
    Faults* faults = &site_.world().faults();
    const auto target = [site, faults](Fault fault) {
        return faults->pick(fault, site->targets().size());
    };
    const auto ipu = [site, faults](Fault fault) {
        return faults->pick(fault, site->ipus().size());
    };
    plan(Fault::PowerLoss, 3, [=] { site->cut_power(target(Fault::PowerLoss)); });
    plan(Fault::KillTarget, 3, [=] { site->kill_target(target(Fault::KillTarget)); });
    plan(Fault::KillIpu, 4, [=] { site->kill_ipu(ipu(Fault::KillIpu)); });
    plan(Fault::Stop, 3, [=] {
        const bool at_ipu = faults->pick(Fault::Stop, 2) == 0;
        (at_ipu ? *site->ipus()[ipu(Fault::Stop)] : *site->targets()[target(Fault::Stop)])
            .daemon->stop_gently();
    });
    plan_host_faults();
    plan(Fault::Partition, 3, [this] { partition(); });
    plan(Fault::KillInCall, 6, [=] {
        // Somewhere in what it does next: in a commit, between two sends, half through a plug.
        const bool at_ipu = faults->pick(Fault::KillInCall, 3) != 0;
        Node& node = at_ipu ? *site->ipus()[ipu(Fault::KillInCall)]
                            : *site->targets()[target(Fault::KillInCall)];
        if (node.daemon->alive()) {
            node.daemon->process()->kill_in(1 + faults->pick(Fault::KillInCall, 300));
        }
    });
    plan(Fault::ClockJump, 3, [=] {
        const bool at_ipu = faults->pick(Fault::ClockJump, 2) == 0;
        Machine& machine = at_ipu ? *site->ipus()[ipu(Fault::ClockJump)]->machine
                                  : *site->targets()[target(Fault::ClockJump)]->machine;
        const std::uint64_t most = faults->pick(Fault::ClockJump, 2) == 0 ? 3'600'000 : 3000;
        site->world().leap(machine, milliseconds(faults->pick(Fault::ClockJump, most)));
    });
}

}  // namespace remora::sim
