// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "storage/middleend_qos_volume.grpc.pb.h"

namespace remora::control {

namespace {

class QosService final : public opi::MiddleendQosVolumeService::Service {
  public:
    explicit QosService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateQosVolume,
               opi::CreateQosVolumeRequest,
               opi::QosVolume,
               qos_volumes,
               &QosVolumes::create);
    REMORA_RPC(
        DeleteQosVolume, opi::DeleteQosVolumeRequest, Empty, qos_volumes, &QosVolumes::remove);
    REMORA_RPC(UpdateQosVolume,
               opi::UpdateQosVolumeRequest,
               opi::QosVolume,
               qos_volumes,
               &QosVolumes::update);
    REMORA_RPC(ListQosVolumes,
               opi::ListQosVolumesRequest,
               opi::ListQosVolumesResponse,
               qos_volumes,
               &QosVolumes::list);
    REMORA_RPC(
        GetQosVolume, opi::GetQosVolumeRequest, opi::QosVolume, qos_volumes, &QosVolumes::get);
    REMORA_RPC(StatsQosVolume,
               opi::StatsQosVolumeRequest,
               opi::StatsQosVolumeResponse,
               qos_volumes,
               &QosVolumes::stats);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_qos_service(Dispatcher& dispatcher, Services& services) {
    services.add<opi::MiddleendQosVolumeService, QosService>(dispatcher);
}

}  // namespace remora::control
