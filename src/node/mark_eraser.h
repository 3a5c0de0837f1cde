// SPDX-License-Identifier: Apache-2.0
// erase_marks(): takes away what a service has written at the front of a volume, so that the next
// one finds it blank.
#pragma once

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/result.h"
#include "reactor/task.h"

namespace remora::node {

/// Zeros over the first 8 KiB, durably; there is no other I/O on it meanwhile. What fails is tried
/// again for some seconds. On the control reactor; the I/O is done on `on`. Errors: Unavailable
/// when it cannot be written.
reactor::Task<core::Result<void>> erase_marks(block::Device& device, block::ReactorContext on);

}  // namespace remora::node
