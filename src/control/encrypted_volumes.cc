// SPDX-License-Identifier: Apache-2.0
#include "control/encrypted_volumes.h"

#include "control/absent_kind.h"

namespace remora::control {

using core::Result;

namespace {

constexpr AbsentKind kVolume{"encrypted volume",
                             "encrypted_volume",
                             {"volumes", "encryptedVolumes"},
                             "use the volume itself and encrypt in the host, which keeps the key"};

}  // namespace

Task<Result<opi::EncryptedVolume>> EncryptedVolumes::create(
    const opi::CreateEncryptedVolumeRequest& request) {
    co_return kVolume.create(request, "encrypted_volume_id", request.encrypted_volume_id(),
                             context_.prng);
}

Task<Result<Empty>> EncryptedVolumes::remove(const opi::DeleteEncryptedVolumeRequest& request) {
    if (auto removed = kVolume.remove(request, request.name(), request.allow_missing()); !removed) {
        co_return std::unexpected(removed.error());
    }
    co_return Empty();
}

Task<Result<opi::EncryptedVolume>> EncryptedVolumes::update(
    const opi::UpdateEncryptedVolumeRequest& request) {
    co_return kVolume.refuse(request, request.encrypted_volume().name());
}

Task<Result<opi::ListEncryptedVolumesResponse>> EncryptedVolumes::list(
    const opi::ListEncryptedVolumesRequest& request) {
    const auto valid = kVolume.check_list(request, request.page_size(), request.page_token());
    if (!valid) {
        co_return std::unexpected(valid.error());
    }
    co_return opi::ListEncryptedVolumesResponse();
}

Task<Result<opi::EncryptedVolume>> EncryptedVolumes::get(
    const opi::GetEncryptedVolumeRequest& request) {
    co_return kVolume.get(request, request.name());
}

Task<Result<opi::StatsEncryptedVolumeResponse>> EncryptedVolumes::stats(
    const opi::StatsEncryptedVolumeRequest& request) {
    co_return kVolume.refuse(request, request.name());
}

}  // namespace remora::control
