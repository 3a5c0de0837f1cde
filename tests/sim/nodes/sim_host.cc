// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/nodes/sim_host.h"

#include <memory>
#include <utility>

#include "tests/sim/world/objects.h"

namespace remora::sim {

SimHost::SimHost(
    World& world, Machine& machine, std::string name, HostDisks& disks, SimQemuOptions options)
    : world_(world),
      machine_(machine),
      name_(std::move(name)),
      disks_(disks),
      options_(std::move(options)),
      prng_(world.fork_prng()) {}

reactor::Handle SimHost::create_event() {
    return process_->handles().add(std::make_shared<EventCounter>());
}

void SimHost::start() {
    process_ = &world_.start_process(machine_, name_);
    Core& core = process_->add_core("main");
    HostWorld& world = *this;
    auto qemu = std::make_shared<SimQemu>(*core.reactor, world, prng_.fork(), options_);
    qemu_ = qemu.get();
    process_->program = qemu;
    process_->on_death = [this] { died(); };
    core.reactor->post_function([this] {
        if (const auto started = qemu_->start(); !started) {
            world_.violation("QEMU did not start: " + started.error().message);
        }
    });
    world_.start(*process_);
}

/// A daemon that has died lately has not opened its sockets again yet.
bool SimHost::served(const std::string& socket_path) {
    constexpr core::Nanos kLately = std::chrono::seconds(60);
    const reactor::Endpoint at = reactor::Endpoint::unix_path(socket_path);
    return world_.now() - machine_.last_upset < kLately || world_.network().listens(machine_, at);
}

void SimHost::set_faults(const QemuFaults& faults) {
    options_.faults = faults;
    run([this] { qemu_->set_faults(options_.faults); });
}

void SimHost::guest_moment(core::Prng& prng) {
    if (qemu_ == nullptr) {
        return;
    }
    for (HostileGuest* guest : qemu_->hostile_guests()) {
        if (guest->wants_mutation() && prng.below(8) == 0) {
            guest->mutate(prng);
        }
    }
}

void SimHost::died() {
    qemu_ = nullptr;
    if (on_death) {
        on_death();
    }
    if (restart_delay) {
        world_.events().after(restart_delay(), [this] { start(); });
    }
}

}  // namespace remora::sim
