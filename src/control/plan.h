// SPDX-License-Identifier: Apache-2.0
// plan(desired, actual): what to do so that the host has exactly the disks it should. A pure
// function; the reconciler carries it out, and again after every restart of either side.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "platform/host_platform.h"

namespace remora::control {

/// A disk the host should have.
struct DesiredDisk {
    std::uint32_t function = 0;
    std::string socket_path;
    std::uint32_t queues = 1;
};

struct PlugAction {
    enum class Kind { Unplug, Plug };
    Kind kind = Kind::Plug;
    std::uint32_t function = 0;
    std::string socket_path;   ///< Plug only.
    std::uint32_t queues = 0;  ///< Plug only.

    bool operator==(const PlugAction&) const = default;
};

/// Unplugs come first (a place may be needed again), each group in order of function. A device on
/// the right function but another socket is unplugged and plugged anew.
std::vector<PlugAction> plan(const std::vector<DesiredDisk>& desired,
                             const std::vector<platform::PluggedDevice>& actual);

}  // namespace remora::control
