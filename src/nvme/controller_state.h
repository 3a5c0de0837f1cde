// SPDX-License-Identifier: Apache-2.0
// ControllerState: what a host has made of an I/O controller on PCIe, so that another process can
// go on as that controller. Its queues are the transport's.
#pragma once

#include <cstdint>
#include <vector>

namespace remora::nvme {

struct ControllerState {
    std::uint32_t cc = 0;
    std::uint32_t csts = 0;
    std::uint32_t event_config = 0;
    bool namespace_pending = false;  ///< Namespaces changed, and no event has said so.
    bool namespace_masked = false;   ///< One has; the host has not read the log since.
    bool changed_overflow = false;
    bool error_pending = false;  ///< The same of errors, ...
    bool error_masked = false;
    std::uint32_t error_event = 0;              ///< ... of which this is to be said.
    std::vector<std::uint32_t> changed;         ///< Namespaces, ascending.
    std::vector<std::uint32_t> features;        ///< In the order of Controller's table.
    std::vector<std::uint16_t> not_coalesced;   ///< Vectors.
    std::vector<std::uint16_t> event_requests;  ///< Command identifiers, the oldest first.
};

}  // namespace remora::nvme
