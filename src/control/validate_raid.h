// SPDX-License-Identifier: Apache-2.0
// RAID volumes as clients write them, and what they are for the data plane.
#pragma once

#include <cstdint>

#include "core/result.h"
#include "node/node.h"
#include "remora/v1/raid.pb.h"

namespace remora::control {

/// Level, numbers of members and spares, chunk and rate. Errors: InvalidArgument naming the field.
core::Result<void> validate_raid(const remora::v1::RaidVolume& asked);

/// Of a resource that is valid.
services::raid::Level level_of(const remora::v1::RaidVolume& volume);
std::uint32_t chunk_of(const remora::v1::RaidVolume& volume);
/// Bytes a second; 0: the default.
std::uint64_t background_rate_of(const remora::v1::RaidVolume& volume);

/// What the data plane says of an array, in the resource's words.
void show_raid(const services::raid::RaidStatus& status, remora::v1::RaidVolume& out);

}  // namespace remora::control
