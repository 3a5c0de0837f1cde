// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/world.h"

#include <algorithm>
#include <array>
#include <utility>

#include "tests/sim/world/sim_io.h"

namespace remora::sim {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::uint64_t kStallOneIn = 3000;
constexpr std::uint64_t kEarlyWakeOneIn = 20;
constexpr std::uint32_t kMostIdleTurns = 2;

}  // namespace

World*& current_world() {
    static World* world = nullptr;
    return world;
}

World::World(std::uint64_t seed)
    : prng_(seed), trace_(events_.now()), faults_(prng_.fork(), events_.now()), network_(*this) {
    current_world() = this;
}

World::~World() {
    current_world() = nullptr;
}

Machine& World::add_machine(const std::string& name, const std::string& address) {
    machines_.push_back(std::make_unique<Machine>(name, address, events_.now()));
    return *machines_.back();
}

Machine* World::machine_at(const std::string& address) {
    const auto found =
        std::ranges::find_if(machines_, [&](const auto& one) { return one->address == address; });
    return found == machines_.end() ? nullptr : found->get();
}

Process& World::start_process(Machine& machine, const std::string& name) {
    processes_.push_back(std::make_unique<Process>(*this, machine, name, fork_prng()));
    trace_.note("started", name, processes_.size());
    machine.last_upset = now();
    return *processes_.back();
}

void World::start(Process& process) {
    for (const auto& core : process.cores()) {
        plan_turn(process, *core, now() + Nanos{below(5000)});
    }
}

Process& World::owner_of(Core& core) {
    return core.io->process();
}

void World::wake(Core& core) {
    if (&core == turning_ || !core.asleep) {
        return;  // looks again by itself before it sleeps
    }
    // One wake is enough until it has turned.
    core.asleep = false;
    plan_turn(owner_of(core), core, now() + Nanos{200 + below(4000)});
}

void World::plan_turn(Process& process, Core& core, Nanos at) {
    const std::uint64_t number = ++core.wake_number;
    events_.at(at, [this, &process, &core, number] { turn(process, core, number); });
}

void World::turn(Process& process, Core& core, std::uint64_t wake_number) {
    if (!process.alive() || core.wake_number != wake_number) {
        return;
    }
    if (faults_.strikes(Fault::Stall, kStallOneIn)) {
        const Nanos stall = milliseconds(faults_.pick(Fault::Stall, 3000));
        trace_.note("stall", core.name, static_cast<std::uint64_t>(stall.count()));
        plan_turn(process, core, now() + stall);
        return;
    }
    if (core.asleep) {
        core.asleep = false;
    }
    running_ = &process;
    turning_ = &core;
    if (setjmp(abandon_) == 0) {
        core.reactor->end_sleep();
        worked_ = core.reactor->turn();
        settle(process, core, worked_);
        running_ = nullptr;
        turning_ = nullptr;
    }
    // Else the process died in the middle: kill() has cleared everything.
}

void World::settle(Process& process, Core& core, bool worked) {
    Nanos cost = Nanos{300 + below(3000)};
    core.idle_turns = worked ? 0 : core.idle_turns + 1;
    const bool busy = worked || core.reactor->has_queued_work() || core.io->has_ready();
    if (busy || core.idle_turns < kMostIdleTurns) {
        plan_turn(process, core, now() + cost);
        return;
    }
    // Between its last look and its wish to be told, others act: that is where wake-ups are lost.
    const auto fall_asleep = [this, &process, &core, number = ++core.wake_number] {
        if (!process.alive() || core.wake_number != number) {
            return;
        }
        const Nanos soon = now() + Nanos{300 + below(3000)};
        if (core.reactor->has_queued_work() || core.io->has_ready() ||
            !core.reactor->begin_sleep()) {
            plan_turn(process, core, soon);
            return;
        }
        core.asleep = true;
        Nanos at = process.machine().clock.world_at(core.reactor->next_deadline());
        if (at == core::kNever) {
            return;
        }
        if (faults_.strikes(Fault::EarlyWake, kEarlyWakeOneIn)) {
            at = now() + (at - now()) / 2;
        }
        plan_turn(process, core, std::max(at, soon));
    };
    events_.at(now() + cost, fall_asleep);
}

void World::kill(Process& process, bool power_lost) {
    if (!process.alive()) {
        return;
    }
    trace_.note(power_lost ? "power lost" : "killed", process.name());
    process.machine().last_upset = now();
    process.die(power_lost);
    if (process.on_death) {
        events_.after(Nanos{0}, [&process] { process.on_death(); });
    }
    if (running_ == &process) {
        running_ = nullptr;
        turning_ = nullptr;
        std::longjmp(abandon_, 1);  // its stack is abandoned with it
    }
}

void World::cut_power(Machine& machine) {
    for (const auto& process : processes_) {
        if (process->alive() && &process->machine() == &machine) {
            kill(*process, true);
        }
    }
    core::Prng prng = fork_prng();
    machine.disk.power_loss(prng);
}

void World::leap(Machine& machine, Nanos by) {
    trace_.note("clock leaps", machine.name, static_cast<std::uint64_t>(by.count()));
    machine.clock.leap(by);
    machine.last_upset = now();
    for (const auto& process : processes_) {
        if (process->alive() && &process->machine() == &machine) {
            for (const auto& core : process->cores()) {
                wake(*core);
            }
        }
    }
}

bool World::run_until(const std::function<bool()>& done, Nanos until) {
    while (!failed()) {
        if (done()) {
            return true;
        }
        if (events_.next() > until) {
            return false;
        }
        if (events_.ran() >= event_budget_) {
            violation("the run needs more events than its budget: something spins");
            return false;
        }
        events_.run_one();
    }
    return false;
}

void World::violation(const std::string& what) {
    if (failure_.empty()) {
        failure_ = what;
        trace_.note("VIOLATION", what);
    }
}

namespace {

/// Whether a Keep Alive may come late, or not at all.
bool late_by_right(const Faults& faults) {
    constexpr std::array kCauses{Fault::ClockJump, Fault::Stall,      Fault::Delay,
                                 Fault::Partition, Fault::HalfClose,  Fault::BitFlip,
                                 Fault::PowerLoss, Fault::SlowConnect};
    return std::ranges::any_of(kCauses, [&](Fault fault) { return faults.drawn(fault); });
}

/// Whether the line says that a peer broke the rules: peers here are Remora's own, and QEMU's.
bool accuses_peer(std::string_view line) {
    constexpr std::array<std::string_view, 4> kWords{"broke the protocol", "malformed PDU",
                                                     "no JSON object", "makes no sense"};
    return std::ranges::any_of(kWords, [line](std::string_view words) {
        return line.find(words) != std::string_view::npos;
    });
}

}  // namespace

void World::logged(core::log::Level level, std::string_view line) {
    trace_.note(line, running_ != nullptr ? running_->name() : "world",
                static_cast<std::uint64_t>(level));
    if (accuses_peer(line) && faults_.struck(Fault::BitFlip) == 0) {
        violation("a peer is accused that did no wrong: " + std::string(line));
    }
    if (line.find("keep alive") != std::string_view::npos && !late_by_right(faults_)) {
        violation("a host that lives was taken for dead: " + std::string(line));
    }
    if (level == core::log::Level::Error && !(explains_error && explains_error(line))) {
        violation("an error was logged that no fault explains: " + std::string(line));
    }
}

}  // namespace remora::sim
