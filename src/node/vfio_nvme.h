// SPDX-License-Identifier: Apache-2.0
// What a node is told and tells of its NVMe controllers on vfio-user sockets.
#pragma once

#include <cstdint>
#include <string>

#include "frontends/vfio_user_nvme/function_state.h"
#include "services/qos/rates.h"

namespace remora::node {

struct VfioNvmeSpec {
    std::string name;
    std::string socket_path;
    std::uint32_t io_queues = 16;  ///< Pairs, 1..64.
    std::string nqn;               ///< Of its subsystem, which is there.
    std::string serial;
    std::string model;
    std::uint32_t max_namespaces = 0;  ///< 0: the built-in limit.
    std::uint16_t cntlid = 1;          ///< Its number in the subsystem, not that of another.
    /// The subsystem will never have another controller: hosts need not look for one.
    bool one_controller = false;
    /// Clients may map the doorbells: fast, and polled, seldom when idle. Else each is a message.
    bool map_doorbells = true;
    bool msix = true;            ///< Else MSI with one message, and INTx.
    services::qos::Rates rates;  ///< For all namespaces together, besides the volumes' own.
};

struct VfioNvmeStatus {
    bool connected = false;  ///< A client (QEMU) has a session.
    bool ready = false;      ///< The host has enabled the controller.
    std::uint32_t active_queues = 0;
};

/// A controller in the middle of its client's use, for the process that comes after this one.
struct FrozenFunction {
    std::string name;
    frontends::vfio_user_nvme::FrozenController controller;
};

}  // namespace remora::node
