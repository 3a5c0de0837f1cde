// SPDX-License-Identifier: Apache-2.0
#include "control/disks.h"

#include "control/references.h"
#include "control/validate_qos.h"

namespace remora::control {

using core::ErrorKind;
using core::Result;
using reactor::Task;

std::string Disks::socket_path(const opi::VirtioBlk& disk) const {
    return context_.options.socket_directory + "/" + std::string(last_segment(disk.name()));
}

std::uint32_t Disks::queues_for(const opi::VirtioBlk& disk) const {
    return disk.max_io_qps() > 0 ? static_cast<std::uint32_t>(disk.max_io_qps())
                                 : context_.options.reactors;
}

std::uint32_t Disks::queues(const Object<opi::VirtioBlk>& disk) const {
    return disk.known.queues() > 0 ? disk.known.queues() : queues_for(disk.resource);
}

platform::PlugRequest Disks::plug_request(const Object<opi::VirtioBlk>& disk) const {
    return {function_of(disk.resource), socket_path(disk.resource), queues(disk)};
}

Task<Result<void>> Disks::serve(const Object<opi::VirtioBlk>& disk) {
    const auto served =
        co_await context_.node.vhost_blk_status(std::string(last_segment(disk.resource.name())));
    if (served || served.error().kind != ErrorKind::NotFound) {
        co_return served ? Result<void>() : std::unexpected(served.error());
    }
    node::VhostBlkSpec spec;
    spec.name = std::string(last_segment(disk.resource.name()));
    spec.volume = disk.known.volume();
    spec.socket_path = socket_path(disk.resource);
    spec.queues = queues(disk);
    if (const auto rates = read_rates("max_limit", disk.resource.max_limit())) {
        spec.rates = *rates;
    }
    co_return co_await context_.node.create_vhost_blk(spec);
}

Task<Result<void>> Disks::unserve(const opi::VirtioBlk& disk) {
    auto gone = co_await context_.node.delete_vhost_blk(std::string(last_segment(disk.name())));
    if (!gone && gone.error().kind != ErrorKind::NotFound) {
        co_return gone;
    }
    co_return Result<void>();
}

Task<Result<std::string>> Disks::raise(const Object<opi::VirtioBlk>& disk) {
    if (auto served = co_await serve(disk); !served) {
        co_return std::unexpected(served.error());
    }
    auto address = co_await plug(disk);
    if (!address && address.error().kind != ErrorKind::DeadlineExceeded) {
        (void)co_await unserve(disk.resource);
    }
    co_return address;
}

Task<Result<std::string>> Disks::plug(const Object<opi::VirtioBlk>& disk) {
    if (auto served = co_await serve(disk); !served) {
        co_return std::unexpected(served.error());
    }
    auto address = co_await context_.host.plug(plug_request(disk));
    if (address) {
        context_.pci_addresses[function_of(disk.resource)] = *address;
    }
    co_return address;
}

Task<Result<void>> Disks::unplug(std::uint32_t function) {
    auto gone = co_await context_.host.unplug(function);
    if (gone) {
        context_.pci_addresses.erase(function);
    }
    co_return gone;
}

}  // namespace remora::control
