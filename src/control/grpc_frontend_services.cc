// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "storage/frontend_nvme.grpc.pb.h"
#include "storage/frontend_virtio_blk.grpc.pb.h"

namespace remora::control {

namespace {

class NvmeService final : public opi::FrontendNvmeService::Service {
  public:
    explicit NvmeService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateNvmeSubsystem,
               opi::CreateNvmeSubsystemRequest,
               opi::NvmeSubsystem,
               subsystems,
               &Subsystems::create_subsystem);
    REMORA_RPC(DeleteNvmeSubsystem,
               opi::DeleteNvmeSubsystemRequest,
               Empty,
               subsystems,
               &Subsystems::delete_subsystem);
    REMORA_RPC(UpdateNvmeSubsystem,
               opi::UpdateNvmeSubsystemRequest,
               opi::NvmeSubsystem,
               subsystems,
               &Subsystems::update_subsystem);
    REMORA_RPC(ListNvmeSubsystems,
               opi::ListNvmeSubsystemsRequest,
               opi::ListNvmeSubsystemsResponse,
               subsystems,
               &Subsystems::list_subsystems);
    REMORA_RPC(GetNvmeSubsystem,
               opi::GetNvmeSubsystemRequest,
               opi::NvmeSubsystem,
               subsystems,
               &Subsystems::get_subsystem);
    REMORA_RPC(StatsNvmeSubsystem,
               opi::StatsNvmeSubsystemRequest,
               opi::StatsNvmeSubsystemResponse,
               subsystems,
               &Subsystems::stats_subsystem);
    REMORA_RPC(CreateNvmeController,
               opi::CreateNvmeControllerRequest,
               opi::NvmeController,
               subsystems,
               &Subsystems::create_controller);
    REMORA_RPC(DeleteNvmeController,
               opi::DeleteNvmeControllerRequest,
               Empty,
               subsystems,
               &Subsystems::delete_controller);
    REMORA_RPC(UpdateNvmeController,
               opi::UpdateNvmeControllerRequest,
               opi::NvmeController,
               subsystems,
               &Subsystems::update_controller);
    REMORA_RPC(ListNvmeControllers,
               opi::ListNvmeControllersRequest,
               opi::ListNvmeControllersResponse,
               subsystems,
               &Subsystems::list_controllers);
    REMORA_RPC(GetNvmeController,
               opi::GetNvmeControllerRequest,
               opi::NvmeController,
               subsystems,
               &Subsystems::get_controller);
    REMORA_RPC(StatsNvmeController,
               opi::StatsNvmeControllerRequest,
               opi::StatsNvmeControllerResponse,
               subsystems,
               &Subsystems::stats_controller);
    REMORA_RPC(CreateNvmeNamespace,
               opi::CreateNvmeNamespaceRequest,
               opi::NvmeNamespace,
               subsystems,
               &Subsystems::create_namespace);
    REMORA_RPC(DeleteNvmeNamespace,
               opi::DeleteNvmeNamespaceRequest,
               Empty,
               subsystems,
               &Subsystems::delete_namespace);
    REMORA_RPC(UpdateNvmeNamespace,
               opi::UpdateNvmeNamespaceRequest,
               opi::NvmeNamespace,
               subsystems,
               &Subsystems::update_namespace);
    REMORA_RPC(ListNvmeNamespaces,
               opi::ListNvmeNamespacesRequest,
               opi::ListNvmeNamespacesResponse,
               subsystems,
               &Subsystems::list_namespaces);
    REMORA_RPC(GetNvmeNamespace,
               opi::GetNvmeNamespaceRequest,
               opi::NvmeNamespace,
               subsystems,
               &Subsystems::get_namespace);
    REMORA_RPC(StatsNvmeNamespace,
               opi::StatsNvmeNamespaceRequest,
               opi::StatsNvmeNamespaceResponse,
               subsystems,
               &Subsystems::stats_namespace);

  private:
    Dispatcher& dispatcher_;
};

class VirtioBlkService final : public opi::FrontendVirtioBlkService::Service {
  public:
    explicit VirtioBlkService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateVirtioBlk,
               opi::CreateVirtioBlkRequest,
               opi::VirtioBlk,
               virtio_blks,
               &VirtioBlks::create);
    REMORA_RPC(
        DeleteVirtioBlk, opi::DeleteVirtioBlkRequest, Empty, virtio_blks, &VirtioBlks::remove);
    REMORA_RPC(UpdateVirtioBlk,
               opi::UpdateVirtioBlkRequest,
               opi::VirtioBlk,
               virtio_blks,
               &VirtioBlks::update);
    REMORA_RPC(ListVirtioBlks,
               opi::ListVirtioBlksRequest,
               opi::ListVirtioBlksResponse,
               virtio_blks,
               &VirtioBlks::list);
    REMORA_RPC(
        GetVirtioBlk, opi::GetVirtioBlkRequest, opi::VirtioBlk, virtio_blks, &VirtioBlks::get);
    REMORA_RPC(StatsVirtioBlk,
               opi::StatsVirtioBlkRequest,
               opi::StatsVirtioBlkResponse,
               virtio_blks,
               &VirtioBlks::stats);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_frontend_services(Dispatcher& dispatcher, Services& services) {
    services.add<opi::FrontendNvmeService, NvmeService>(dispatcher);
    services.add<opi::FrontendVirtioBlkService, VirtioBlkService>(dispatcher);
}

}  // namespace remora::control
