// SPDX-License-Identifier: Apache-2.0
// Census: what only all reactors together know about a subsystem. The transport gathers it for one
// admin command, reactor by reactor.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "core/units.h"
#include "nvme/health.h"
#include "nvme/spec/identify.h"

namespace remora::nvme {

struct Census {
    std::vector<std::uint16_t> controllers{};  ///< That live, in any order.
    IoCounters io{};                           ///< Of all hosts.
    core::Nanos up{};                          ///< For so long.
    ErrorBatch errors{};  ///< Of the asking controller's queues, taken from them.
};

/// The list of those from `first` on, at most as many as it holds.
spec::ControllerList controller_list(std::span<const std::uint16_t> controllers,
                                     std::uint16_t first);

}  // namespace remora::nvme
