// SPDX-License-Identifier: Apache-2.0
#include "control/attached_devices.h"

#include <utility>

#include "control/child_calls.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Task;
using Attachment = api::Attachment;
using Disk = opi::VirtioBlk;
using Controller = opi::NvmeController;

namespace {

constexpr std::string_view kNamespace = "/nvmeNamespaces/volume";

bool is_nvme(const Attachment& attachment) {
    return attachment.as() == api::DEVICE_KIND_NVME;
}

/// The volume's, too, so the socket is: what a host was given for another volume at the same place
/// is never taken for this one.
std::string device_id_of(const Attachment& attachment) {
    return "attached-" + attached_function(attachment).text() + "-" +
           attachment.volume_uuid().substr(0, 8);
}

void set_address(opi::PciEndpoint& pcie, const Attachment& attachment) {
    pcie.mutable_port_id()->set_value(0);
    pcie.mutable_physical_function()->set_value(attachment.host_function());
    pcie.mutable_virtual_function()->set_value(attachment.host_virtual_function());
}

std::unexpected<core::Error> taken(std::string_view noun, const std::string& name) {
    return fail(ErrorKind::AlreadyExists, "a " + std::string(noun) +
                                              " was made by hand under the name " + name +
                                              ", which attachments use; delete it");
}

}  // namespace

Result<void> AttachedDevices::add(Attachment& attachment,
                                  const std::string& volume,
                                  Transaction& transaction) const {
    return is_nvme(attachment) ? add_controller(attachment, volume, transaction)
                               : add_disk(attachment, volume, transaction);
}

Result<void> AttachedDevices::add_disk(Attachment& attachment,
                                       const std::string& volume,
                                       Transaction& transaction) const {
    Object<Disk> disk;
    disk.resource.set_name("volumes/" + device_id_of(attachment));
    if (context_.model.find<Disk>(disk.resource.name()) != nullptr) {
        return taken("virtio-blk device", disk.resource.name());
    }
    set_address(*disk.resource.mutable_pcie_id(), attachment);
    disk.resource.set_volume_name_ref(volume);
    disk.known.set_intent(state::INTENT_PENDING);
    disk.known.set_attachment(attachment.name());
    disk.known.set_volume(volume);
    disk.known.set_queues(disks_.queues_for(disk.resource));
    attachment.set_virtio_blk(disk.resource.name());
    attachment.set_socket_path(disks_.socket_path(disk.resource));
    transaction.put(std::move(disk));
    return {};
}

Result<void> AttachedDevices::add_controller(Attachment& attachment,
                                             const std::string& volume,
                                             Transaction& transaction) const {
    Object<opi::NvmeSubsystem> subsystem;
    subsystem.resource.set_name("nvmeSubsystems/" + device_id_of(attachment));
    const std::string& parent = subsystem.resource.name();
    if (context_.model.find<opi::NvmeSubsystem>(parent) != nullptr) {
        return taken("subsystem", parent);
    }
    opi::NvmeSubsystemSpec& spec = *subsystem.resource.mutable_spec();
    spec.set_nqn("nqn.2014-08.org.nvmexpress:uuid:" + attachment.volume_uuid());
    spec.set_serial_number(attachment.serial());
    spec.set_model_number("Remora");
    spec.set_max_namespaces(1);
    subsystem.resource.mutable_status()->set_firmware_revision(context_.options.version);
    subsystem.known.set_attachment(attachment.name());

    Object<opi::NvmeNamespace> space;
    space.resource.set_name(parent + std::string(kNamespace));
    space.resource.mutable_spec()->set_host_nsid(1);
    space.resource.mutable_spec()->set_uuid(attachment.volume_uuid());
    space.resource.mutable_spec()->set_volume_name_ref(volume);
    space.resource.mutable_status()->set_state(opi::NvmeNamespaceStatus::STATE_ENABLED);
    space.resource.mutable_status()->set_oper_state(opi::NvmeNamespaceStatus::OPER_STATE_ONLINE);
    space.known.set_volume(volume);
    space.known.set_attachment(attachment.name());

    Object<Controller> controller;
    controller.resource.set_name(parent + "/nvmeControllers/pci");
    opi::NvmeControllerSpec& function = *controller.resource.mutable_spec();
    function.set_trtype(opi::NVME_TRANSPORT_TYPE_PCIE);
    set_address(*function.mutable_pcie_id(), attachment);
    function.set_nvme_controller_id(controller_id_of(attached_function(attachment)));
    controller.resource.mutable_status()->set_active(true);
    controller.known.set_queues(Disks::queues_for(controller.resource));
    controller.known.set_intent(state::INTENT_PENDING);
    controller.known.set_attachment(attachment.name());

    attachment.set_nvme_controller(controller.resource.name());
    attachment.set_socket_path(disks_.socket_path(controller.resource));
    transaction.put(std::move(subsystem));
    transaction.put(std::move(space));
    transaction.put(std::move(controller));
    return {};
}

void AttachedDevices::set_intent(const Attachment& attachment,
                                 state::Intent intent,
                                 Transaction& transaction) const {
    const auto change = [&]<typename M>(const Object<M>* stored) {
        Object<M> device = *stored;
        device.known.set_intent(intent);
        transaction.put(std::move(device));
    };
    if (is_nvme(attachment)) {
        change(context_.model.find<Controller>(attachment.nvme_controller()));
    } else {
        change(context_.model.find<Disk>(attachment.virtio_blk()));
    }
}

void AttachedDevices::erase(const Attachment& attachment, Transaction& transaction) {
    if (!is_nvme(attachment)) {
        transaction.erase<Disk>(attachment.virtio_blk());
        return;
    }
    const std::string parent = parent_of(attachment.nvme_controller());
    transaction.erase<Controller>(attachment.nvme_controller());
    transaction.erase<opi::NvmeNamespace>(parent + std::string(kNamespace));
    transaction.erase<opi::NvmeSubsystem>(parent);
}

Task<Result<void>> AttachedDevices::build_subsystem(std::string subsystem) {
    const auto* stored = context_.model.find<opi::NvmeSubsystem>(subsystem);
    const auto* space =
        context_.model.find<opi::NvmeNamespace>(subsystem + std::string(kNamespace));
    if (stored == nullptr || space == nullptr) {
        co_return fail(ErrorKind::DataLoss, subsystem + " is not whole in the store");
    }
    const Object<opi::NvmeNamespace> shown = *space;
    const std::string nqn = stored->resource.spec().nqn();
    if (auto built = co_await subsystems_.build_subsystem(stored->resource); !built) {
        co_return built;
    }
    const auto nsid = co_await subsystems_.build_namespace(shown, nqn);
    co_return nsid ? Result<void>() : std::unexpected(nsid.error());
}

Task<Result<std::string>> AttachedDevices::raise(Attachment attachment) {
    if (!is_nvme(attachment)) {
        const Object<Disk> disk = *context_.model.find<Disk>(attachment.virtio_blk());
        co_return co_await disks_.raise(disk);
    }
    const Object<Controller> controller =
        *context_.model.find<Controller>(attachment.nvme_controller());
    auto built = co_await build_subsystem(parent_of(attachment.nvme_controller()));
    Result<std::string> address = std::string();
    if (built) {
        address = co_await disks_.raise(controller);
    } else {
        address = std::unexpected(built.error());
    }
    if (!address && address.error().kind != ErrorKind::DeadlineExceeded) {
        (void)co_await unserve(attachment);
    }
    co_return address;
}

Task<Result<std::string>> AttachedDevices::plug(Attachment attachment) {
    const auto* disk = context_.model.find<Disk>(attachment.virtio_blk());
    const auto* controller = context_.model.find<Controller>(attachment.nvme_controller());
    if (disk != nullptr) {
        const Object<Disk> device = *disk;
        co_return co_await disks_.plug(device);
    }
    if (controller != nullptr) {
        const Object<Controller> device = *controller;
        co_return co_await disks_.plug(device);
    }
    co_return fail(ErrorKind::DataLoss, attachment.name() + " has no device in the store");
}

Task<Result<void>> AttachedDevices::unserve(Attachment attachment) {
    if (!is_nvme(attachment)) {
        Disk disk;
        disk.set_name(attachment.virtio_blk());
        co_return co_await disks_.unserve(disk);
    }
    const std::string& name = attachment.nvme_controller();
    if (const auto* stored = context_.model.find<Controller>(name)) {
        const Controller controller = stored->resource;
        if (auto ended = co_await disks_.unserve(controller); !ended) {
            co_return ended;
        }
    }
    // With its namespace.
    auto gone = co_await context_.node.delete_subsystem("nqn.2014-08.org.nvmexpress:uuid:" +
                                                        attachment.volume_uuid());
    if (!gone && gone.error().kind != ErrorKind::NotFound) {
        co_return gone;
    }
    co_return Result<void>();
}

}  // namespace remora::control
