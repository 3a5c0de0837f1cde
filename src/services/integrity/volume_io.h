// SPDX-License-Identifier: Apache-2.0
// What making and opening an integrity volume reads and writes on the device below, one operation
// at a time, in a coroutine. On one reactor, for as long as a call takes.
#pragma once

#include "block/device.h"
#include "core/result.h"
#include "reactor/task.h"
#include "services/integrity/integrity_format.h"

namespace remora::services::integrity {

/// Writes the pages, and then the superblocks, durably. If it fails it leaves no superblock of its
/// own, or logs that it had to; what it has not written to is as it was. Errors: AlreadyExists,
/// Unavailable, those of opening a channel.
reactor::Task<core::Result<void>> format_volume(block::Device& lower,
                                                const Superblock& superblock,
                                                bool overwrite);

/// Takes away what format_volume() has made, or logs why it could not.
reactor::Task<> unformat_volume(block::Device& lower);

/// Reads the superblocks, and mends one that is damaged if the other is not. What was written
/// before, by a process that died, is durable afterwards. Errors: NotFound, DataLoss,
/// FailedPrecondition (a version this build does not know), Unavailable.
reactor::Task<core::Result<Superblock>> read_superblock(block::Device& lower);

/// Notes, durably and behind all that was written before, that the volume is in use, or that it was
/// closed. If that cannot be written it is logged, and `superblock` is as it was.
reactor::Task<> note_clean(block::Device& lower, Superblock& superblock, bool clean);

}  // namespace remora::services::integrity
