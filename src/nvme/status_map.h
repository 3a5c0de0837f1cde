// SPDX-License-Identifier: Apache-2.0
// block::Status <-> NVMe status: the one mapping of this boundary, both ways.
#pragma once

#include <cstdint>

#include "block/request.h"
#include "block/status.h"

namespace remora::nvme {

/// The 15-bit status field a controller answers with. `writing` chooses between a write and a read
/// error where NVMe tells them apart.
std::uint16_t to_nvme(block::Status status, bool writing);

/// The same for a finished request: the status a remote controller gave comes through unchanged
/// when there is one.
std::uint16_t to_nvme(const block::Request& request);

/// What a status field from a remote controller means to the layers above.
block::Status from_nvme(std::uint16_t status_field);

}  // namespace remora::nvme
