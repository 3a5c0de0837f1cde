// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "storage/backend_aio.grpc.pb.h"
#include "storage/backend_malloc.grpc.pb.h"
#include "storage/backend_null.grpc.pb.h"
#include "storage/backend_nvme.grpc.pb.h"

namespace remora::control {

namespace {

class MallocVolumeService final : public opi::MallocVolumeService::Service {
  public:
    explicit MallocVolumeService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateMallocVolume,
               opi::CreateMallocVolumeRequest,
               opi::MallocVolume,
               volumes,
               &Volumes::create_malloc);
    REMORA_RPC(DeleteMallocVolume,
               opi::DeleteMallocVolumeRequest,
               Empty,
               volumes,
               &Volumes::delete_malloc);
    REMORA_RPC(UpdateMallocVolume,
               opi::UpdateMallocVolumeRequest,
               opi::MallocVolume,
               volumes,
               &Volumes::update_malloc);
    REMORA_RPC(ListMallocVolumes,
               opi::ListMallocVolumesRequest,
               opi::ListMallocVolumesResponse,
               volumes,
               &Volumes::list_malloc);
    REMORA_RPC(GetMallocVolume,
               opi::GetMallocVolumeRequest,
               opi::MallocVolume,
               volumes,
               &Volumes::get_malloc);
    REMORA_RPC(StatsMallocVolume,
               opi::StatsMallocVolumeRequest,
               opi::StatsMallocVolumeResponse,
               volumes,
               &Volumes::stats_malloc);

  private:
    Dispatcher& dispatcher_;
};

class NullVolumeService final : public opi::NullVolumeService::Service {
  public:
    explicit NullVolumeService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateNullVolume,
               opi::CreateNullVolumeRequest,
               opi::NullVolume,
               volumes,
               &Volumes::create_null);
    REMORA_RPC(
        DeleteNullVolume, opi::DeleteNullVolumeRequest, Empty, volumes, &Volumes::delete_null);
    REMORA_RPC(UpdateNullVolume,
               opi::UpdateNullVolumeRequest,
               opi::NullVolume,
               volumes,
               &Volumes::update_null);
    REMORA_RPC(ListNullVolumes,
               opi::ListNullVolumesRequest,
               opi::ListNullVolumesResponse,
               volumes,
               &Volumes::list_null);
    REMORA_RPC(
        GetNullVolume, opi::GetNullVolumeRequest, opi::NullVolume, volumes, &Volumes::get_null);
    REMORA_RPC(StatsNullVolume,
               opi::StatsNullVolumeRequest,
               opi::StatsNullVolumeResponse,
               volumes,
               &Volumes::stats_null);

  private:
    Dispatcher& dispatcher_;
};

class AioVolumeService final : public opi::AioVolumeService::Service {
  public:
    explicit AioVolumeService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateAioVolume,
               opi::CreateAioVolumeRequest,
               opi::AioVolume,
               volumes,
               &Volumes::create_aio);
    REMORA_RPC(DeleteAioVolume, opi::DeleteAioVolumeRequest, Empty, volumes, &Volumes::delete_aio);
    REMORA_RPC(UpdateAioVolume,
               opi::UpdateAioVolumeRequest,
               opi::AioVolume,
               volumes,
               &Volumes::update_aio);
    REMORA_RPC(ListAioVolumes,
               opi::ListAioVolumesRequest,
               opi::ListAioVolumesResponse,
               volumes,
               &Volumes::list_aio);
    REMORA_RPC(GetAioVolume, opi::GetAioVolumeRequest, opi::AioVolume, volumes, &Volumes::get_aio);
    REMORA_RPC(StatsAioVolume,
               opi::StatsAioVolumeRequest,
               opi::StatsAioVolumeResponse,
               volumes,
               &Volumes::stats_aio);

  private:
    Dispatcher& dispatcher_;
};

class RemoteControllerService final : public opi::NvmeRemoteControllerService::Service {
  public:
    explicit RemoteControllerService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateNvmeRemoteController,
               opi::CreateNvmeRemoteControllerRequest,
               opi::NvmeRemoteController,
               remotes,
               &Remotes::create_controller);
    REMORA_RPC(DeleteNvmeRemoteController,
               opi::DeleteNvmeRemoteControllerRequest,
               Empty,
               remotes,
               &Remotes::delete_controller);
    REMORA_RPC(UpdateNvmeRemoteController,
               opi::UpdateNvmeRemoteControllerRequest,
               opi::NvmeRemoteController,
               remotes,
               &Remotes::update_controller);
    REMORA_RPC(ListNvmeRemoteControllers,
               opi::ListNvmeRemoteControllersRequest,
               opi::ListNvmeRemoteControllersResponse,
               remotes,
               &Remotes::list_controllers);
    REMORA_RPC(GetNvmeRemoteController,
               opi::GetNvmeRemoteControllerRequest,
               opi::NvmeRemoteController,
               remotes,
               &Remotes::get_controller);
    REMORA_RPC(StatsNvmeRemoteController,
               opi::StatsNvmeRemoteControllerRequest,
               opi::StatsNvmeRemoteControllerResponse,
               remotes,
               &Remotes::stats_controller);
    REMORA_RPC(ResetNvmeRemoteController,
               opi::ResetNvmeRemoteControllerRequest,
               Empty,
               remotes,
               &Remotes::reset_controller);
    REMORA_RPC(ListNvmeRemoteNamespaces,
               opi::ListNvmeRemoteNamespacesRequest,
               opi::ListNvmeRemoteNamespacesResponse,
               remotes,
               &Remotes::list_namespaces);
    REMORA_RPC(GetNvmeRemoteNamespace,
               opi::GetNvmeRemoteNamespaceRequest,
               opi::NvmeRemoteNamespace,
               remotes,
               &Remotes::get_namespace);
    REMORA_RPC(
        CreateNvmePath, opi::CreateNvmePathRequest, opi::NvmePath, remotes, &Remotes::create_path);
    REMORA_RPC(DeleteNvmePath, opi::DeleteNvmePathRequest, Empty, remotes, &Remotes::delete_path);
    REMORA_RPC(
        UpdateNvmePath, opi::UpdateNvmePathRequest, opi::NvmePath, remotes, &Remotes::update_path);
    REMORA_RPC(ListNvmePaths,
               opi::ListNvmePathsRequest,
               opi::ListNvmePathsResponse,
               remotes,
               &Remotes::list_paths);
    REMORA_RPC(GetNvmePath, opi::GetNvmePathRequest, opi::NvmePath, remotes, &Remotes::get_path);
    REMORA_RPC(StatsNvmePath,
               opi::StatsNvmePathRequest,
               opi::StatsNvmePathResponse,
               remotes,
               &Remotes::stats_path);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_backend_services(Dispatcher& dispatcher, Services& services) {
    services.add<opi::MallocVolumeService, MallocVolumeService>(dispatcher);
    services.add<opi::NullVolumeService, NullVolumeService>(dispatcher);
    services.add<opi::AioVolumeService, AioVolumeService>(dispatcher);
    services.add<opi::NvmeRemoteControllerService, RemoteControllerService>(dispatcher);
}

}  // namespace remora::control
