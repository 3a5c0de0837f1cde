// SPDX-License-Identifier: Apache-2.0
#include "control/disks.h"

#include <string>
#include <vector>

#include "control/child_calls.h"
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
    return {function_of(disk.resource), socket_path(disk.resource), queues(disk),
            platform::DeviceKind::VirtioBlk};
}

std::string Disks::socket_path(const opi::NvmeController& controller) const {
    return context_.options.socket_directory + "/" + node_controller_name(controller);
}

std::uint32_t Disks::queues_for(const opi::NvmeController& controller) {
    // As many as most hosts have processors: one that has fewer makes fewer.
    constexpr std::uint32_t kDefaultPairs = 16;
    const std::int32_t asked = controller.spec().max_nsq();
    return asked > 0 ? static_cast<std::uint32_t>(asked) : kDefaultPairs;
}

platform::PlugRequest Disks::plug_request(const Object<opi::NvmeController>& controller) const {
    return {function_of(controller.resource), socket_path(controller.resource),
            controller.known.queues(), platform::DeviceKind::Nvme};
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

Task<Result<void>> Disks::serve(const Object<opi::NvmeController>& controller) {
    const std::string name = node_controller_name(controller.resource);
    const auto served = co_await context_.node.vfio_nvme_status(name);
    if (served || served.error().kind != ErrorKind::NotFound) {
        co_return served ? Result<void>() : std::unexpected(served.error());
    }
    const auto* subsystem =
        context_.model.find<opi::NvmeSubsystem>(parent_of(controller.resource.name()));
    if (subsystem == nullptr) {
        co_return core::fail(ErrorKind::DataLoss, "its subsystem is not in the store");
    }
    const opi::NvmeSubsystemSpec& of = subsystem->resource.spec();
    node::VfioNvmeSpec spec;
    spec.name = name;
    spec.socket_path = socket_path(controller.resource);
    spec.io_queues = controller.known.queues();
    spec.nqn = of.nqn();
    spec.serial = of.serial_number();
    spec.model = of.model_number();
    spec.max_namespaces = static_cast<std::uint32_t>(of.max_namespaces());
    spec.cntlid = static_cast<std::uint16_t>(controller.resource.spec().nvme_controller_id());
    // What an attachment made is for its one disk.
    spec.one_controller = !subsystem->known.attachment().empty();
    spec.msix = context_.options.nvme_msix;
    if (const auto rates = read_rates("spec.max_limit", controller.resource.spec().max_limit())) {
        spec.rates = *rates;
    }
    co_return co_await context_.node.create_vfio_nvme(std::move(spec));
}

Task<Result<void>> Disks::unserve(const opi::NvmeController& controller) {
    auto gone = co_await context_.node.delete_vfio_nvme(node_controller_name(controller));
    if (!gone && gone.error().kind != ErrorKind::NotFound) {
        co_return gone;
    }
    co_return Result<void>();
}

Task<bool> Disks::has_client(core::HostFunction function) {
    std::vector<std::string> disks;
    std::vector<std::string> controllers;
    for (const auto& [name, object] : context_.model.table<opi::VirtioBlk>()) {
        if (is_host_function(object.resource) && function_of(object.resource) == function) {
            disks.emplace_back(last_segment(name));
        }
    }
    for (const auto& [name, object] : context_.model.table<opi::NvmeController>()) {
        if (is_host_function(object.resource) && function_of(object.resource) == function) {
            controllers.push_back(node_controller_name(object.resource));
        }
    }
    bool any = false;
    for (const std::string& name : disks) {
        const auto status = co_await context_.node.vhost_blk_status(name);
        any |= status && status->connected;
    }
    for (const std::string& name : controllers) {
        const auto status = co_await context_.node.vfio_nvme_status(name);
        any |= status && status->connected;
    }
    co_return any;
}

Task<Result<void>> Disks::unplug(core::HostFunction function) {
    auto gone = co_await context_.host.unplug(function);
    if (!gone && gone.error().kind == ErrorKind::NotFound) {
        if (co_await has_client(function)) {
            co_return core::fail(ErrorKind::Unavailable, gone.error().message);
        }
        gone = Result<void>();
    }
    if (gone) {
        context_.pci_addresses.erase(function);
    }
    co_return gone;
}

}  // namespace remora::control
