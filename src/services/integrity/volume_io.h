// SPDX-License-Identifier: Apache-2.0
// VolumeIo: what making and opening an integrity volume reads and writes on the device below, one
// operation at a time, in a coroutine. On one reactor, for as long as a call takes.
#pragma once

#include <memory>
#include <span>

#include "block/device.h"
#include "core/result.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "services/integrity/integrity_device.h"
#include "services/integrity/integrity_format.h"

namespace remora::services::integrity {

/// Writes the pages, and then the superblocks, durably. Errors: AlreadyExists, Unavailable, those
/// of opening a channel.
reactor::Task<core::Result<void>> format_volume(block::Device& lower,
                                                const Superblock& superblock,
                                                bool overwrite);

/// Reads the superblocks, and mends one that is damaged if the other is not. What was written
/// before, by a process that died, is durable afterwards. Errors: NotFound, DataLoss,
/// FailedPrecondition (a version this build does not know), Unavailable.
reactor::Task<core::Result<Superblock>> read_superblock(block::Device& lower);

}  // namespace remora::services::integrity
