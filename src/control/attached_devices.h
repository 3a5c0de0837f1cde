// SPDX-License-Identifier: Apache-2.0
// AttachedDevices: what an attachment shows the host: a virtio-blk disk, or an NVMe controller
// whose subsystem has the volume as its only namespace. The attachment's maker keeps the locks and
// the order of things. Control reactor only.
#pragma once

#include <string>

#include "control/context.h"
#include "control/disks.h"
#include "control/subsystems.h"

namespace remora::control {

class AttachedDevices {
  public:
    AttachedDevices(Context& context, Disks& disks, Subsystems& subsystems)
        : context_(context), disks_(disks), subsystems_(subsystems) {}

    /// Gives the attachment, which has its function, UUID and serial, a pending device on the data
    /// plane's volume. Errors: AlreadyExists when a client has made something of that name.
    core::Result<void> add(api::Attachment& attachment,
                           const std::string& volume,
                           Transaction& transaction) const;
    // Of an attachment that is stored.
    void set_intent(const api::Attachment& attachment,
                    state::Intent intent,
                    Transaction& transaction) const;
    static void erase(const api::Attachment& attachment, Transaction& transaction);

    /// Serves it and plugs it in. Returns the PCI address. On an error nothing is left behind, but
    /// after DeadlineExceeded: then the host may have it, and it is still served.
    reactor::Task<core::Result<std::string>> raise(api::Attachment attachment);
    /// Plugs it in anew if the host has lost it.
    reactor::Task<core::Result<std::string>> plug(api::Attachment attachment);
    /// Ends its socket. What is gone already is no error.
    reactor::Task<core::Result<void>> unserve(api::Attachment attachment);

  private:
    core::Result<void> add_disk(api::Attachment& attachment,
                                const std::string& volume,
                                Transaction& transaction) const;
    core::Result<void> add_controller(api::Attachment& attachment,
                                      const std::string& volume,
                                      Transaction& transaction) const;
    reactor::Task<core::Result<void>> build_subsystem(std::string subsystem);

    Context& context_;
    Disks& disks_;
    Subsystems& subsystems_;
};

}  // namespace remora::control
