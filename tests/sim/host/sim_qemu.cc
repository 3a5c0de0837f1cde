// SPDX-License-Identifier: Apache-2.0
// The process: life and death, the monitor's commands in order, and the guest. What the commands
// do is in sim_qemu_commands.cc.
#include "tests/sim/host/sim_qemu.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "reactor/call.h"

namespace remora::sim {

using reactor::Nanos;
using reactor::Task;

namespace {

constexpr Nanos kDrainStep = std::chrono::milliseconds(20);
constexpr Nanos kNextLetsGo = std::chrono::milliseconds(60);

}  // namespace

SimQemu::SimQemu(reactor::Reactor& reactor,
                 HostWorld& world,
                 core::Prng prng,
                 SimQemuOptions options)
    : reactor_(reactor),
      world_(world),
      prng_(prng),
      options_(std::move(options)),
      qmp_(reactor, prng_.fork()) {
    qmp_.set_drops(options_.faults.drop);
}

SimQemu::~SimQemu() {
    CHECK(devices_.empty() && chardevs_.empty());
}

core::Result<void> SimQemu::start() {
    if (auto listening =
            qmp_.listen(options_.monitor_path, options_.version_major, options_.version_minor);
        !listening) {
        return listening;
    }
    gate_.spawn([](SimQemu* self) -> Task<> { co_await self->serve(); }, this);
    return {};
}

Task<> SimQemu::stop() {
    stopping_ = true;
    qmp_.close();
    for (auto& [id, chardev] : chardevs_) {
        if (chardev.master != nullptr) {
            co_await chardev.master->close();
        }
    }
    co_await gate_.close();
    for (auto& [id, chardev] : chardevs_) {
        if (chardev.master != nullptr) {
            co_await chardev.master->detach();
        }
    }
    for (auto& [id, device] : devices_) {
        if (device.hostile != nullptr) {
            co_await device.hostile->stop();
        }
    }
    devices_.clear();
    chardevs_.clear();
}

void SimQemu::set_faults(const QemuFaults& faults) {
    options_.faults = faults;
    qmp_.set_drops(faults.drop);
}

Nanos SimQemu::up_to(Nanos most) {
    return Nanos(
        static_cast<Nanos::rep>(prng_.below(static_cast<std::uint64_t>(most.count()) + 1)));
}

Task<> SimQemu::pause(Nanos most) {
    co_await reactor::sleep_for(up_to(most));
}

// One command after the other, as QEMU's main loop has it.
Task<> SimQemu::serve() {
    while (!stopping_) {
        const auto command = co_await qmp_.next();
        if (!command) {
            break;
        }
        co_await pause(options_.command_most);
        if (hits(options_.faults.refuse)) {
            world_.trace("command refused", command->connection, 0);
            qmp_.error(*command, "GenericError", "refused for no reason");
            continue;
        }
        const Outcome outcome = co_await execute(*command);
        if (hits(options_.faults.mute)) {
            world_.trace("answer muted", command->connection, 0);
            continue;
        }
        if (hits(options_.faults.late)) {
            co_await pause(options_.faults.late_most);
        }
        if (outcome.error.empty()) {
            qmp_.answer(*command, outcome.value);
        } else {
            qmp_.error(*command, outcome.kind, outcome.error);
        }
    }
}

std::vector<GuestDisk*> SimQemu::disks() const {
    std::vector<GuestDisk*> disks;
    for (const auto& [id, device] : devices_) {
        if (device.disk != nullptr) {
            disks.push_back(device.disk.get());
        }
    }
    return disks;
}

std::vector<HostileGuest*> SimQemu::hostile_guests() const {
    std::vector<HostileGuest*> guests;
    for (const auto& [id, device] : devices_) {
        if (device.hostile != nullptr) {
            guests.push_back(device.hostile.get());
        }
    }
    return guests;
}

GuestDisk* SimQemu::disk_behind(const std::string& socket_path) const {
    for (GuestDisk* disk : disks()) {
        if (disk->path() == socket_path) {
            return disk;
        }
    }
    return nullptr;
}

SimQemu::Device* SimQemu::find(const std::string& id, std::uint64_t serial) {
    const auto found = devices_.find(id);
    return found != devices_.end() && found->second.serial == serial ? &found->second : nullptr;
}

// The guest finds the device and its driver starts it.
Task<> SimQemu::probe(std::string id, std::uint64_t serial) {
    co_await pause(options_.guest_most);
    Device* device = find(id, serial);
    if (device == nullptr || device->leaving || stopping_) {
        co_return;
    }
    if (device->hostile != nullptr) {
        device->hostile->start();
    } else {
        chardevs_.at(device->chardev).master->start();
    }
}

VhostMaster* SimQemu::master_behind(const std::string& socket_path) const {
    for (const auto& [id, chardev] : chardevs_) {
        if (chardev.path == socket_path && !chardev.user.empty()) {
            return chardev.master.get();
        }
    }
    return nullptr;
}

bool SimQemu::at_rest() const {
    return std::ranges::none_of(
        devices_, [](const auto& entry) { return entry.second.leaving || entry.second.rebooting; });
}

void SimQemu::reboot_guest() {
    for (auto& [id, device] : devices_) {
        if (device.disk != nullptr && !device.rebooting && device.disk->started()) {
            device.rebooting = true;
            gate_.spawn(
                [](SimQemu* self, std::string name, std::uint64_t serial) -> Task<> {
                    co_await self->reboot(std::move(name), serial);
                },
                this, id, device.serial);
        }
    }
}

// QEMU's reset: the rings stop, the in-flight memory goes, and the driver begins again.
Task<> SimQemu::reboot(std::string id, std::uint64_t serial) {
    VhostMaster& master = *chardevs_.at(find(id, serial)->chardev).master;
    co_await master.stop(reactor_.now() + options_.master.answer);
    Device* device = find(id, serial);
    if (device == nullptr || stopping_) {
        co_return;
    }
    if (master.state() == VhostMaster::State::Running) {
        device->rebooting = false;  // It did not stop in time, and goes on.
        master.start();
        co_return;
    }
    world_.trace("guest reboots", serial, device->disk->counts().issued);
    master.forget_rings();
    device->disk->reboot();
    device->rebooting = false;
    co_await probe(std::move(id), serial);
}

Task<> SimQemu::wait_and_eject(std::string id, std::uint64_t serial, Nanos after) {
    const Nanos at = reactor_.now() + after;
    while (reactor_.now() < at && !stopping_) {
        co_await reactor::sleep_for(std::min<Nanos>(at - reactor_.now(), std::chrono::seconds(1)));
    }
    if (!stopping_) {
        co_await let_go(std::move(id), serial, false);
    }
}

// The guest's answer to a request to unplug, or its own idea.
Task<> SimQemu::let_go(std::string id, std::uint64_t serial, bool asked) {
    co_await pause(options_.guest_most);
    Device* device = find(id, serial);
    if (device == nullptr || device->leaving || stopping_ ||
        (!asked && options_.faults.ejected == 0)) {
        co_return;
    }
    if (asked && device->refusals > 0) {
        --device->refusals;
        // ACPI hot-plug tells of a refusal; on PCIe the guest just does nothing.
        if (prng_.below(2) == 0) {
            device->unplug_until = Nanos{0};
            qmp_.event("DEVICE_UNPLUG_GUEST_ERROR",
                       {{"device", id}, {"path", "/machine/peripheral/" + id}});
        }
        co_return;
    }
    world_.trace("guest lets go", serial, asked ? 1 : 0);
    device->leaving = true;
    if (!asked && prng_.below(2) == 0) {
        let_go_of_others(serial);
    }
    if (device->disk != nullptr) {
        // The guest's kernel waits for what is in flight, however long that takes.
        device->disk->quiesce();
        while (!device->disk->drained() && !stopping_) {
            co_await reactor::sleep_for(kDrainStep);
            device = find(id, serial);
            CHECK(device != nullptr);
        }
    }
    if (!stopping_) {
        co_await remove(std::move(id), serial);
    }
}

// A guest that unbinds its disks does it to one after the other.
void SimQemu::let_go_of_others(std::uint64_t serial) {
    for (const auto& [id, device] : devices_) {
        const bool runs = device.disk != nullptr && device.disk->started();
        if (device.serial != serial && runs && !device.leaving) {
            gate_.spawn(
                [](SimQemu* self, std::string name, std::uint64_t number, Nanos after) -> Task<> {
                    co_await self->wait_and_eject(std::move(name), number, after);
                },
                this, id, device.serial, up_to(kNextLetsGo));
        }
    }
}

Task<> SimQemu::remove(std::string id, std::uint64_t serial) {
    const std::string chardev = find(id, serial)->chardev;
    if (find(id, serial)->hostile != nullptr) {
        co_await find(id, serial)->hostile->stop();
    } else {
        VhostMaster& master = *chardevs_.at(chardev).master;
        co_await master.stop(reactor_.now() + options_.master.answer);
        co_await master.detach();
    }
    if (stopping_) {
        co_return;
    }
    devices_.erase(id);
    chardevs_.at(chardev).user.clear();
    chardevs_.at(chardev).busy_until = reactor_.now() + up_to(options_.chardev_most);
    const std::string path = "/machine/peripheral/" + id;
    qmp_.event("DEVICE_DELETED", {{"path", path + "/virtio-backend"}});
    qmp_.event("DEVICE_DELETED", {{"device", id}, {"path", path}});
}

}  // namespace remora::sim
