// SPDX-License-Identifier: Apache-2.0
#include "platform/machine.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "platform/machine_text.h"

namespace remora::platform {

namespace {

constexpr std::size_t kAttribute = 4096;               // a page: what sysfs gives at most
constexpr std::size_t kTable = std::size_t{8} << 20U;  // /proc/cpuinfo of 4096 processors
constexpr std::size_t kMostProcessors = 8192;
constexpr std::size_t kMostMemoryBlocks = std::size_t{1} << 16U;
// What they make is below the 4 MiB that gRPC's clients take in one message.
constexpr std::size_t kMostFunctions = 16384;

constexpr std::string_view kDmi = "/sys/class/dmi/id/";
constexpr std::string_view kCpus = "/sys/devices/system/cpu";
constexpr std::string_view kMemory = "/sys/devices/system/memory";
constexpr std::string_view kPci = "/sys/bus/pci/devices";

std::string line_of(const MachineFiles& files, const std::string& path) {
    return clean_line(files.read(path, kAttribute).value_or(""));
}

std::optional<std::uint64_t> number_of(const MachineFiles& files,
                                       const std::string& path,
                                       int base) {
    const auto text = files.read(path, kAttribute);
    return text ? parse_number(*text, base) : std::nullopt;
}

/// Linux Documentation/ABI/testing/sysfs-class-dmi. Serial numbers and the UUID are root's.
void read_dmi(const MachineFiles& files, Machine& machine) {
    const auto at = [&](std::string_view name) {
        return line_of(files, std::string(kDmi) + std::string(name));
    };
    machine.bios = {at("bios_vendor"), at("bios_version"), at("bios_date")};
    machine.system = {at("product_family"), at("product_name"), at("sys_vendor"),
                      at("product_serial"), at("product_uuid"), at("product_sku"),
                      at("product_version")};
    machine.baseboard = {at("board_asset_tag"), at("board_serial"), at("board_vendor"),
                         at("board_version"), at("board_name")};
    machine.chassis = {at("chassis_asset_tag"), at("chassis_serial"), at("chassis_type"), "",
                       at("chassis_vendor"),    at("chassis_version")};
    if (const auto type = parse_number(machine.chassis.type, 10)) {
        machine.chassis.type_description = chassis_type_text(*type);
    }
}

/// The names in a folder that are `prefix` and a number ("cpu12").
std::vector<std::string> numbered(const MachineFiles& files,
                                  std::string_view folder,
                                  std::string_view prefix,
                                  std::size_t limit) {
    auto names = files.list(std::string(folder), limit).value_or(std::vector<std::string>());
    std::erase_if(names, [&](const std::string& name) {
        return !name.starts_with(prefix) || !parse_number(name.substr(prefix.size()), 10);
    });
    return names;
}

/// Linux Documentation/admin-guide/cputopology.rst: threads of one core name the same siblings. A
/// processor that is offline has no topology. False when the kernel tells none.
bool read_topology(const MachineFiles& files, Machine& machine) {
    std::set<std::string> cores;
    std::uint32_t threads = 0;
    for (const std::string& name : numbered(files, kCpus, "cpu", kMostProcessors)) {
        const std::string folder = std::string(kCpus) + "/" + name + "/topology/";
        std::string siblings = line_of(files, folder + "core_cpus_list");
        if (siblings.empty()) {
            siblings = line_of(files, folder + "thread_siblings_list");  // older kernels
        }
        if (!siblings.empty()) {
            cores.insert(std::move(siblings));
            ++threads;
        }
    }
    machine.cores = static_cast<std::uint32_t>(cores.size());
    machine.threads = threads;
    return threads != 0;
}

/// Calls `line(text)` for each line.
template <typename F>
void for_lines(std::string_view text, F line) {
    while (!text.empty()) {
        const auto end = std::min(text.find('\n'), text.size());
        line(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
}

void read_cpuinfo(const MachineFiles& files, Machine& machine) {
    std::set<std::pair<std::string, std::string>> cores;  // package and core in it
    std::uint32_t told = 0;                               // processors that say their core
    std::string package;
    for_lines(files.read("/proc/cpuinfo", kTable).value_or(""), [&](std::string_view line) {
        if (value_of(line, "processor")) {
            ++machine.threads;
            package.clear();
        } else if (const auto id = value_of(line, "physical id")) {
            package = *id;
        } else if (const auto core = value_of(line, "core id")) {
            cores.emplace(package, *core);
            ++told;
        }
    });
    if (told == machine.threads) {
        machine.cores = static_cast<std::uint32_t>(cores.size());
    }
}

/// `count` units of `unit` bytes; 0 when that is more than a machine can have.
std::int64_t bytes_of(std::uint64_t count, std::uint64_t unit) {
    constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    return unit == 0 || count > kMost / unit ? 0 : static_cast<std::int64_t>(count * unit);
}

/// Linux Documentation/admin-guide/mm/memory-hotplug.rst: memory comes in blocks of one size.
void read_memory(const MachineFiles& files, Machine& machine) {
    const std::string folder(kMemory);
    const auto block = number_of(files, folder + "/block_size_bytes", 16);
    std::uint64_t online = 0;
    if (block) {
        for (const std::string& name : numbered(files, kMemory, "memory", kMostMemoryBlocks)) {
            online += line_of(files, folder + "/" + name + "/state") == "online" ? 1 : 0;
        }
        machine.physical_bytes = bytes_of(online, *block);
    }
    for_lines(files.read("/proc/meminfo", 16 * kAttribute).value_or(""),
              [&](std::string_view line) {
                  const auto total = value_of(line, "MemTotal");
                  if (!total || !total->ends_with(" kB")) {
                      return;
                  }
                  if (const auto kib = parse_number(total->substr(0, total->size() - 3), 10)) {
                      machine.usable_bytes = bytes_of(*kib, 1024);
                  }
              });
}

/// An identity of `digits` hexadecimal digits, as the kernel writes it; empty for anything else.
std::string identity(const MachineFiles& files, const std::string& path, std::size_t digits) {
    const std::string text = line_of(files, path);
    return text.size() == digits + 2 && text.starts_with("0x") && parse_number(text, 16) ? text
                                                                                         : "";
}

/// Linux Documentation/PCI/sysfs-pci.rst; class codes: PCI Code and ID Assignment, section 1.
Machine::PciFunction read_function(const MachineFiles& files, const std::string& address) {
    const std::string folder = std::string(kPci) + "/" + address + "/";
    Machine::PciFunction function;
    function.address = address;
    function.driver = clean_line(files.link_name(folder + "driver"));
    function.vendor = identity(files, folder + "vendor", 4);
    function.product = identity(files, folder + "device", 4);
    function.revision = identity(files, folder + "revision", 2);
    const std::string vendor = identity(files, folder + "subsystem_vendor", 4);
    const std::string device = identity(files, folder + "subsystem_device", 4);
    if (!vendor.empty() && !device.empty()) {
        function.subsystem = vendor + ":" + device;
    }
    // 0xCCSSPP: class, subclass, programming interface.
    if (const std::string code = identity(files, folder + "class", 6); !code.empty()) {
        function.class_code = code.substr(0, 4);
        function.subclass = "0x" + code.substr(4, 2);
    }
    return function;
}

bool is_pci_address(const std::string& name) {
    return !name.empty() && name.size() <= 16 &&
           name.find_first_not_of("0123456789abcdef:.") == std::string::npos &&
           name.find(':') != std::string::npos;
}

}  // namespace

Machine read_machine(const MachineFiles& files) {
    Machine machine;
    read_dmi(files, machine);
    if (!read_topology(files, machine)) {
        read_cpuinfo(files, machine);
    }
    read_memory(files, machine);
    const auto addresses = files.list(std::string(kPci), kMostFunctions);
    for (const std::string& address : addresses.value_or(std::vector<std::string>())) {
        if (is_pci_address(address)) {
            machine.pci.push_back(read_function(files, address));
        }
    }
    return machine;
}

}  // namespace remora::platform
