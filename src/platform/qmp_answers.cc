// SPDX-License-Identifier: Apache-2.0
#include "platform/qmp_answers.h"

#include <array>
#include <cstdio>

#include "core/hash.h"

namespace remora::platform {

using nlohmann::json;

namespace {

constexpr std::string_view kPrefix = "remora-";
constexpr unsigned kTagDigits = 8;
/// Bridges behind bridges that are looked into; PCI topologies are far shallower.
constexpr int kDeepestBridge = 16;

std::string text_of(const json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::optional<unsigned> number_of(const json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned()) {
        return std::nullopt;
    }
    const auto value = found->get<std::uint64_t>();
    return value <= 0xff ? std::optional<unsigned>(static_cast<unsigned>(value)) : std::nullopt;
}

std::string find_in(const json& devices, std::string_view id, int depth) {
    if (!devices.is_array() || depth > kDeepestBridge) {
        return {};
    }
    for (const json& device : devices) {
        if (!device.is_object()) {
            continue;
        }
        if (text_of(device, "qdev_id") == id) {
            const auto bus = number_of(device, "bus");
            const auto slot = number_of(device, "slot");
            const auto function = number_of(device, "function");
            if (!bus || !slot || !function) {
                return {};
            }
            std::array<char, 24> text{};
            std::snprintf(text.data(), text.size(), "0000:%02x:%02x.%x", *bus, *slot, *function);
            return text.data();
        }
        const auto bridge = device.find("pci_bridge");
        if (bridge == device.end() || !bridge->is_object() || !bridge->contains("devices")) {
            continue;
        }
        if (std::string found = find_in(bridge->at("devices"), id, depth + 1); !found.empty()) {
            return found;
        }
    }
    return {};
}

}  // namespace

std::string socket_tag(std::string_view socket_path) {
    return core::hex_digits(core::fnv1a(socket_path), kTagDigits);
}

std::string chardev_id(core::HostFunction function) {
    return std::string(kPrefix) + function.text();
}

std::string device_id(const PlugRequest& request) {
    const std::string id = chardev_id(request.function);
    return request.kind == DeviceKind::Nvme ? id + "-" + socket_tag(request.socket_path) : id;
}

std::optional<DeviceId> parse_device_id(std::string_view id) {
    if (!id.starts_with(kPrefix)) {
        return std::nullopt;
    }
    id.remove_prefix(kPrefix.size());
    const auto dash = id.find('-');
    const auto function = core::HostFunction::parse(id.substr(0, dash));
    if (!function || function->pf >= kMaxFunctions || function->vf > kMaxVirtualFunctions) {
        return std::nullopt;
    }
    if (dash == std::string_view::npos) {
        return DeviceId{*function, ""};
    }
    const std::string_view tag = id.substr(dash + 1);
    const bool is_tag = tag.size() == kTagDigits &&
                        tag.find_first_not_of("0123456789abcdef") == std::string_view::npos;
    return is_tag ? std::optional(DeviceId{*function, std::string(tag)}) : std::nullopt;
}

std::vector<std::string> our_devices(const json& qom_list) {
    std::vector<std::string> ids;
    if (!qom_list.is_array()) {
        return ids;
    }
    for (const json& property : qom_list) {
        if (!property.is_object() || !text_of(property, "type").starts_with("child<")) {
            continue;
        }
        if (std::string id = text_of(property, "name"); parse_device_id(id)) {
            ids.push_back(std::move(id));
        }
    }
    return ids;
}

std::vector<std::string> our_chardevs(const json& query_chardev) {
    std::vector<std::string> ids;
    if (!query_chardev.is_array()) {
        return ids;
    }
    for (const json& chardev : query_chardev) {
        if (!chardev.is_object()) {
            continue;
        }
        if (std::string id = text_of(chardev, "label"); parse_device_id(id)) {
            ids.push_back(std::move(id));
        }
    }
    return ids;
}

std::string socket_path_of(const json& address) {
    return address.is_object() && text_of(address, "type") == "unix" ? text_of(address, "path")
                                                                     : std::string();
}

std::string pci_address(const json& query_pci, std::string_view id) {
    if (!query_pci.is_array()) {
        return {};
    }
    for (const json& bus : query_pci) {
        if (!bus.is_object() || !bus.contains("devices")) {
            continue;
        }
        if (std::string found = find_in(bus.at("devices"), id, 0); !found.empty()) {
            return found;
        }
    }
    return {};
}

}  // namespace remora::platform
