// SPDX-License-Identifier: Apache-2.0
// FunctionState: an NVMe function with its client, while no command is under way but the events
// that the host waits for. What another process needs to be that function; the host and the client
// notice nothing but the pause. Handles are as in vfio_user::SessionState.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "nvme/controller_state.h"
#include "reactor/io.h"
#include "vfio_user/session_state.h"

namespace remora::frontends::vfio_user_nvme {

/// The admin queues are number 0.
struct CompletionQueueState {
    std::uint16_t qid = 0;
    std::uint64_t address = 0;
    std::uint32_t entries = 0;
    bool interrupts = false;
    std::uint16_t vector = 0;
    std::uint32_t tail = 0;
    std::uint32_t head = 0;  ///< As the host last told.
    bool phase = true;
    bool broken = false;
};

struct SubmissionQueueState {
    std::uint16_t qid = 0;
    std::uint16_t cqid = 0;
    std::uint64_t address = 0;
    std::uint32_t entries = 0;
    std::uint32_t head = 0;
    bool broken = false;
};

struct FunctionState {
    std::vector<std::byte> config;  ///< The configuration space.
    std::vector<std::byte> msix_table;
    std::uint32_t interrupt_mask = 0;
    std::uint32_t aqa = 0;
    std::uint64_t asq = 0;
    std::uint64_t acq = 0;
    reactor::Handle doorbells = reactor::kNoHandle;  ///< Their memory, which holds their values.
    std::uint64_t shadow_values = 0;                 ///< Addresses of the host's buffers; 0: none.
    std::uint64_t shadow_events = 0;
    nvme::ControllerState controller;
    std::vector<CompletionQueueState> completions;
    std::vector<SubmissionQueueState> submissions;
    std::vector<std::uint32_t> namespaces;  ///< Shown; without one the host's I/O would fail.
};

struct FrozenController {
    reactor::Handle connection = reactor::kNoHandle;
    vfio_user::SessionState session;
    FunctionState function;
};

/// Calls `use(handle)` for each that is one; `frozen` may be const.
template <typename Frozen, typename Use>
void for_each_handle(Frozen& frozen, Use use) {
    const auto if_one = [&use](auto& handle) {
        if (handle != reactor::kNoHandle) {
            use(handle);
        }
    };
    if_one(frozen.connection);
    if_one(frozen.function.doorbells);
    if_one(frozen.session.irqs.unmask_event);
    for (auto& handle : frozen.session.connection.handles) {
        if_one(handle);
    }
    for (auto& entry : frozen.session.memory) {
        if_one(entry.handle);
    }
    for (auto& line : frozen.session.irqs.lines) {
        if_one(line.event);
    }
}

}  // namespace remora::frontends::vfio_user_nvme
