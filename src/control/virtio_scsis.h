// SPDX-License-Identifier: Apache-2.0
// VirtioScsis: the virtio-scsi front end of OPI's API. This build has none: no target, controller
// or LUN exists. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "storage/frontend_virtio_scsi.pb.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class VirtioScsis {
  public:
    explicit VirtioScsis(Context& context) : context_(context) {}

    Task<core::Result<opi::VirtioScsiTarget>> create_target(
        const opi::CreateVirtioScsiTargetRequest& request);
    Task<core::Result<Empty>> remove_target(const opi::DeleteVirtioScsiTargetRequest& request);
    Task<core::Result<opi::VirtioScsiTarget>> update_target(
        const opi::UpdateVirtioScsiTargetRequest& request);
    Task<core::Result<opi::ListVirtioScsiTargetsResponse>> list_targets(
        const opi::ListVirtioScsiTargetsRequest& request);
    Task<core::Result<opi::VirtioScsiTarget>> get_target(
        const opi::GetVirtioScsiTargetRequest& request);
    Task<core::Result<opi::StatsVirtioScsiTargetResponse>> stats_target(
        const opi::StatsVirtioScsiTargetRequest& request);

    Task<core::Result<opi::VirtioScsiController>> create_controller(
        const opi::CreateVirtioScsiControllerRequest& request);
    Task<core::Result<Empty>> remove_controller(
        const opi::DeleteVirtioScsiControllerRequest& request);
    Task<core::Result<opi::VirtioScsiController>> update_controller(
        const opi::UpdateVirtioScsiControllerRequest& request);
    Task<core::Result<opi::ListVirtioScsiControllersResponse>> list_controllers(
        const opi::ListVirtioScsiControllersRequest& request);
    Task<core::Result<opi::VirtioScsiController>> get_controller(
        const opi::GetVirtioScsiControllerRequest& request);
    Task<core::Result<opi::StatsVirtioScsiControllerResponse>> stats_controller(
        const opi::StatsVirtioScsiControllerRequest& request);

    Task<core::Result<opi::VirtioScsiLun>> create_lun(
        const opi::CreateVirtioScsiLunRequest& request);
    Task<core::Result<Empty>> remove_lun(const opi::DeleteVirtioScsiLunRequest& request);
    Task<core::Result<opi::VirtioScsiLun>> update_lun(
        const opi::UpdateVirtioScsiLunRequest& request);
    Task<core::Result<opi::ListVirtioScsiLunsResponse>> list_luns(
        const opi::ListVirtioScsiLunsRequest& request);
    Task<core::Result<opi::VirtioScsiLun>> get_lun(const opi::GetVirtioScsiLunRequest& request);
    Task<core::Result<opi::StatsVirtioScsiLunResponse>> stats_lun(
        const opi::StatsVirtioScsiLunRequest& request);

  private:
    Context& context_;
};

}  // namespace remora::control
