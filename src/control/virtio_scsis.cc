// SPDX-License-Identifier: Apache-2.0
#include "control/virtio_scsis.h"

#include "control/absent_kind.h"

namespace remora::control {

using core::Result;

namespace {

constexpr std::string_view kInstead =
    "show the volume as a virtio-blk device (FrontendVirtioBlkService CreateVirtioBlk)";
constexpr AbsentKind kTarget{
    "virtio-scsi target", "virtio_scsi_target", {"virtioScsiTargets", ""}, kInstead};
constexpr AbsentKind kController{"virtio-scsi controller",
                                 "virtio_scsi_controller",
                                 {"volumes", "virtioScsiControllers"},
                                 kInstead};
constexpr AbsentKind kLun{
    "virtio-scsi LUN", "virtio_scsi_lun", {"volumes", "virtioScsiLuns"}, kInstead};

}  // namespace

Task<Result<opi::VirtioScsiTarget>> VirtioScsis::create_target(
    const opi::CreateVirtioScsiTargetRequest& request) {
    co_return kTarget.create(request, "virtio_scsi_target_id", request.virtio_scsi_target_id(),
                             context_.prng);
}

Task<Result<Empty>> VirtioScsis::remove_target(const opi::DeleteVirtioScsiTargetRequest& request) {
    if (auto removed = kTarget.remove(request, request.name(), request.allow_missing()); !removed) {
        co_return std::unexpected(removed.error());
    }
    co_return Empty();
}

Task<Result<opi::VirtioScsiTarget>> VirtioScsis::update_target(
    const opi::UpdateVirtioScsiTargetRequest& request) {
    co_return kTarget.refuse(request, request.virtio_scsi_target().name());
}

Task<Result<opi::ListVirtioScsiTargetsResponse>> VirtioScsis::list_targets(
    const opi::ListVirtioScsiTargetsRequest& request) {
    const auto valid = kTarget.check_list(request, request.page_size(), request.page_token());
    if (!valid) {
        co_return std::unexpected(valid.error());
    }
    co_return opi::ListVirtioScsiTargetsResponse();
}

Task<Result<opi::VirtioScsiTarget>> VirtioScsis::get_target(
    const opi::GetVirtioScsiTargetRequest& request) {
    co_return kTarget.get(request, request.name());
}

Task<Result<opi::StatsVirtioScsiTargetResponse>> VirtioScsis::stats_target(
    const opi::StatsVirtioScsiTargetRequest& request) {
    co_return kTarget.refuse(request, request.name());
}

Task<Result<opi::VirtioScsiController>> VirtioScsis::create_controller(
    const opi::CreateVirtioScsiControllerRequest& request) {
    co_return kController.create(request, "virtio_scsi_controller_id",
                                 request.virtio_scsi_controller_id(), context_.prng);
}

Task<Result<Empty>> VirtioScsis::remove_controller(
    const opi::DeleteVirtioScsiControllerRequest& request) {
    if (auto removed = kController.remove(request, request.name(), request.allow_missing());
        !removed) {
        co_return std::unexpected(removed.error());
    }
    co_return Empty();
}

Task<Result<opi::VirtioScsiController>> VirtioScsis::update_controller(
    const opi::UpdateVirtioScsiControllerRequest& request) {
    co_return kController.refuse(request, request.virtio_scsi_controller().name());
}

Task<Result<opi::ListVirtioScsiControllersResponse>> VirtioScsis::list_controllers(
    const opi::ListVirtioScsiControllersRequest& request) {
    const auto valid = kController.check_list(request, request.page_size(), request.page_token());
    if (!valid) {
        co_return std::unexpected(valid.error());
    }
    co_return opi::ListVirtioScsiControllersResponse();
}

Task<Result<opi::VirtioScsiController>> VirtioScsis::get_controller(
    const opi::GetVirtioScsiControllerRequest& request) {
    co_return kController.get(request, request.name());
}

Task<Result<opi::StatsVirtioScsiControllerResponse>> VirtioScsis::stats_controller(
    const opi::StatsVirtioScsiControllerRequest& request) {
    co_return kController.refuse(request, request.name());
}

Task<Result<opi::VirtioScsiLun>> VirtioScsis::create_lun(
    const opi::CreateVirtioScsiLunRequest& request) {
    co_return kLun.create(request, "virtio_scsi_lun_id", request.virtio_scsi_lun_id(),
                          context_.prng);
}

Task<Result<Empty>> VirtioScsis::remove_lun(const opi::DeleteVirtioScsiLunRequest& request) {
    if (auto removed = kLun.remove(request, request.name(), request.allow_missing()); !removed) {
        co_return std::unexpected(removed.error());
    }
    co_return Empty();
}

Task<Result<opi::VirtioScsiLun>> VirtioScsis::update_lun(
    const opi::UpdateVirtioScsiLunRequest& request) {
    co_return kLun.refuse(request, request.virtio_scsi_lun().name());
}

Task<Result<opi::ListVirtioScsiLunsResponse>> VirtioScsis::list_luns(
    const opi::ListVirtioScsiLunsRequest& request) {
    const auto valid = kLun.check_list(request, request.page_size(), request.page_token());
    if (!valid) {
        co_return std::unexpected(valid.error());
    }
    co_return opi::ListVirtioScsiLunsResponse();
}

Task<Result<opi::VirtioScsiLun>> VirtioScsis::get_lun(const opi::GetVirtioScsiLunRequest& request) {
    co_return kLun.get(request, request.name());
}

Task<Result<opi::StatsVirtioScsiLunResponse>> VirtioScsis::stats_lun(
    const opi::StatsVirtioScsiLunRequest& request) {
    co_return kLun.refuse(request, request.name());
}

}  // namespace remora::control
