// SPDX-License-Identifier: Apache-2.0
// What is read of a machine that a folder of files makes up: whole, in part, and with content that
// nobody would expect.
#include "platform/machine.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "platform/machine_text.h"
#include "tests/support/scratch_folder.h"

namespace remora::test {

namespace {

using platform::clean_line;
using platform::Machine;
using platform::MachineFiles;
using platform::parse_number;

class MachineTest : public testing::Test {
  protected:
    Machine read() { return platform::read_machine(MachineFiles(folder_.path())); }
    void dmi(const std::string& name, const std::string& content) {
        folder_.file("/sys/class/dmi/id/" + name, content);
    }
    void cpu(int number, const std::string& siblings, const char* name = "core_cpus_list") {
        folder_.file("/sys/devices/system/cpu/cpu" + std::to_string(number) + "/topology/" + name,
                     siblings + "\n");
    }
    void pci(const std::string& address, const std::string& name, const std::string& content) {
        folder_.file("/sys/bus/pci/devices/" + address + "/" + name, content);
    }

    ScratchFolder folder_;
};

TEST_F(MachineTest, NothingThere_readsAsNothing) {
    const Machine machine = read();

    EXPECT_EQ(machine.system.vendor + machine.bios.date + machine.chassis.type_description, "");
    EXPECT_EQ(machine.cores + machine.threads, 0U);
    EXPECT_EQ(machine.physical_bytes + machine.usable_bytes, 0);
    EXPECT_TRUE(machine.pci.empty());
}

TEST_F(MachineTest, Topology_countsCoresAndThreadsThatAreOnline) {
    cpu(0, "0,2");
    cpu(1, "1,3");
    cpu(2, "0,2");
    cpu(10, "1,3");
    folder_.file("/sys/devices/system/cpu/cpu11/online", "0\n");  // offline: no topology
    folder_.file("/sys/devices/system/cpu/cpufreq/topology/core_cpus_list", "9\n");
    folder_.file("/proc/cpuinfo", "processor : 0\n");

    const Machine machine = read();

    EXPECT_EQ(machine.cores, 2U);
    EXPECT_EQ(machine.threads, 4U);
}

TEST_F(MachineTest, TopologyOfOlderKernels_isUnderstood) {
    cpu(0, "0", "thread_siblings_list");
    cpu(1, "1", "thread_siblings_list");

    EXPECT_EQ(read().cores, 2U);
    EXPECT_EQ(read().threads, 2U);
}

TEST_F(MachineTest, Cpuinfo_standsInForTheTopology) {
    const auto processor = [](int number, int package, int core) {
        return "processor\t: " + std::to_string(number) +
               "\nphysical id\t: " + std::to_string(package) +
               "\ncore id\t\t: " + std::to_string(core) + "\n\n";
    };
    folder_.file("/proc/cpuinfo",
                 processor(0, 0, 0) + processor(1, 0, 0) + processor(2, 0, 1) + processor(3, 1, 0));

    EXPECT_EQ(read().cores, 3U);
    EXPECT_EQ(read().threads, 4U);
}

TEST_F(MachineTest, CpuinfoWithoutCores_leavesThemUnknown) {
    folder_.file("/proc/cpuinfo", "processor\t: 0\nBogoMIPS: 50\n\nprocessor\t: 1\n");

    EXPECT_EQ(read().cores, 0U);
    EXPECT_EQ(read().threads, 2U);
}

TEST_F(MachineTest, Memory_isBlocksOnlineAndMemTotal) {
    folder_.file("/sys/devices/system/memory/block_size_bytes", "40000000\n");
    folder_.file("/sys/devices/system/memory/memory0/state", "online\n");
    folder_.file("/sys/devices/system/memory/memory1/state", "offline\n");
    folder_.file("/sys/devices/system/memory/memory33/state", "online\n");
    folder_.file("/proc/meminfo", "MemFree: 7 kB\nMemTotal:        2000000 kB\n");

    EXPECT_EQ(read().physical_bytes, std::int64_t{2} << 30U);
    EXPECT_EQ(read().usable_bytes, 2'048'000'000);
}

TEST_F(MachineTest, NumbersThatCannotBe_readAsUnknown) {
    folder_.file("/sys/devices/system/memory/block_size_bytes", "ffffffffffffffff\n");
    folder_.file("/sys/devices/system/memory/memory0/state", "online\n");
    folder_.file("/proc/meminfo", "MemTotal: 18446744073709551615 kB\n");
    EXPECT_EQ(read().physical_bytes, 0);
    EXPECT_EQ(read().usable_bytes, 0);

    folder_.file("/proc/meminfo", "MemTotal: 12 MB\nMemTotal: -1 kB\nMemTotal: kB\nMemTotal\n");
    EXPECT_EQ(read().usable_bytes, 0);
}

TEST_F(MachineTest, PciFunctions_comeInOrderWithWhatIsKnownOfThem) {
    pci("0000:02:00.0", "vendor", "0x8086\n");
    pci("0000:02:00.0", "class", "0x010802\n");
    pci("0000:02:00.0", "subsystem_vendor", "0x8086\n");  // without its device it says nothing
    folder_.link("/sys/bus/pci/devices/0000:02:00.0/driver", "../../../bus/pci/drivers/nvme");
    pci("0000:01:00.0", "vendor", "whatever\n");
    pci("0000:01:00.0", "device", "0x15923\n");
    pci("0000:01:00.0", "revision", "0xzz\n");
    pci("0000:01:00.0", "driver", "no link\n");
    pci("not an address", "vendor", "0x8086\n");

    const auto functions = read().pci;

    ASSERT_EQ(functions.size(), 2U);
    EXPECT_EQ(functions[0].address, "0000:01:00.0");
    EXPECT_EQ(functions[0].vendor + functions[0].product + functions[0].revision +
                  functions[0].driver + functions[0].class_code,
              "");
    EXPECT_EQ(functions[1].address, "0000:02:00.0");
    EXPECT_EQ(functions[1].vendor, "0x8086");
    EXPECT_EQ(functions[1].driver, "nvme");
    EXPECT_EQ(functions[1].class_code, "0x01");
    EXPECT_EQ(functions[1].subclass, "0x08");
    EXPECT_EQ(functions[1].subsystem, "");
}

TEST_F(MachineTest, ChassisType_isPutIntoWords) {
    dmi("chassis_type", "36\n");
    EXPECT_EQ(read().chassis.type_description, "Stick PC");
    dmi("chassis_type", "1\n");
    EXPECT_EQ(read().chassis.type_description, "Other");
    for (const char* beyond : {"0\n", "37\n", "255\n", "x\n", "99999999999999999999\n"}) {
        dmi("chassis_type", beyond);
        EXPECT_EQ(read().chassis.type_description, "") << beyond;
    }
}

TEST_F(MachineTest, FilesThatAreNone_areNotRead) {
    dmi("sys_vendor", std::string(5000, 'a'));  // longer than any attribute
    folder_.file("/sys/class/dmi/id/product_name/folder", "");
    folder_.link("/sys/class/dmi/id/product_sku", "product_sku");  // to itself
    ASSERT_EQ(mkfifo((folder_.path() + "/sys/class/dmi/id/product_family").c_str(), 0600), 0);

    const Machine machine = read();

    EXPECT_EQ(
        machine.system.vendor + machine.system.name + machine.system.sku + machine.system.family,
        "");
}

TEST_F(MachineTest, Folder_withMoreThanTheLimit_isNotListed) {
    for (const char* name : {"/d/c", "/d/a", "/d/b"}) {
        folder_.file(name, "");
    }
    const MachineFiles files(folder_.path());

    EXPECT_EQ(files.list("/d", 3), (std::vector<std::string>{"a", "b", "c"}));
    EXPECT_EQ(files.list("/d", 2), std::nullopt);
    EXPECT_EQ(files.list("/none", 2), std::nullopt);
}

TEST(MachineTextTest, CleanLine_isOneLineOfText) {
    EXPECT_EQ(clean_line("  Example Inc. \t\r\nsecond"), "Example Inc.");
    EXPECT_EQ(clean_line("\xc3\x9c\x62\x65r \xe2\x82\xac \xf0\x9f\x90\x9f"),
              "\xc3\x9c\x62\x65r \xe2\x82\xac \xf0\x9f\x90\x9f");
    EXPECT_EQ(clean_line(std::string_view("a\0b\0", 4)), "a?b");
    EXPECT_EQ(clean_line("a\x1b[31m"), "a?[31m");
    EXPECT_EQ(clean_line(""), "");
    for (const char* broken : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80",
                               "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xe2\x82"}) {
        EXPECT_EQ(clean_line(broken).find_first_not_of('?'), std::string::npos) << broken;
    }
}

TEST(MachineTextTest, ParseNumber_takesWholeNumbersOnly) {
    EXPECT_EQ(parse_number(" 12\n", 10), 12U);
    EXPECT_EQ(parse_number("0xff", 16), 255U);
    EXPECT_EQ(parse_number("ff", 16), 255U);
    for (const char* wrong : {"", " ", "-1", "+1", "1 2", "0x", "1x", "18446744073709551616"}) {
        EXPECT_EQ(parse_number(wrong, 10), std::nullopt) << wrong;
    }
    EXPECT_EQ(parse_number("0x", 16), std::nullopt);
}

TEST(MachineTextTest, ThisMachine_isReadWithoutTrouble) {
    const Machine machine = platform::read_machine(MachineFiles());

    EXPECT_GE(machine.threads, machine.cores);
    EXPECT_GT(machine.usable_bytes, 0);
}

}  // namespace

}  // namespace remora::test
