// SPDX-License-Identifier: Apache-2.0
// The monitor's commands, with QEMU's own refusals.
#include <algorithm>
#include <charconv>
#include <utility>

#include "core/check.h"
#include "tests/sim/host/sim_qemu.h"

namespace remora::sim {

using Json = QmpServer::Json;
using reactor::Nanos;
using reactor::Task;

namespace {

/// QEMU takes a second request to unplug only after so long.
constexpr Nanos kAskAgain = std::chrono::seconds(5);

std::string text(const Json& object, const char* key) {
    const auto found = object.is_object() ? object.find(key) : object.end();
    return object.is_object() && found != object.end() && found->is_string()
               ? found->get<std::string>()
               : std::string();
}

std::string unix_path(const Json& arguments) {
    const Json& data = arguments.value("backend", Json::object()).value("data", Json::object());
    const Json address = data.value("addr", Json::object());
    return text(address, "type") == "unix" ? text(address.value("data", Json::object()), "path")
                                           : std::string();
}

unsigned slot_of(const Json& arguments) {
    const std::string place = text(arguments, "addr");
    unsigned slot = 0;
    std::from_chars(place.data(), place.data() + place.size(), slot, 16);
    return slot;
}

}  // namespace

Task<SimQemu::Outcome> SimQemu::execute(const Command& command) {
    const Json& arguments = command.arguments;
    if (!arguments.is_object()) {
        co_return failed("QMP input member 'arguments' must be an object");
    }
    if (command.name == "chardev-add") {
        co_return add_chardev(arguments);
    }
    if (command.name == "chardev-remove") {
        co_return co_await remove_chardev(text(arguments, "id"));
    }
    if (command.name == "device_add") {
        co_return co_await add_device(arguments);
    }
    if (command.name == "device_del") {
        co_return delete_device(text(arguments, "id"));
    }
    if (command.name == "qom-list") {
        co_return list_objects(text(arguments, "path"));
    }
    if (command.name == "qom-get") {
        co_return get_property(text(arguments, "path"), text(arguments, "property"));
    }
    if (command.name == "query-chardev") {
        co_return query_chardevs();
    }
    if (command.name == "query-pci") {
        co_return query_pci();
    }
    co_return failed("The command " + command.name + " has not been found", "CommandNotFound");
}

SimQemu::Outcome SimQemu::add_chardev(const Json& arguments) {
    const std::string id = text(arguments, "id");
    const std::string path = unix_path(arguments);
    if (id.empty() || path.empty()) {
        return failed("Parameter 'backend' is missing or is no client of a unix socket");
    }
    if (chardevs_.contains(id)) {
        return failed("Chardev with id '" + id + "' already exists");
    }
    Chardev& chardev = chardevs_[id];
    chardev.path = path;
    if (world_.workload_for(path).hostile == 0) {
        chardev.master = std::make_unique<VhostMaster>(reactor_, world_, path, options_.master);
        chardev.master->open();
    }
    return {};
}

Task<SimQemu::Outcome> SimQemu::remove_chardev(std::string id) {
    const auto found = chardevs_.find(id);
    if (found == chardevs_.end()) {
        co_return failed("Chardev '" + id + "' not found");
    }
    if (!found->second.user.empty() || reactor_.now() < found->second.busy_until) {
        co_return failed("Chardev '" + id + "' is busy");
    }
    if (found->second.master != nullptr) {
        co_await found->second.master->close();  // Commands run one by one: it is still there.
    }
    if (!stopping_) {
        chardevs_.erase(id);
    }
    co_return Outcome{};
}

/// Why QEMU would not even begin to make the device; no error when it would.
SimQemu::Outcome SimQemu::refuse_device(const Json& arguments) const {
    const std::string id = text(arguments, "id");
    const std::string bus = text(arguments, "bus");
    if (text(arguments, "driver") != "vhost-user-blk-pci") {
        return failed("'" + text(arguments, "driver") + "' is not a valid device model name");
    }
    if (devices_.contains(id)) {
        return failed("Duplicate device ID '" + id + "'");
    }
    if (!options_.buses.empty() && std::ranges::find(options_.buses, bus) == options_.buses.end()) {
        return failed("Bus '" + bus + "' not found", "DeviceNotFound");
    }
    const unsigned slot = slot_of(arguments);
    for (const auto& [other, device] : devices_) {
        if (device.bus == bus && device.slot == slot) {
            return failed("PCI: slot " + std::to_string(slot) +
                          " function 0 not available for vhost-user-blk-pci, in use by " +
                          "vhost-user-blk-pci,id=" + other);
        }
    }
    const std::string chardev = text(arguments, "chardev");
    const auto found = chardevs_.find(chardev);
    if (found == chardevs_.end()) {
        return failed("Property 'vhost-user-blk.chardev' can't find value '" + chardev + "'");
    }
    if (!found->second.user.empty() || reactor_.now() < found->second.busy_until) {
        return failed("Property 'vhost-user-blk.chardev' can't take value '" + chardev +
                      "', it's in use");
    }
    return {};
}

Task<SimQemu::Outcome> SimQemu::add_device(Json arguments) {
    if (Outcome refused = refuse_device(arguments); !refused.error.empty()) {
        co_return refused;
    }
    const std::string id = text(arguments, "id");
    const auto chardev = chardevs_.find(text(arguments, "chardev"));
    const std::string path = chardev->second.path;
    if (!world_.served(path)) {
        world_.violation(path + " is plugged in and nobody serves it: QEMU stops the guest");
    }
    WorkloadOptions workload = world_.workload_for(path);
    workload.queues = std::min(workload.queues, arguments.value("num-queues", std::uint16_t{1}));
    Device& device = devices_[id];
    device.serial = next_serial_++;
    device.chardev = chardev->first;
    device.bus = text(arguments, "bus");
    device.slot = slot_of(arguments);
    if (hits(options_.faults.unplug_refused)) {
        device.refusals =
            static_cast<std::uint32_t>(1 + prng_.below(options_.faults.unplug_refusals));
    }
    chardev->second.user = id;
    if (workload.hostile != 0) {
        device.hostile =
            std::make_unique<HostileGuest>(reactor_, world_, path, workload, prng_.fork());
    } else {
        device.disk = std::make_unique<GuestDisk>(reactor_, world_, path, workload, prng_.fork());
    }
    const std::uint64_t serial = device.serial;
    // Until it is realized nobody but this command takes the device away.
    Outcome outcome = co_await realize(id, device);
    if (outcome.error.empty() && !stopping_) {
        gate_.spawn(
            [](SimQemu* self, std::string name, std::uint64_t number) -> Task<> {
                co_await self->probe(std::move(name), number);
            },
            this, id, serial);
        if (hits(options_.faults.ejected)) {
            gate_.spawn(
                [](SimQemu* self, std::string name, std::uint64_t number, Nanos after) -> Task<> {
                    co_await self->wait_and_eject(std::move(name), number, after);
                },
                this, id, serial, up_to(options_.faults.ejected_within));
        }
    }
    co_return outcome;
}

Task<SimQemu::Outcome> SimQemu::realize(std::string id, Device& device) {
    if (device.hostile != nullptr) {
        co_return Outcome{};
    }
    const std::string chardev = device.chardev;
    VhostMaster& master = *chardevs_.at(chardev).master;
    master.attach(*device.disk);
    const bool realized = co_await master.realize(reactor_.now() + options_.realize_limit);
    if (realized || stopping_) {
        co_return Outcome{};
    }
    co_await master.detach();
    if (!stopping_) {
        devices_.erase(id);
        chardevs_.at(chardev).user.clear();
    }
    co_return failed("Failed to initialize vhost-user-blk: the back end does not answer");
}

SimQemu::Outcome SimQemu::delete_device(const std::string& id) {
    const auto found = devices_.find(id);
    if (found == devices_.end()) {
        return failed("Device '" + id + "' not found", "DeviceNotFound");
    }
    Device& device = found->second;
    if (reactor_.now() < device.unplug_until || device.leaving) {
        return failed("Device " + id + " is already in the process of unplug");
    }
    device.unplug_until = reactor_.now() + kAskAgain;
    gate_.spawn(
        [](SimQemu* self, std::string name, std::uint64_t serial) -> Task<> {
            co_await self->let_go(std::move(name), serial, true);
        },
        this, id, device.serial);
    return {};
}

SimQemu::Outcome SimQemu::list_objects(const std::string& path) const {
    if (path != "/machine/peripheral") {
        return failed("Device '" + path + "' not found", "DeviceNotFound");
    }
    Json list = Json::array({{{"name", "type"}, {"type", "string"}}});
    for (const auto& [id, device] : devices_) {
        list.push_back({{"name", id}, {"type", "child<vhost-user-blk-pci>"}});
    }
    return done(std::move(list));
}

SimQemu::Outcome SimQemu::get_property(const std::string& path, const std::string& property) const {
    const std::string prefix = "/chardevs/";
    const auto found =
        path.starts_with(prefix) ? chardevs_.find(path.substr(prefix.size())) : chardevs_.end();
    if (found == chardevs_.end()) {
        return failed("Device '" + path + "' not found", "DeviceNotFound");
    }
    if (property != "addr") {
        return failed("Property 'chardev-socket." + property + "' not found");
    }
    return done({{"type", "unix"}, {"path", found->second.path}});
}

SimQemu::Outcome SimQemu::query_chardevs() const {
    Json list = Json::array();
    for (const auto& [id, chardev] : chardevs_) {
        // A connected client's socket has no name of its own.
        const bool connected = chardev.master == nullptr || chardev.master->connected();
        list.push_back({{"label", id},
                        {"filename", connected ? "unix:" : "disconnected:unix:" + chardev.path},
                        {"frontend-open", !chardev.user.empty()}});
    }
    return done(std::move(list));
}

SimQemu::Outcome SimQemu::query_pci() const {
    std::map<std::string, Json> behind;
    for (const auto& [id, device] : devices_) {
        behind.try_emplace(device.bus, Json::array());
    }
    std::map<std::string, unsigned> numbers;
    for (const auto& [bus, devices] : behind) {
        const auto at = std::ranges::find(options_.buses, bus);
        const auto known = static_cast<unsigned>(at - options_.buses.begin());
        numbers[bus] =
            at != options_.buses.end() ? 1 + known : static_cast<unsigned>(1 + numbers.size());
    }
    for (const auto& [id, device] : devices_) {
        behind.at(device.bus)
            .push_back({{"qdev_id", id},
                        {"bus", numbers.at(device.bus)},
                        {"slot", device.slot},
                        {"function", 0}});
    }
    Json bridges = Json::array();
    for (auto& [bus, devices] : behind) {
        bridges.push_back({{"qdev_id", bus},
                           {"bus", 0},
                           {"slot", numbers.at(bus)},
                           {"function", 0},
                           {"pci_bridge", {{"devices", std::move(devices)}}}});
    }
    return done(Json::array({{{"bus", 0}, {"devices", std::move(bridges)}}}));
}

}  // namespace remora::sim
