// SPDX-License-Identifier: Apache-2.0
// IntegrityVolumes: remora.v1's volumes whose every block has a checksum beside it, in the volume
// that they are made of. Control reactor only.
#pragma once

#include <string>
#include <vector>

#include <google/protobuf/empty.pb.h>

#include "control/layers.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class IntegrityVolumes final : public LayerKind {
  public:
    explicit IntegrityVolumes(Context& context) : context_(context) {}

    Task<core::Result<api::IntegrityVolume>> create(
        const api::CreateIntegrityVolumeRequest& request);
    Task<core::Result<Empty>> remove(const api::DeleteIntegrityVolumeRequest& request);
    Task<core::Result<api::IntegrityVolume>> update(
        const api::UpdateIntegrityVolumeRequest& request);
    Task<core::Result<api::ListIntegrityVolumesResponse>> list(
        const api::ListIntegrityVolumesRequest& request);
    Task<core::Result<api::IntegrityVolume>> get(const api::GetIntegrityVolumeRequest& request);
    Task<core::Result<api::StatsIntegrityVolumeResponse>> stats(
        const api::StatsIntegrityVolumeRequest& request);
    Task<core::Result<api::IntegrityVolume>> scrub(const api::ScrubIntegrityVolumeRequest& request);

    [[nodiscard]] std::vector<Layer> stored() const override;
    Task<core::Result<void>> build_stored(std::string volume) override;

  private:
    using Integrity = Object<api::IntegrityVolume>;

    /// The resource with what the data plane says of it.
    [[nodiscard]] api::IntegrityVolume shown(const Integrity& object) const;

    Context& context_;
};

}  // namespace remora::control
