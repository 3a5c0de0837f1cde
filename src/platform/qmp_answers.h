// SPDX-License-Identifier: Apache-2.0
// What we read out of QEMU's answers. Pure functions over untrusted JSON: anything unexpected is
// simply not there.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "platform/host_platform.h"

namespace remora::platform {

/// "remora-3" for a virtio-blk device at host function 3 ("remora-3.2" at its virtual function 2),
/// "remora-3-0123abcd" for an NVMe controller there: QEMU does not tell behind which socket one is,
/// so its id does.
std::string device_id(const PlugRequest& request);
/// The id of the function's character device.
std::string chardev_id(core::HostFunction function);
/// What one of our ids says.
struct DeviceId {
    core::HostFunction function;
    std::string tag;  ///< Of an NVMe controller.
};
/// Nothing for any other than ours.
std::optional<DeviceId> parse_device_id(std::string_view id);

/// Ids of the devices in `qom-list /machine/peripheral`, ours only.
std::vector<std::string> our_devices(const nlohmann::json& qom_list);
/// Ids of the character devices in `query-chardev`, ours only.
std::vector<std::string> our_chardevs(const nlohmann::json& query_chardev);
/// The path in a unix SocketAddress; empty for anything else.
std::string socket_path_of(const nlohmann::json& address);
/// "0000:02:1f.0" of the device in `query-pci`; empty when it is not (yet) there.
std::string pci_address(const nlohmann::json& query_pci, std::string_view id);

}  // namespace remora::platform
