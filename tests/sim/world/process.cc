// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/process.h"

#include <memory>
#include <utility>
#include <vector>

#include "tests/sim/world/sim_io.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

namespace {

/// What killed programs have left, for as long as this process lives: no leak, but no use either.
std::vector<std::shared_ptr<void>>& graveyard() {
    static auto* const graves = new std::vector<std::shared_ptr<void>>();
    return *graves;
}

}  // namespace

Core::Core() = default;
Core::~Core() = default;

Process::Process(World& world, Machine& machine, std::string name, core::Prng prng)
    : world_(world), machine_(machine), name_(std::move(name)), prng_(prng) {}

Process::~Process() {
    // A process is never taken apart: the world ends with its program.
    for (auto& core : cores_) {
        (void)core.release();
    }
}

Core& Process::add_core(const std::string& name) {
    auto core = std::make_unique<Core>();
    core->name = name_ + "/" + name;
    core->io = std::make_unique<SimIo>(*this, *core, prng_.fork());
    core->reactor =
        std::make_unique<reactor::Reactor>(static_cast<std::uint32_t>(cores_.size()), *core->io,
                                           machine_.clock, prng_.fork(), reactor::PollPolicy{});
    cores_.push_back(std::move(core));
    return *cores_.back();
}

void Process::step() {
    if (kill_in_ > 0 && !world_.faults().stopped() && world_.running() == this && --kill_in_ == 0) {
        world_.kill(*this);
    }
}

void Process::die(bool power_lost) {
    alive_ = false;
    kill_in_ = 0;
    for (const auto& core : cores_) {
        core->io->abandon(power_lost);
    }
    handles_.clear();
    // The program stays where it is, and nobody runs it: its destructors must not run.
    graveyard().push_back(std::exchange(program, nullptr));
}

}  // namespace remora::sim
