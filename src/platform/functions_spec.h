// SPDX-License-Identifier: Apache-2.0
// Which PCI place of a virtual machine carries which host function, as an operator writes it:
//
//   BUS            a root port: its slot 0
//   BUS:SLOT       one slot of a bridge
//   BUS:FIRST-LAST slots of a bridge, in order
//   PREFIX[A-B]    root ports PREFIXA ... PREFIXB
//
// separated by commas; the first place carries function 0. `br1:1-31,br2:1-31,br3:1-2` are 64.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace remora::platform {

struct PciPlace {
    std::string bus;  ///< The machine's name of the bus.
    std::uint32_t slot = 0;

    bool operator==(const PciPlace&) const = default;
};

/// Errors: InvalidArgument naming the part that is wrong; more than 64 places, or one twice.
core::Result<std::vector<PciPlace>> parse_functions(std::string_view spec);

}  // namespace remora::platform
