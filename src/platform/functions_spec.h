// SPDX-License-Identifier: Apache-2.0
// Which PCI place of a virtual machine carries which host function, as an operator writes it:
//
//   BUS            a root port: its slot 0
//   BUS:SLOT       one slot of a bridge
//   BUS:FIRST-LAST slots of a bridge, in order
//   PREFIX[A-B]    root ports PREFIXA ... PREFIXB
//
// separated by commas; the first place carries function 0. `br1:1-31,br2:1-31,br3:1-2` are 64.
//
// A virtual function has a place of its own, too: nothing can be plugged in beside a function 0
// that runs. PF=PLACES gives physical function PF its virtual functions 1, 2, ...: `0=br3:8-15` are
// eight.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/host_function.h"
#include "core/result.h"
#include "platform/host_platform.h"

namespace remora::platform {

struct PciPlace {
    std::string bus;  ///< The machine's name of the bus.
    std::uint32_t slot = 0;

    bool operator==(const PciPlace&) const = default;
};

/// Of each function that has one: PFs from 0 on, and VFs of some from 1 on, without gaps.
using FunctionPlaces = std::map<core::HostFunction, PciPlace>;

/// The places of physical functions. Errors: InvalidArgument naming the part that is wrong; more
/// than 64 places, or one twice.
core::Result<FunctionPlaces> parse_functions(std::string_view spec);

/// Adds the virtual functions of one physical function. Errors: InvalidArgument, as above; a
/// physical function that has no place or has its virtual ones already; more than 64 in all.
core::Result<void> add_virtual_functions(std::string_view spec, FunctionPlaces& places);

FunctionCounts count(const FunctionPlaces& places);

}  // namespace remora::platform
