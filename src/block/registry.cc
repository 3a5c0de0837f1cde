// SPDX-License-Identifier: Apache-2.0
#include "block/registry.h"

namespace remora::block {

core::Result<void> Registry::add(Device& device) {
    const auto [at, added] = devices_.emplace(device.name(), &device);
    if (!added) {
        return core::fail(core::ErrorKind::AlreadyExists,
                          "a volume named '" + device.name() + "' exists already");
    }
    return {};
}

void Registry::remove(Device& device) {
    const auto at = devices_.find(device.name());
    if (at != devices_.end() && at->second == &device) {
        devices_.erase(at);
    }
}

Device* Registry::find(std::string_view name) const {
    const auto at = devices_.find(name);
    return at == devices_.end() ? nullptr : at->second;
}

Device* Registry::find(const core::Uuid& uuid) const {
    for (const auto& [name, device] : devices_) {
        if (device->uuid() == uuid) {
            return device;
        }
    }
    return nullptr;
}

}  // namespace remora::block
