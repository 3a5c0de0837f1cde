// SPDX-License-Identifier: Apache-2.0
#include "platform/qemu_platform.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "core/log.h"
#include "platform/qmp_answers.h"
#include "reactor/call.h"
#include "reactor/reactor.h"

namespace remora::platform {

using core::ErrorKind;
using core::fail;
using core::Nanos;
using core::Result;
using reactor::Reactor;
using reactor::Task;

namespace {

constexpr Nanos kAddressStep = std::chrono::milliseconds(20);
constexpr Nanos kSocketBusyStep = std::chrono::milliseconds(50);
constexpr int kSocketBusyTries = 20;

/// From 9.2 on the reconnect interval is given in milliseconds; the older name is going away.
constexpr QmpVersion kReconnectMilliseconds{9, 2};
/// The first with vfio-user-pci.
constexpr QmpVersion kVfioUser{10, 1};

Nanos now() {
    return Reactor::current().now();
}

std::string hex(std::uint32_t slot) {
    std::array<char, 12> text{};
    std::snprintf(text.data(), text.size(), "%x", slot);
    return text.data();
}

}  // namespace

QemuPlatform::QemuPlatform(reactor::Endpoint monitor, FunctionPlaces places, QemuLimits limits)
    : monitor_(std::move(monitor)), places_(std::move(places)), limits_(limits) {}

QemuPlatform::~QemuPlatform() = default;

FunctionCounts QemuPlatform::function_counts() const {
    return count(places_);
}

std::string QemuPlatform::trouble() const {
    if (client_ != nullptr) {
        return client_->why_closed();
    }
    return connect_error_;
}

std::uint64_t QemuPlatform::generation() const {
    return generation_ + (client_ != nullptr ? client_->departures() : 0);
}

Task<Result<QemuPlatform::Client>> QemuPlatform::connected() {
    // One caller connects, the others wait for its outcome.
    while (connecting_) {
        reactor::Signal done;
        waiting_for_connect_.push_back(&done);
        co_await done.wait_until(core::kNever);  // The connecting caller has a deadline.
    }
    absent_ = false;  // until this try has seen it
    if (stopped_) {
        co_return fail(ErrorKind::Unavailable, "the daemon is stopping");
    }
    if (client_ != nullptr && client_->is_open()) {
        co_return client_;
    }
    connecting_ = true;
    generation_ = generation() + 1;
    client_.reset();
    auto client = std::make_shared<QmpClient>();
    const auto opened = co_await client->open(monitor_, now() + limits_.connect);
    connecting_ = false;
    for (reactor::Signal* waiting : std::exchange(waiting_for_connect_, {})) {
        waiting->notify();
    }
    if (!opened) {
        connect_error_ = opened.error().message;
        // A process that lives listens; what takes too long, or is not ours to see, tells nothing.
        absent_ = monitor_.family == reactor::Endpoint::Family::Unix && !client->reached() &&
                  (opened.error().kind == ErrorKind::NotFound ||
                   opened.error().kind == ErrorKind::Unavailable);
        co_return fail(ErrorKind::Unavailable, connect_error_);
    }
    client_ = client;
    connect_error_.clear();
    log::info("monitor connected", log::kv("endpoint", monitor_.text()),
              log::kv("qemu", std::to_string(client->version().major) + "." +
                                  std::to_string(client->version().minor)));
    co_return client;
}

Task<Result<QemuPlatform::Json>> QemuPlatform::run(Client client,
                                                   std::string command,
                                                   Json arguments) {
    co_return co_await client->execute(std::move(command), std::move(arguments),
                                       now() + limits_.command);
}

/// Ids of our devices at the function.
Task<Result<std::vector<std::string>>> QemuPlatform::devices_at(Client client,
                                                                core::HostFunction function) {
    const auto list = co_await run(client, "qom-list", Json{{"path", "/machine/peripheral"}});
    if (!list) {
        co_return std::unexpected(list.error());
    }
    std::vector<std::string> ids = our_devices(*list);
    std::erase_if(ids,
                  [&](const std::string& id) { return parse_device_id(id)->function != function; });
    co_return ids;
}

Task<Result<bool>> QemuPlatform::has_device(Client client, std::string id) {
    const auto ids = co_await devices_at(client, parse_device_id(id)->function);
    if (!ids) {
        co_return std::unexpected(ids.error());
    }
    co_return std::ranges::find(*ids, id) != ids->end();
}

/// The path of the socket a device of ours is behind; empty when it has none. query-chardev does
/// not tell once it is connected, the object's own address does.
Task<Result<std::string>> QemuPlatform::socket_behind(Client client, std::string id) {
    const auto address =
        co_await run(client, "qom-get", Json{{"path", "/chardevs/" + id}, {"property", "addr"}});
    if (!address && address.error().kind == ErrorKind::NotFound) {
        co_return std::string();
    }
    if (!address) {
        co_return std::unexpected(address.error());
    }
    co_return socket_path_of(*address);
}

/// Whether the device is there and behind that socket. What else of ours is at the function is a
/// stray (of a state directory that is gone, or of a call that never heard of its end) and is taken
/// away first.
Task<Result<bool>> QemuPlatform::has_right_device(Client client, PlugRequest request) {
    const auto ids = co_await devices_at(client, request.function);
    if (!ids) {
        co_return std::unexpected(ids.error());
    }
    bool right = false;
    for (const std::string& id : *ids) {
        bool wanted = id == device_id(request);
        if (wanted && request.kind == DeviceKind::VirtioBlk) {
            const auto path = co_await socket_behind(client, id);
            if (!path) {
                co_return std::unexpected(path.error());
            }
            wanted = *path == request.socket_path;
        }
        if (!wanted) {
            if (auto removed = co_await remove_device(client, id); !removed) {
                co_return std::unexpected(removed.error());
            }
        }
        right = right || wanted;
    }
    co_return right;
}

Task<Result<void>> QemuPlatform::add_socket(Client client,
                                            std::string id,
                                            std::string socket_path) {
    Json data{{"addr", {{"type", "unix"}, {"data", {{"path", socket_path}}}}}, {"server", false}};
    if (client->version() >= kReconnectMilliseconds) {
        data["reconnect-ms"] = 1000;
    } else {
        data["reconnect"] = 1;
    }
    const Json arguments{{"id", id}, {"backend", {{"type", "socket"}, {"data", data}}}};
    auto added = co_await run(client, "chardev-add", arguments);
    if (!added && added.error().kind == ErrorKind::FailedPrecondition) {
        // One may be left from a time when the device could not be made; it is ours by its name.
        if (co_await remove_socket(client, id)) {
            added = co_await run(client, "chardev-add", arguments);
        }
    }
    if (!added) {
        co_return fail("adding the socket " + socket_path, added.error());
    }
    co_return Result<void>();
}

Task<Result<void>> QemuPlatform::remove_socket(Client client, std::string id) {
    for (int attempt = 0; attempt < kSocketBusyTries; ++attempt) {
        const auto chardevs = co_await run(client, "query-chardev", Json::object());
        if (!chardevs) {
            co_return std::unexpected(chardevs.error());
        }
        bool there = false;
        for (const std::string& ours : our_chardevs(*chardevs)) {
            there = there || ours == id;
        }
        if (!there) {
            co_return Result<void>();
        }
        const auto removed = co_await run(client, "chardev-remove", Json{{"id", id}});
        if (removed) {
            co_return Result<void>();
        }
        if (removed.error().kind != ErrorKind::FailedPrecondition) {
            co_return std::unexpected(removed.error());
        }
        // Busy: QEMU lets go of it shortly after the device has gone.
        co_await reactor::sleep_for(kSocketBusyStep);
    }
    co_return fail(ErrorKind::FailedPrecondition,
                   "QEMU does not let go of the character device " + id);
}

Task<Result<std::string>> QemuPlatform::await_address(Client client, std::string id) {
    const Nanos deadline = now() + limits_.address;
    for (;;) {
        const auto answer = co_await run(client, "query-pci", Json::object());
        if (!answer) {
            co_return std::unexpected(answer.error());
        }
        std::string address = pci_address(*answer, id);
        if (!address.empty() || now() >= deadline) {
            co_return address;
        }
        co_await reactor::sleep_for(kAddressStep);
    }
}

Task<Result<std::string>> QemuPlatform::plug(PlugRequest request) {
    if (!places_.contains(request.function)) {
        co_return fail(ErrorKind::ResourceExhausted,
                       "host function " + request.function.text() +
                           " has no place in the virtual machine; it has " +
                           std::to_string(places_.size()) + " places");
    }
    const auto client = co_await connected();
    if (!client) {
        co_return std::unexpected(client.error());
    }
    const std::string id = device_id(request);
    const auto right = co_await has_right_device(*client, request);
    if (!right) {
        co_return std::unexpected(right.error());
    }
    if (*right) {
        co_return co_await await_address(*client, id);
    }
    if (request.kind == DeviceKind::VirtioBlk) {
        auto socket = co_await add_socket(*client, id, request.socket_path);
        if (!socket) {
            co_return std::unexpected(socket.error());
        }
    }
    const auto added = co_await run(*client, "device_add", device_of(request));
    if (!added) {
        co_return co_await take_back(*client, request, added.error());
    }
    // From here on it is plugged, whatever becomes of the question where.
    const auto address = co_await await_address(*client, id);
    co_return address.value_or("");
}

/// What device_add is told.
QemuPlatform::Json QemuPlatform::device_of(const PlugRequest& request) const {
    const PciPlace& place = places_.at(request.function);
    const std::string id = device_id(request);
    Json device{{"id", id}, {"bus", place.bus}, {"addr", hex(place.slot)}};
    if (request.kind == DeviceKind::Nvme) {
        device["driver"] = "vfio-user-pci";
        device["socket"] = {{"type", "unix"}, {"path", request.socket_path}};
    } else {
        device["driver"] = "vhost-user-blk-pci";
        device["chardev"] = id;
        device["num-queues"] = request.queues;
    }
    return device;
}

/// Undoes a device_add that failed or whose end is unknown. Returns the error to give.
Task<Result<std::string>> QemuPlatform::take_back(Client client,
                                                  PlugRequest request,
                                                  core::Error why) {
    const PciPlace place = places_.at(request.function);
    const std::string what = "plugging function " + request.function.text() + " into bus " +
                             place.bus + " slot " + std::to_string(place.slot);
    if (request.kind == DeviceKind::Nvme && client->version() < kVfioUser) {
        why.message += "; NVMe functions need QEMU 10.1 or later (vfio-user-pci)";
    }
    if (why.kind == ErrorKind::DeadlineExceeded || why.kind == ErrorKind::Unavailable) {
        // No answer: QEMU may have made it all the same, or may still do so.
        if (auto removed = co_await remove_device(client, device_id(request)); !removed) {
            co_return fail(ErrorKind::DeadlineExceeded,
                           what + ": " + why.message + "; it is being taken back");
        }
        why.kind = ErrorKind::Unavailable;
    }
    (void)co_await remove_socket(client, chardev_id(request.function));
    co_return fail(what, why);
}

Task<Result<void>> QemuPlatform::remove_device(Client client, std::string id) {
    const Nanos deadline = now() + limits_.unplug_total;
    // Subscribed before it is asked: the event cannot be missed.
    QmpClient::DeletedWaiter gone(*client, id);
    for (;;) {
        const auto there = co_await has_device(client, id);
        if (!there) {
            co_return std::unexpected(there.error());
        }
        if (!*there) {
            co_return Result<void>();
        }
        if (now() >= deadline) {
            co_return fail(ErrorKind::DeadlineExceeded,
                           "the guest does not let go of " + id +
                               "; it must be running and take hot-unplug requests");
        }
        // "Already being unplugged" is an error here and no reason to stop waiting.
        const auto asked = co_await run(client, "device_del", Json{{"id", id}});
        if (!asked && asked.error().kind == ErrorKind::Unavailable) {
            co_return std::unexpected(asked.error());
        }
        const auto outcome = co_await gone.wait(now() + limits_.unplug_try);
        switch (outcome) {
            case QmpClient::DeletedWaiter::Outcome::Deleted:
                co_return Result<void>();
            case QmpClient::DeletedWaiter::Outcome::ConnectionLost:
                co_return fail(ErrorKind::Unavailable, client->why_closed());
            case QmpClient::DeletedWaiter::Outcome::Refused:
                // The guest said no for now (no driver yet, device busy): asked again a bit later.
                co_await reactor::sleep_for(limits_.unplug_try / 8);
                break;
            case QmpClient::DeletedWaiter::Outcome::TimedOut:
                break;
        }
    }
}

Task<Result<void>> QemuPlatform::unplug(core::HostFunction function) {
    const auto client = co_await connected();
    if (!client) {
        co_return absent_ ? fail(ErrorKind::NotFound, client.error().message)
                          : std::unexpected(client.error());
    }
    const auto ids = co_await devices_at(*client, function);
    if (!ids) {
        co_return std::unexpected(ids.error());
    }
    for (const std::string& id : *ids) {
        if (auto removed = co_await remove_device(*client, id); !removed) {
            co_return removed;
        }
    }
    co_return co_await remove_socket(*client, chardev_id(function));
}

Task<Result<std::vector<PluggedDevice>>> QemuPlatform::list() {
    const auto client = co_await connected();
    if (!client) {
        co_return std::unexpected(client.error());
    }
    const auto devices = co_await run(*client, "qom-list", Json{{"path", "/machine/peripheral"}});
    if (!devices) {
        co_return std::unexpected(devices.error());
    }
    const auto pci = co_await run(*client, "query-pci", Json::object());
    if (!pci) {
        co_return std::unexpected(pci.error());
    }
    std::vector<PluggedDevice> plugged;
    for (const std::string& id : our_devices(*devices)) {
        const DeviceId of = *parse_device_id(id);
        Result<std::string> path = std::string();
        if (of.tag.empty()) {
            path = co_await socket_behind(*client, id);
        }
        if (!path) {
            co_return std::unexpected(path.error());
        }
        plugged.push_back({of.function, std::move(*path), pci_address(*pci, id), of.tag});
    }
    co_return plugged;
}

Task<> QemuPlatform::stop() {
    stopped_ = true;
    while (connecting_) {
        reactor::Signal done;
        waiting_for_connect_.push_back(&done);
        co_await done.wait_until(core::kNever);
    }
    client_.reset();
}

}  // namespace remora::platform
