// SPDX-License-Identifier: Apache-2.0
#include "control/plan.h"

#include <map>
#include <set>

namespace remora::control {

std::vector<PlugAction> plan(const std::vector<DesiredDevice>& desired,
                             const std::vector<platform::PluggedDevice>& actual) {
    std::map<core::HostFunction, const DesiredDevice*> wanted;
    for (const DesiredDevice& device : desired) {
        wanted[device.request.function] = &device;
    }
    std::set<core::HostFunction> unplugs;
    std::set<core::HostFunction> right;
    for (const platform::PluggedDevice& device : actual) {
        const auto found = wanted.find(device.function);
        if (found != wanted.end() && !found->second->lost &&
            device.is_behind(found->second->request.socket_path)) {
            right.insert(device.function);
        } else {
            unplugs.insert(device.function);
        }
    }
    std::vector<PlugAction> actions;
    actions.reserve(unplugs.size() + wanted.size());
    for (const core::HostFunction function : unplugs) {
        PlugAction& unplug = actions.emplace_back();
        unplug.kind = PlugAction::Kind::Unplug;
        unplug.request.function = function;
    }
    for (const auto& [function, device] : wanted) {
        if (!right.contains(function) || unplugs.contains(function)) {
            actions.push_back({PlugAction::Kind::Plug, device->request});
        }
    }
    return actions;
}

}  // namespace remora::control
