// SPDX-License-Identifier: Apache-2.0
// What becomes of an I/O command, as a value.
#pragma once

#include <cstdint>
#include <expected>

#include "nvme/commands.h"

namespace remora::test {

/// The error is the status field to answer with.
inline std::expected<nvme::IoPlan, std::uint16_t> planned_io(const nvme::spec::Command& command,
                                                             const nvme::Namespace& target,
                                                             std::uint32_t max_transfer_bytes) {
    nvme::IoPlan plan;
    const std::uint16_t refusal = nvme::decode_io(command, target, max_transfer_bytes, plan);
    if (refusal != 0) {
        return std::unexpected(refusal);
    }
    return plan;
}

}  // namespace remora::test
