// SPDX-License-Identifier: Apache-2.0
#include "virtio/status_map.h"

namespace remora::virtio {

BlkStatus to_blk_status(block::Status status) noexcept {
    switch (status) {
        case block::Status::Ok:
            return BlkStatus::Ok;
        case block::Status::Unsupported:
            return BlkStatus::Unsupported;
        case block::Status::IoError:
        case block::Status::OutOfRange:
        case block::Status::InvalidRequest:
        // VIRTIO 1.2 section 5.2.6.2: a write to a read-only device is an IOERR.
        case block::Status::ReadOnly:
        case block::Status::NoSpace:
        case block::Status::PathError:
        case block::Status::Aborted:
        case block::Status::NoResources:
        case block::Status::DataCorrupt:
            return BlkStatus::IoError;
    }
    return BlkStatus::IoError;
}

}  // namespace remora::virtio
