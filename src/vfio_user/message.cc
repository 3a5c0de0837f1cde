// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/message.h"

namespace remora::vfio_user {

std::string_view to_string(Command command) noexcept {
    switch (command) {
        case Command::Version:
            return "version";
        case Command::DmaMap:
            return "dma map";
        case Command::DmaUnmap:
            return "dma unmap";
        case Command::DeviceGetInfo:
            return "get device info";
        case Command::DeviceGetRegionInfo:
            return "get region info";
        case Command::DeviceGetRegionIoFds:
            return "get region io fds";
        case Command::DeviceGetIrqInfo:
            return "get irq info";
        case Command::DeviceSetIrqs:
            return "set irqs";
        case Command::RegionRead:
            return "region read";
        case Command::RegionWrite:
            return "region write";
        case Command::DmaRead:
            return "dma read";
        case Command::DmaWrite:
            return "dma write";
        case Command::DeviceReset:
            return "device reset";
        case Command::RegionWriteMulti:
            return "region write multi";
        case Command::DeviceFeature:
            return "device feature";
        case Command::MigDataRead:
            return "migration data read";
        case Command::MigDataWrite:
            return "migration data write";
    }
    return "unknown";
}

}  // namespace remora::vfio_user
