// SPDX-License-Identifier: Apache-2.0
// The one mapping of block::Status to the status byte of a virtio-blk request.
#pragma once

#include "block/status.h"
#include "virtio/blk_request.h"

namespace remora::virtio {

/// VIRTIO 1.2 section 5.2.6: OK, IOERR or UNSUPP. What the guest cannot tell apart is IOERR.
BlkStatus to_blk_status(block::Status status) noexcept;

}  // namespace remora::virtio
