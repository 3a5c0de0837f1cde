// SPDX-License-Identifier: Apache-2.0
// HostKey: one host at one subsystem; what all its associations there have in common.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace remora::frontends::nvme_tcp {

struct HostKey {
    std::string subnqn;
    std::string hostnqn;
    std::array<std::uint8_t, 16> host_id{};

    bool operator==(const HostKey&) const = default;
};

}  // namespace remora::frontends::nvme_tcp
