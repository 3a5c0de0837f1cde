// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_services.h"
#include "storage/middleend_encryption.grpc.pb.h"

namespace remora::control {

namespace {

class EncryptionService final : public opi::MiddleendEncryptionService::Service {
  public:
    explicit EncryptionService(Dispatcher& dispatcher) : dispatcher_(dispatcher) {}

    REMORA_RPC(CreateEncryptedVolume,
               opi::CreateEncryptedVolumeRequest,
               opi::EncryptedVolume,
               encrypted_volumes,
               &EncryptedVolumes::create);
    REMORA_RPC(DeleteEncryptedVolume,
               opi::DeleteEncryptedVolumeRequest,
               Empty,
               encrypted_volumes,
               &EncryptedVolumes::remove);
    REMORA_RPC(UpdateEncryptedVolume,
               opi::UpdateEncryptedVolumeRequest,
               opi::EncryptedVolume,
               encrypted_volumes,
               &EncryptedVolumes::update);
    REMORA_RPC(ListEncryptedVolumes,
               opi::ListEncryptedVolumesRequest,
               opi::ListEncryptedVolumesResponse,
               encrypted_volumes,
               &EncryptedVolumes::list);
    REMORA_RPC(GetEncryptedVolume,
               opi::GetEncryptedVolumeRequest,
               opi::EncryptedVolume,
               encrypted_volumes,
               &EncryptedVolumes::get);
    REMORA_RPC(StatsEncryptedVolume,
               opi::StatsEncryptedVolumeRequest,
               opi::StatsEncryptedVolumeResponse,
               encrypted_volumes,
               &EncryptedVolumes::stats);

  private:
    Dispatcher& dispatcher_;
};

}  // namespace

void add_encryption_service(Dispatcher& dispatcher, Services& services) {
    services.add<opi::MiddleendEncryptionService, EncryptionService>(dispatcher);
}

}  // namespace remora::control
