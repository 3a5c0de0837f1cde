// SPDX-License-Identifier: Apache-2.0
// Disks: raising a virtio-blk device (vhost-user socket, then the host's PCI place) and lowering
// it again. Used by the virtio-blk calls, by attach and detach, and after a restart; the caller
// holds the locks and keeps the store. Control reactor only.
#pragma once

#include <string>

#include "control/context.h"
#include "platform/host_platform.h"

namespace remora::control {

class Disks {
  public:
    explicit Disks(Context& context) : context_(context) {}

    [[nodiscard]] std::string socket_path(const opi::VirtioBlk& disk) const;
    /// How many queues a device that is made now gets; kept in its record from then on.
    [[nodiscard]] std::uint32_t queues_for(const opi::VirtioBlk& disk) const;
    [[nodiscard]] platform::PlugRequest plug_request(const Object<opi::VirtioBlk>& disk) const;

    /// Serves the socket and plugs it in. Returns the PCI address, empty without a host platform.
    /// On an error nothing is left behind, but after DeadlineExceeded: then the host may have the
    /// device, and it is still served.
    reactor::Task<core::Result<std::string>> raise(const Object<opi::VirtioBlk>& disk);
    /// Serves the socket only; no error when it is served already.
    reactor::Task<core::Result<void>> serve(const Object<opi::VirtioBlk>& disk);
    /// Plugs it in, after making sure that it is served: a QEMU that is given a socket where
    /// nobody listens waits for it with its guest stopped.
    reactor::Task<core::Result<std::string>> plug(const Object<opi::VirtioBlk>& disk);
    /// Takes it from the host. What is gone already is no error.
    reactor::Task<core::Result<void>> unplug(std::uint32_t function);
    /// Ends the socket. What is gone already is no error.
    reactor::Task<core::Result<void>> unserve(const opi::VirtioBlk& disk);

  private:
    [[nodiscard]] std::uint32_t queues(const Object<opi::VirtioBlk>& disk) const;

    Context& context_;
};

}  // namespace remora::control
