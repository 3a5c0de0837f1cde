// SPDX-License-Identifier: Apache-2.0
// Disks: what the data plane and the host do for a function of the local host: its socket served,
// plugged, unplugged. Nothing is stored here; the callers keep the locks. Control reactor only.
#pragma once

#include <string>

#include "control/context.h"
#include "control/host_functions.h"
#include "control/model.h"
#include "platform/host_platform.h"

namespace remora::control {

class Disks {
  public:
    explicit Disks(Context& context) : context_(context) {}

    [[nodiscard]] std::string socket_path(const opi::VirtioBlk& disk) const;
    [[nodiscard]] std::string socket_path(const opi::NvmeController& controller) const;
    /// How many queues (of an NVMe controller: pairs for I/O) a device that is made now gets; kept
    /// in its record from then on.
    [[nodiscard]] std::uint32_t queues_for(const opi::VirtioBlk& disk) const;
    [[nodiscard]] static std::uint32_t queues_for(const opi::NvmeController& controller);
    [[nodiscard]] platform::PlugRequest plug_request(const Object<opi::VirtioBlk>& disk) const;
    [[nodiscard]] platform::PlugRequest plug_request(
        const Object<opi::NvmeController>& controller) const;

    /// Serves the socket and plugs it in. Returns the PCI address, empty without a host platform.
    /// On an error nothing is left behind, but after DeadlineExceeded: then the host may have the
    /// device, and it is still served.
    template <typename M>
    reactor::Task<core::Result<std::string>> raise(const Object<M>& device);
    /// Serves the socket only; no error when it is served already.
    reactor::Task<core::Result<void>> serve(const Object<opi::VirtioBlk>& disk);
    reactor::Task<core::Result<void>> serve(const Object<opi::NvmeController>& controller);
    /// Plugs it in, after making sure that it is served: a QEMU that is given a socket where
    /// nobody listens waits for it with its guest stopped.
    template <typename M>
    reactor::Task<core::Result<std::string>> plug(const Object<M>& device);
    /// Takes it from the host. What is gone already is no error: also when there is no host and the
    /// device has no client, as after the end of a QEMU.
    reactor::Task<core::Result<void>> unplug(core::HostFunction function);
    /// Ends the socket. What is gone already is no error.
    reactor::Task<core::Result<void>> unserve(const opi::VirtioBlk& disk);
    reactor::Task<core::Result<void>> unserve(const opi::NvmeController& controller);

  private:
    /// Whether somebody is connected to what is served for the function.
    reactor::Task<bool> has_client(core::HostFunction function);
    [[nodiscard]] std::uint32_t queues(const Object<opi::VirtioBlk>& disk) const;

    Context& context_;
};

template <typename M>
reactor::Task<core::Result<std::string>> Disks::raise(const Object<M>& device) {
    if (auto served = co_await serve(device); !served) {
        co_return std::unexpected(served.error());
    }
    auto address = co_await plug(device);
    if (!address && address.error().kind != core::ErrorKind::DeadlineExceeded) {
        (void)co_await unserve(device.resource);
    }
    co_return address;
}

template <typename M>
reactor::Task<core::Result<std::string>> Disks::plug(const Object<M>& device) {
    if (auto served = co_await serve(device); !served) {
        co_return std::unexpected(served.error());
    }
    auto address = co_await context_.host.plug(plug_request(device));
    if (address) {
        context_.pci_addresses[function_of(device.resource)] = *address;
    }
    co_return address;
}

}  // namespace remora::control
