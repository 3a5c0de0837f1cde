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
    [[nodiscard]] std::uint32_t queues(const opi::VirtioBlk& disk) const;
    [[nodiscard]] platform::PlugRequest plug_request(const opi::VirtioBlk& disk) const;

    /// Serves the socket and plugs it in; nothing is left behind on an error. Returns the PCI
    /// address, empty without a host platform.
    reactor::Task<core::Result<std::string>> raise(const Object<opi::VirtioBlk>& disk);
    /// Serves the socket only.
    reactor::Task<core::Result<void>> serve(const Object<opi::VirtioBlk>& disk);
    /// Takes it from the host. What is gone already is no error.
    reactor::Task<core::Result<void>> unplug(std::uint32_t function);
    /// Ends the socket. What is gone already is no error.
    reactor::Task<core::Result<void>> unserve(const opi::VirtioBlk& disk);

  private:
    Context& context_;
};

}  // namespace remora::control
