// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "control/grpc_services.h"
#include "control/validate.h"
#include "inventory/inventory.grpc.pb.h"
#include "platform/machine.h"

namespace remora::control {

namespace {

namespace inventory = opi_api::inventory::v1;

inventory::PCIeDeviceInfo to_message(const platform::Machine::PciFunction& function) {
    inventory::PCIeDeviceInfo out;
    out.set_driver(function.driver);
    out.set_address(function.address);
    out.set_vendor(function.vendor);
    out.set_product(function.product);
    out.set_revision(function.revision);
    out.set_subsystem(function.subsystem);
    out.set_class_(function.class_code);
    out.set_subclass(function.subclass);
    return out;
}

void add_dmi(const platform::Machine& machine, inventory::Inventory& out) {
    auto& bios = *out.mutable_bios();
    bios.set_vendor(machine.bios.vendor);
    bios.set_version(machine.bios.version);
    bios.set_date(machine.bios.date);
    auto& system = *out.mutable_system();
    system.set_family(machine.system.family);
    system.set_name(machine.system.name);
    system.set_vendor(machine.system.vendor);
    system.set_serial_number(machine.system.serial_number);
    system.set_uuid(machine.system.uuid);
    system.set_sku(machine.system.sku);
    system.set_version(machine.system.version);
    auto& baseboard = *out.mutable_baseboard();
    baseboard.set_asset_tag(machine.baseboard.asset_tag);
    baseboard.set_serial_number(machine.baseboard.serial_number);
    baseboard.set_vendor(machine.baseboard.vendor);
    baseboard.set_version(machine.baseboard.version);
    baseboard.set_product(machine.baseboard.product);
    auto& chassis = *out.mutable_chassis();
    chassis.set_asset_tag(machine.chassis.asset_tag);
    chassis.set_serial_number(machine.chassis.serial_number);
    chassis.set_type(machine.chassis.type);
    chassis.set_type_description(machine.chassis.type_description);
    chassis.set_vendor(machine.chassis.vendor);
    chassis.set_version(machine.chassis.version);
}

class InventoryService final : public inventory::InventoryService::Service {
  public:
    InventoryService(Dispatcher& dispatcher, platform::MachineFiles files)
        : dispatcher_(dispatcher), files_(std::move(files)) {}

    grpc::Status GetInventory(grpc::ServerContext* /*context*/,
                              const inventory::GetInventoryRequest* request,
                              inventory::Inventory* response) override {
        // Reading files blocks: the control reactor has others to serve meanwhile.
        return dispatcher_.answer_here(*response, [&] { return read(*request); });
    }

  private:
    /// There is one machine: any name is its name, as with the other servers of this API.
    core::Result<inventory::Inventory> read(const inventory::GetInventoryRequest& request) const {
        if (auto complete = check_required(request); !complete) {
            return std::unexpected(complete.error());
        }
        if (auto formed = check_name("name", request.name()); !formed) {
            return std::unexpected(formed.error());
        }
        const platform::Machine machine = platform::read_machine(files_);
        inventory::Inventory out;
        add_dmi(machine, out);
        out.mutable_processor()->set_total_cores(machine.cores);
        out.mutable_processor()->set_total_threads(machine.threads);
        out.mutable_memory()->set_total_physical_bytes(machine.physical_bytes);
        out.mutable_memory()->set_total_usable_bytes(machine.usable_bytes);
        for (const auto& function : machine.pci) {
            *out.add_pci() = to_message(function);
        }
        return out;
    }

    Dispatcher& dispatcher_;
    platform::MachineFiles files_;
};

}  // namespace

void add_inventory_service(Dispatcher& dispatcher,
                           Services& services,
                           const platform::MachineFiles& machine) {
    services.add<inventory::InventoryService, InventoryService>(dispatcher, machine);
}

}  // namespace remora::control
