// SPDX-License-Identifier: Apache-2.0
// plan(desired, actual): what to do so that the host has exactly the devices it should. A pure
// function; the reconciler carries it out, and again after every restart of either side.
#pragma once

#include <cstdint>
#include <vector>

#include "platform/host_platform.h"

namespace remora::control {

/// A device the host should have.
struct DesiredDevice {
    platform::PlugRequest request;
    /// Nobody is behind its socket: what the host has is of no use and does not come back by
    /// itself.
    bool lost = false;
};

struct PlugAction {
    enum class Kind { Unplug, Plug };
    Kind kind = Kind::Plug;
    platform::PlugRequest request;  ///< Of an Unplug the function only.

    bool operator==(const PlugAction&) const = default;
};

/// Unplugs come first (a place may be needed again), each group in order of function. A device on
/// the right function but another socket is unplugged and plugged anew.
std::vector<PlugAction> plan(const std::vector<DesiredDevice>& desired,
                             const std::vector<platform::PluggedDevice>& actual);

}  // namespace remora::control
