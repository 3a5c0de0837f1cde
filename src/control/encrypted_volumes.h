// SPDX-License-Identifier: Apache-2.0
// EncryptedVolumes: OPI's encryption service. This build encrypts nothing: no such volume exists.
// Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "storage/middleend_encryption.pb.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class EncryptedVolumes {
  public:
    explicit EncryptedVolumes(Context& context) : context_(context) {}

    Task<core::Result<opi::EncryptedVolume>> create(
        const opi::CreateEncryptedVolumeRequest& request);
    Task<core::Result<Empty>> remove(const opi::DeleteEncryptedVolumeRequest& request);
    Task<core::Result<opi::EncryptedVolume>> update(
        const opi::UpdateEncryptedVolumeRequest& request);
    Task<core::Result<opi::ListEncryptedVolumesResponse>> list(
        const opi::ListEncryptedVolumesRequest& request);
    Task<core::Result<opi::EncryptedVolume>> get(const opi::GetEncryptedVolumeRequest& request);
    Task<core::Result<opi::StatsEncryptedVolumeResponse>> stats(
        const opi::StatsEncryptedVolumeRequest& request);

  private:
    Context& context_;
};

}  // namespace remora::control
