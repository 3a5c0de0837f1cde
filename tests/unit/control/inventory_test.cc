// SPDX-License-Identifier: Apache-2.0
// OPI's inventory over gRPC: a machine that a folder of files makes up, from the files to the
// client's message.
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

const std::string kGet = "opi_api.inventory.v1.InventoryService.GetInventory";

TEST_F(GrpcTest, Inventory_ofAMachine_isComplete) {
    for (const auto& [name, content] :
         std::vector<std::pair<std::string, std::string>>{{"bios_vendor", "Example Firmware"},
                                                          {"bios_version", "1.2"},
                                                          {"bios_date", "04/01/2024"},
                                                          {"product_family", "Family"},
                                                          {"product_name", "Name"},
                                                          {"sys_vendor", "Vendor"},
                                                          {"product_serial", "S1"},
                                                          {"product_uuid", "11111111-2222"},
                                                          {"product_sku", "SKU"},
                                                          {"product_version", "V"},
                                                          {"board_asset_tag", "BA"},
                                                          {"board_serial", "BS"},
                                                          {"board_vendor", "BV"},
                                                          {"board_version", "BX"},
                                                          {"board_name", "BN"},
                                                          {"chassis_asset_tag", "CA"},
                                                          {"chassis_serial", "CS"},
                                                          {"chassis_type", "23"},
                                                          {"chassis_vendor", "CV"},
                                                          {"chassis_version", "CX"}}) {
        machine().file("/sys/class/dmi/id/" + name, content + "\n");
    }
    machine().file("/sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0-1\n");
    machine().file("/sys/devices/system/cpu/cpu1/topology/core_cpus_list", "0-1\n");
    machine().file("/sys/devices/system/memory/block_size_bytes", "8000000\n");
    machine().file("/sys/devices/system/memory/memory0/state", "online\n");
    machine().file("/proc/meminfo", "MemTotal:         100000 kB\n");
    const std::string nic = "/sys/bus/pci/devices/0000:02:00.0/";
    for (const auto& [name, content] :
         std::vector<std::pair<std::string, std::string>>{{"vendor", "0x8086"},
                                                          {"device", "0x1592"},
                                                          {"revision", "0x02"},
                                                          {"subsystem_vendor", "0x8086"},
                                                          {"subsystem_device", "0x0002"},
                                                          {"class", "0x020000"}}) {
        machine().file(nic + name, content + "\n");
    }
    machine().link(nic + "driver", "../../../bus/pci/drivers/ice");
    serve();

    std::string answer;
    const grpc::Status status = call(kGet, R"(name: "inventory/1/inventory/1")", &answer);

    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(answer,
              R"(bios { vendor: "Example Firmware" version: "1.2" date: "04/01/2024" } )"
              R"(system { family: "Family" name: "Name" vendor: "Vendor" serial_number: "S1" )"
              R"(uuid: "11111111-2222" sku: "SKU" version: "V" } )"
              R"(baseboard { asset_tag: "BA" serial_number: "BS" vendor: "BV" version: "BX" )"
              R"(product: "BN" } )"
              R"(chassis { asset_tag: "CA" serial_number: "CS" type: "23" )"
              R"(type_description: "Rack Mount Chassis" vendor: "CV" version: "CX" } )"
              R"(processor { total_cores: 1 total_threads: 2 } )"
              R"(memory { total_physical_bytes: 134217728 total_usable_bytes: 102400000 } )"
              R"(pci { driver: "ice" address: "0000:02:00.0" vendor: "0x8086" product: "0x1592" )"
              R"(revision: "0x02" subsystem: "0x8086:0x0002" class: "0x02" subclass: "0x00" })");
}

TEST_F(GrpcTest, Inventory_ofAMachineThatTellsNothing_isEmpty) {
    serve();

    std::string answer;
    const grpc::Status status = call(kGet, R"(name: "todo")", &answer);

    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(answer, "bios { } system { } baseboard { } chassis { } processor { } memory { }");
}

TEST_F(GrpcTest, Inventory_ofBytesThatAreNoText_reachesTheClient) {
    machine().file("/sys/class/dmi/id/sys_vendor", "\xff\xfe\x01 evil\n");
    serve();

    std::string answer;
    const grpc::Status status = call(kGet, R"(name: "todo")", &answer);

    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_NE(answer.find(R"(vendor: "??? evil")"), std::string::npos) << answer;
}

TEST_F(GrpcTest, Inventory_request_isCheckedFirst) {
    EXPECT_EQ(call(kGet, R"(name: "todo")", nullptr).error_code(), grpc::StatusCode::UNAVAILABLE);
    serve();

    const grpc::Status nameless = call(kGet, "", nullptr);

    EXPECT_EQ(nameless.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_EQ(nameless.error_message(), "missing required field: name");
    EXPECT_EQ(call(kGet, R"(name: "-no")", nullptr).error_code(),
              grpc::StatusCode::INVALID_ARGUMENT);
}

}  // namespace

}  // namespace remora::test
