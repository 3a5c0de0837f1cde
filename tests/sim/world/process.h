// SPDX-License-Identifier: Apache-2.0
// Process: a simulated program: reactors of its own on one machine, a table of handles, and what it
// has asked of the world. Killed, it is abandoned as it stands: its objects are never run or freed
// again, and the world takes back its sockets, files and memory, as a kernel would.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/prng.h"
#include "reactor/reactor.h"
#include "tests/sim/world/machine.h"
#include "tests/sim/world/objects.h"

namespace remora::sim {

class SimIo;
class World;

/// A reactor and its place in the world's time.
struct Core {
    Core();
    ~Core();
    std::unique_ptr<SimIo> io;
    std::unique_ptr<reactor::Reactor> reactor;
    bool asleep = false;
    std::uint64_t wake_number = 0;  ///< Turns that were planned for an earlier state are void.
    std::uint32_t idle_turns = 0;
    std::string name;
};

class Process {
  public:
    Process(World& world, Machine& machine, std::string name, core::Prng prng);
    ~Process();
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;

    /// Before the first turn. Ids count from 0.
    Core& add_core(const std::string& name);

    [[nodiscard]] bool alive() const { return alive_; }
    [[nodiscard]] const std::string& name() const { return name_; }
    Machine& machine() { return machine_; }
    World& world() { return world_; }
    HandleTable& handles() { return handles_; }
    std::vector<std::unique_ptr<Core>>& cores() { return cores_; }

    /// Is killed at the `calls`-th call of its Io from now.
    void kill_in(std::uint64_t calls) { kill_in_ = calls; }
    /// Every call of Io passes here; does not return when the process dies of it.
    void step();
    /// The world's part of a death: everything it holds goes. Nothing of it runs afterwards.
    void die(bool power_lost);
    /// Told of the death, by whoever started it.
    std::function<void()> on_death;
    /// A hostile peer's chance to change shared memory between two looks of this process at it.
    std::function<void()> guest_moment;
    /// It has rings: what it listened on may outlive it by a little (Fault::Linger).
    bool has_rings = false;
    /// What the program keeps: released, never destroyed, when it dies.
    std::shared_ptr<void> program;

  private:
    World& world_;
    Machine& machine_;
    std::string name_;
    core::Prng prng_;
    HandleTable handles_;
    std::vector<std::unique_ptr<Core>> cores_;
    bool alive_ = true;
    std::uint64_t kill_in_ = 0;
};

}  // namespace remora::sim
