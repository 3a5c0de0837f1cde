// SPDX-License-Identifier: Apache-2.0
// Attachments: AttachVolume and DetachVolume, one atomic, idempotent call each.
//
// Attach: find the volume (remote controller started, not yet stored) -> store everything as
// pending in one transaction -> serve and plug -> store as ready -> answer. Detach: store as
// removing -> unplug -> stop serving -> stop the remote controller if nobody else uses it -> erase
// everything in one transaction -> answer. What a crash leaves pending or removing is dismantled
// after the restart, so an attachment is wholly there or wholly gone. Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/attached_devices.h"
#include "control/context.h"
#include "control/disks.h"
#include "control/volume_finder.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class Attachments {
  public:
    Attachments(Context& context, Disks& disks, Subsystems& subsystems)
        : context_(context),
          disks_(disks),
          devices_(context, disks, subsystems),
          finder_(context) {}

    Task<core::Result<api::Attachment>> attach(const api::AttachVolumeRequest& request);
    Task<core::Result<Empty>> detach(const api::DetachVolumeRequest& request);
    Task<core::Result<api::Attachment>> get(const api::GetAttachmentRequest& request);
    Task<core::Result<api::ListAttachmentsResponse>> list(
        const api::ListAttachmentsRequest& request);

    /// Finishes what a crash or a host that did not answer left half done; true when nothing is.
    Task<bool> finish_removals();

    /// Attachments that use the remote controller, by name.
    [[nodiscard]] std::vector<std::string> users_of(const std::string& remote_controller) const;

  private:
    struct Wanted {
        reactor::Endpoint discovery;
        core::Uuid volume;
        std::optional<core::HostFunction> function;
        std::string hostnqn;
        api::DeviceKind kind = api::DEVICE_KIND_VIRTIO_BLK;
    };

    [[nodiscard]] core::Result<Wanted> read(const api::AttachVolumeRequest& request) const;
    /// The caller holds the volume's lock, and the function's when one is wanted.
    Task<core::Result<api::Attachment>> attach_locked(Wanted wanted);
    [[nodiscard]] static core::Result<void> check_same(const Object<api::Attachment>& existing,
                                                       const Wanted& wanted);
    Task<core::Result<api::Attachment>> again(const Object<api::Attachment>& existing);
    [[nodiscard]] core::Result<void> check_function_free(core::HostFunction function) const;
    [[nodiscard]] core::Result<core::HostFunction> lowest_free_function() const;
    core::Result<api::Attachment> store_pending(const Wanted& wanted,
                                                const FoundVolume& found,
                                                core::HostFunction function);
    Task<core::Result<api::Attachment>> raise(api::Attachment attachment);
    /// `plugged` false: the host has not got it, as far as is known, and need not be asked.
    Task<core::Result<void>> dismantle(std::string name, bool plugged);
    Task<core::Result<void>> stop_remote(std::string remote_id);
    core::Result<void> forget(const std::string& name, bool last_user);
    core::Result<void> set_intent(const std::string& name, state::Intent intent);
    /// Which disk a call is about: the one of a name, or without one that of a volume.
    struct Named {
        std::string name;
        core::Uuid volume;

        /// What a call that is making it, or removing it, holds.
        [[nodiscard]] std::vector<std::string> locks() const;
        /// That there is none.
        [[nodiscard]] std::string absence() const;
    };
    static core::Result<Named> read(const api::DetachVolumeRequest& request);
    [[nodiscard]] const Object<api::Attachment>* find(const Named& named) const;
    [[nodiscard]] std::vector<std::string> locks_of(const api::Attachment& attachment) const;
    [[nodiscard]] api::Attachment shown(const Object<api::Attachment>& object) const;

    Context& context_;
    Disks& disks_;
    AttachedDevices devices_;
    VolumeFinder finder_;
};

/// The attachment of the volume; null when there is none.
const Object<api::Attachment>* find_attachment(const Model& model, const core::Uuid& uuid);
std::string attachment_name(core::HostFunction function);

}  // namespace remora::control
