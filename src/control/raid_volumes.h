// SPDX-License-Identifier: Apache-2.0
// RaidVolumes: remora.v1's volumes that are made of several others. Control reactor only.
//
// Which volume has which place is what the superblocks on the members say. The store has the
// volumes that may belong to an array: a superset while a member is replaced, and brought up to
// date in the background (settle()), when a rebuild has ended or a spare has stepped in.
#pragma once

#include <string>
#include <vector>

#include <google/protobuf/empty.pb.h>

#include "control/layers.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class RaidVolumes final : public LayerKind {
  public:
    explicit RaidVolumes(Context& context) : context_(context) {}

    Task<core::Result<api::RaidVolume>> create(const api::CreateRaidVolumeRequest& request);
    Task<core::Result<Empty>> remove(const api::DeleteRaidVolumeRequest& request);
    Task<core::Result<api::RaidVolume>> update(const api::UpdateRaidVolumeRequest& request);
    Task<core::Result<api::ListRaidVolumesResponse>> list(
        const api::ListRaidVolumesRequest& request);
    Task<core::Result<api::RaidVolume>> get(const api::GetRaidVolumeRequest& request);
    Task<core::Result<api::StatsRaidVolumeResponse>> stats(
        const api::StatsRaidVolumeRequest& request);
    Task<core::Result<api::RaidVolume>> replace_member(
        const api::ReplaceRaidMemberRequest& request);
    Task<core::Result<api::RaidVolume>> remove_member(const api::RemoveRaidMemberRequest& request);
    Task<core::Result<api::RaidVolume>> scrub(const api::ScrubRaidVolumeRequest& request);

    [[nodiscard]] std::vector<Layer> stored() const override;
    Task<core::Result<void>> build_stored(std::string volume) override;

    /// Stores what the data plane says that arrays are made of now, and lets go of what is no part
    /// of one any more. Arrays that a call works on are left for the next time.
    void settle();

  private:
    using Raid = Object<api::RaidVolume>;
    /// The resource with what the data plane says of it.
    [[nodiscard]] api::RaidVolume shown(const Raid& object) const;
    /// The volumes that are named. Errors: those of resolve_volume(); InvalidArgument for one that
    /// is named twice.
    [[nodiscard]] core::Result<std::vector<Taken>> resolve_lowers(
        const api::RaidVolume& resource) const;
    /// Brings the spares to what the resource asks for.
    Task<core::Result<void>> change_spares(Raid object);
    Task<core::Result<void>> take_spare(std::string volume, Taken spare);
    /// Stores that another volume may belong to the array from now on.
    core::Result<void> announce(const std::string& name, const Taken& taken);
    /// The data plane's name of a member as the client calls it.
    [[nodiscard]] core::Result<std::string> member_of(const Raid& object,
                                                      const std::string& reference) const;
    core::Result<void> settle_one(Raid object);

    Context& context_;
};

}  // namespace remora::control
