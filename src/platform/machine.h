// SPDX-License-Identifier: Apache-2.0
// Machine: what the machine is made of, as its kernel tells it: SMBIOS (DMI), processors, memory
// and PCI functions. Read anew at each call, so that what was plugged since is there.
//
// What cannot be read is empty or 0, never guessed. Texts come from firmware: they are cut to one
// line of valid UTF-8 without control characters. Blocks; see platform/machine_files.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "platform/machine_files.h"

namespace remora::platform {

struct Machine {
    struct Bios {
        std::string vendor, version, date;
    };
    struct System {
        std::string family, name, vendor, serial_number, uuid, sku, version;
    };
    struct Baseboard {
        std::string asset_tag, serial_number, vendor, version, product;
    };
    struct Chassis {
        std::string asset_tag, serial_number, type, type_description, vendor, version;
    };
    /// Identities are hexadecimal, as the kernel writes them: "0x8086".
    struct PciFunction {
        std::string address;  ///< domain:bus:device.function
        std::string driver;   ///< Empty: none has it.
        std::string vendor, product, revision;
        std::string subsystem;  ///< vendor:product
        std::string class_code, subclass;
    };

    Bios bios;
    System system;
    Baseboard baseboard;
    Chassis chassis;
    std::uint32_t cores = 0;
    std::uint32_t threads = 0;        ///< What the kernel calls processors.
    std::int64_t physical_bytes = 0;  ///< Of memory that is plugged in and online.
    std::int64_t usable_bytes = 0;    ///< What the kernel has of it.
    std::vector<PciFunction> pci;     ///< By address.
};

Machine read_machine(const MachineFiles& files);

}  // namespace remora::platform
