// SPDX-License-Identifier: Apache-2.0
#include "control/plan.h"

#include <map>
#include <set>

namespace remora::control {

std::vector<PlugAction> plan(const std::vector<DesiredDisk>& desired,
                             const std::vector<platform::PluggedDevice>& actual) {
    std::map<std::uint32_t, const DesiredDisk*> wanted;
    for (const DesiredDisk& disk : desired) {
        wanted[disk.function] = &disk;
    }
    std::set<std::uint32_t> unplugs;
    std::set<std::uint32_t> right;
    for (const platform::PluggedDevice& device : actual) {
        const auto found = wanted.find(device.function);
        if (found != wanted.end() && found->second->socket_path == device.socket_path) {
            right.insert(device.function);
        } else {
            unplugs.insert(device.function);
        }
    }
    std::vector<PlugAction> actions;
    actions.reserve(unplugs.size() + wanted.size());
    for (const std::uint32_t function : unplugs) {
        actions.push_back({PlugAction::Kind::Unplug, function, {}, 0});
    }
    for (const auto& [function, disk] : wanted) {
        if (!right.contains(function)) {
            actions.push_back({PlugAction::Kind::Plug, function, disk->socket_path, disk->queues});
        }
    }
    return actions;
}

}  // namespace remora::control
