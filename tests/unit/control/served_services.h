// SPDX-License-Identifier: Apache-2.0
// The services of the API by name, as tests enumerate them.
#pragma once

#include <string>
#include <vector>

namespace remora::test {

/// The services that are served, but for gRPC's own.
inline const std::vector<std::string>& served_services() {
    static const std::vector<std::string> all{"opi_api.inventory.v1.InventoryService",
                                              "opi_api.storage.v1.AioVolumeService",
                                              "opi_api.storage.v1.FrontendNvmeService",
                                              "opi_api.storage.v1.FrontendVirtioBlkService",
                                              "opi_api.storage.v1.FrontendVirtioScsiService",
                                              "opi_api.storage.v1.MallocVolumeService",
                                              "opi_api.storage.v1.MiddleendEncryptionService",
                                              "opi_api.storage.v1.MiddleendQosVolumeService",
                                              "opi_api.storage.v1.NullVolumeService",
                                              "opi_api.storage.v1.NvmeRemoteControllerService",
                                              "remora.v1.FaultInjectionService",
                                              "remora.v1.IntegrityService",
                                              "remora.v1.QosService",
                                              "remora.v1.RaidService",
                                              "remora.v1.RemoraService"};
    return all;
}

}  // namespace remora::test
