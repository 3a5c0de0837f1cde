// SPDX-License-Identifier: Apache-2.0
// World: one simulated universe on one thread: time, chance, machines, network, processes, and the
// loop that lets one reactor turn at a time. Everything it does follows from its seed.
#pragma once

#include <csetjmp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/log.h"
#include "core/prng.h"
#include "tests/sim/world/event_queue.h"
#include "tests/sim/world/faults.h"
#include "tests/sim/world/machine.h"
#include "tests/sim/world/network.h"
#include "tests/sim/world/process.h"
#include "tests/sim/world/trace.h"

namespace remora::sim {

class World {
  public:
    explicit World(std::uint64_t seed);
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    /// Ends with the program: abandoned processes are never freed.
    ~World();

    EventQueue& events() { return events_; }
    [[nodiscard]] Nanos now() const { return events_.now(); }
    Trace& trace() { return trace_; }
    Faults& faults() { return faults_; }
    Network& network() { return network_; }
    /// A generator for a new part of the world.
    core::Prng fork_prng() { return prng_.fork(); }
    std::uint64_t below(std::uint64_t bound) { return prng_.below(bound); }

    Machine& add_machine(const std::string& name, const std::string& address);
    Machine* machine_at(const std::string& address);
    [[nodiscard]] bool link_up(const Machine& a, const Machine& b) const {
        return network_.link_up(a, b);
    }

    Process& start_process(Machine& machine, const std::string& name);
    /// Between turns, or from within one of its own (then it does not return).
    void kill(Process& process, bool power_lost = false);
    /// Every process of it dies and its disk forgets.
    void cut_power(Machine& machine);

    /// Its clock leaps forward: what sleeps there looks at its timers anew.
    void leap(Machine& machine, Nanos by);

    /// Plans a turn of the reactor soon.
    void wake(Core& core);
    /// The first turn of a new core, after everything was put in place.
    void start(Process& process);

    /// Runs events until `done()`, or time is past `until`, or something was violated, or the
    /// event budget is spent. True when done.
    bool run_until(const std::function<bool()>& done, Nanos until);

    /// Fails the run. The first one is kept.
    void violation(const std::string& what);
    [[nodiscard]] const std::string& failure() const { return failure_; }
    [[nodiscard]] bool failed() const { return !failure_.empty(); }

    /// A log line of simulated code; `error` is a violation unless a fault explains it.
    void logged(core::log::Level level, std::string_view line);
    std::function<bool(std::string_view line)> explains_error;

    /// The process whose turn it is; null between turns.
    [[nodiscard]] Process* running() const { return running_; }
    void register_connection(Connection& connection) { network_.add(connection); }
    void unregister_connection(Connection& connection) { network_.remove(connection); }
    void set_event_budget(std::uint64_t events) { event_budget_ = events; }

  private:
    void turn(Process& process, Core& core, std::uint64_t wake_number);
    void settle(Process& process, Core& core, bool worked);
    void plan_turn(Process& process, Core& core, Nanos at);
    Process& owner_of(Core& core);

    core::Prng prng_;
    EventQueue events_;
    Trace trace_;
    Faults faults_;
    Network network_;
    std::vector<std::unique_ptr<Machine>> machines_;
    std::vector<std::unique_ptr<Process>> processes_;
    std::string failure_;
    std::uint64_t event_budget_ = 5'000'000;
    Process* running_ = nullptr;
    Core* turning_ = nullptr;
    bool worked_ = false;
    std::jmp_buf abandon_{};  // out of the turn of a process that dies in it
};

/// The world of this program, for the hooks of log and probes.
World*& current_world();

}  // namespace remora::sim
