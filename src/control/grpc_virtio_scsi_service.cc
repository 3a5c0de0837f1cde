// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "storage/frontend_virtio_scsi.grpc.pb.h"

namespace remora::control {

namespace {

class VirtioScsiService final : public opi::FrontendVirtioScsiService::Service {
  public:
    explicit VirtioScsiService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateVirtioScsiTarget,
               opi::CreateVirtioScsiTargetRequest,
               opi::VirtioScsiTarget,
               virtio_scsis,
               &VirtioScsis::create_target);
    REMORA_RPC(DeleteVirtioScsiTarget,
               opi::DeleteVirtioScsiTargetRequest,
               Empty,
               virtio_scsis,
               &VirtioScsis::remove_target);
    REMORA_RPC(UpdateVirtioScsiTarget,
               opi::UpdateVirtioScsiTargetRequest,
               opi::VirtioScsiTarget,
               virtio_scsis,
               &VirtioScsis::update_target);
    REMORA_RPC(ListVirtioScsiTargets,
               opi::ListVirtioScsiTargetsRequest,
               opi::ListVirtioScsiTargetsResponse,
               virtio_scsis,
               &VirtioScsis::list_targets);
    REMORA_RPC(GetVirtioScsiTarget,
               opi::GetVirtioScsiTargetRequest,
               opi::VirtioScsiTarget,
               virtio_scsis,
               &VirtioScsis::get_target);
    REMORA_RPC(StatsVirtioScsiTarget,
               opi::StatsVirtioScsiTargetRequest,
               opi::StatsVirtioScsiTargetResponse,
               virtio_scsis,
               &VirtioScsis::stats_target);
    REMORA_RPC(CreateVirtioScsiController,
               opi::CreateVirtioScsiControllerRequest,
               opi::VirtioScsiController,
               virtio_scsis,
               &VirtioScsis::create_controller);
    REMORA_RPC(DeleteVirtioScsiController,
               opi::DeleteVirtioScsiControllerRequest,
               Empty,
               virtio_scsis,
               &VirtioScsis::remove_controller);
    REMORA_RPC(UpdateVirtioScsiController,
               opi::UpdateVirtioScsiControllerRequest,
               opi::VirtioScsiController,
               virtio_scsis,
               &VirtioScsis::update_controller);
    REMORA_RPC(ListVirtioScsiControllers,
               opi::ListVirtioScsiControllersRequest,
               opi::ListVirtioScsiControllersResponse,
               virtio_scsis,
               &VirtioScsis::list_controllers);
    REMORA_RPC(GetVirtioScsiController,
               opi::GetVirtioScsiControllerRequest,
               opi::VirtioScsiController,
               virtio_scsis,
               &VirtioScsis::get_controller);
    REMORA_RPC(StatsVirtioScsiController,
               opi::StatsVirtioScsiControllerRequest,
               opi::StatsVirtioScsiControllerResponse,
               virtio_scsis,
               &VirtioScsis::stats_controller);
    REMORA_RPC(CreateVirtioScsiLun,
               opi::CreateVirtioScsiLunRequest,
               opi::VirtioScsiLun,
               virtio_scsis,
               &VirtioScsis::create_lun);
    REMORA_RPC(DeleteVirtioScsiLun,
               opi::DeleteVirtioScsiLunRequest,
               Empty,
               virtio_scsis,
               &VirtioScsis::remove_lun);
    REMORA_RPC(UpdateVirtioScsiLun,
               opi::UpdateVirtioScsiLunRequest,
               opi::VirtioScsiLun,
               virtio_scsis,
               &VirtioScsis::update_lun);
    REMORA_RPC(ListVirtioScsiLuns,
               opi::ListVirtioScsiLunsRequest,
               opi::ListVirtioScsiLunsResponse,
               virtio_scsis,
               &VirtioScsis::list_luns);
    REMORA_RPC(GetVirtioScsiLun,
               opi::GetVirtioScsiLunRequest,
               opi::VirtioScsiLun,
               virtio_scsis,
               &VirtioScsis::get_lun);
    REMORA_RPC(StatsVirtioScsiLun,
               opi::StatsVirtioScsiLunRequest,
               opi::StatsVirtioScsiLunResponse,
               virtio_scsis,
               &VirtioScsis::stats_lun);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_virtio_scsi_service(Dispatcher& dispatcher, Services& services) {
    services.add<opi::FrontendVirtioScsiService, VirtioScsiService>(dispatcher);
}

}  // namespace remora::control
