// SPDX-License-Identifier: Apache-2.0
// Volumes: the malloc, null and aio volumes of OPI's API. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class Volumes {
  public:
    explicit Volumes(Context& context) : context_(context) {}

    Task<core::Result<opi::MallocVolume>> create_malloc(
        const opi::CreateMallocVolumeRequest& request);
    Task<core::Result<Empty>> delete_malloc(const opi::DeleteMallocVolumeRequest& request);
    Task<core::Result<opi::MallocVolume>> update_malloc(
        const opi::UpdateMallocVolumeRequest& request);
    Task<core::Result<opi::ListMallocVolumesResponse>> list_malloc(
        const opi::ListMallocVolumesRequest& request);
    Task<core::Result<opi::MallocVolume>> get_malloc(const opi::GetMallocVolumeRequest& request);
    Task<core::Result<opi::StatsMallocVolumeResponse>> stats_malloc(
        const opi::StatsMallocVolumeRequest& request);

    Task<core::Result<opi::NullVolume>> create_null(const opi::CreateNullVolumeRequest& request);
    Task<core::Result<Empty>> delete_null(const opi::DeleteNullVolumeRequest& request);
    Task<core::Result<opi::NullVolume>> update_null(const opi::UpdateNullVolumeRequest& request);
    Task<core::Result<opi::ListNullVolumesResponse>> list_null(
        const opi::ListNullVolumesRequest& request);
    Task<core::Result<opi::NullVolume>> get_null(const opi::GetNullVolumeRequest& request);
    Task<core::Result<opi::StatsNullVolumeResponse>> stats_null(
        const opi::StatsNullVolumeRequest& request);

    Task<core::Result<opi::AioVolume>> create_aio(const opi::CreateAioVolumeRequest& request);
    Task<core::Result<Empty>> delete_aio(const opi::DeleteAioVolumeRequest& request);
    Task<core::Result<opi::AioVolume>> update_aio(const opi::UpdateAioVolumeRequest& request);
    Task<core::Result<opi::ListAioVolumesResponse>> list_aio(
        const opi::ListAioVolumesRequest& request);
    Task<core::Result<opi::AioVolume>> get_aio(const opi::GetAioVolumeRequest& request);
    Task<core::Result<opi::StatsAioVolumeResponse>> stats_aio(
        const opi::StatsAioVolumeRequest& request);

    /// Builds every stored volume in the data plane. One that cannot be built is logged and left
    /// out; what stands on it fails by itself.
    Task<> rebuild();

  private:
    template <typename M>
    Task<core::Result<M>> create(const M& wanted, const std::string& id);
    template <typename M>
    Task<core::Result<M>> create_named(M volume, M asked);
    template <typename M>
    Task<core::Result<Empty>> remove(const std::string& raw_name, bool allow_missing);
    template <typename M>
    Task<core::Result<M>> grow(Object<M> wanted);
    template <typename M>
    core::Result<void> settle_growth(Object<M> object, const node::VolumeInfo& built);
    template <typename M>
    Task<core::Result<void>> rebuild_one(const Object<M>& object);
    template <typename M, typename Request>
    Task<core::Result<M>> update(const Request& request, const M& patch);
    template <typename M>
    Task<core::Result<opi::VolumeStats>> stats(const std::string& raw_name);
    template <typename M>
    Task<> rebuild_kind();

    Context& context_;
};

}  // namespace remora::control
