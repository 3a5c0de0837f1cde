// SPDX-License-Identifier: Apache-2.0
// Rules for virtio-blk devices and attachments. Pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "control/model.h"
#include "core/result.h"
#include "platform/host_platform.h"

namespace remora::control {

/// Whether the number is a physical function of hosts at all and has a place. Errors:
/// InvalidArgument for a negative one, ResourceExhausted past the last.
core::Result<void> check_function(std::int32_t function, std::uint32_t places);

/// Whether it is a virtual function of that physical one, which need not be checked before; 0 is
/// the physical one itself. Errors: InvalidArgument for a negative one and where there are none,
/// ResourceExhausted past the last.
core::Result<void> check_virtual_function(std::int32_t function,
                                          std::int32_t virtual_function,
                                          const platform::FunctionCounts& places);

/// A function of the local host, as OPI addresses it, of the field's resource.
core::Result<void> check_pcie_id(std::string_view field,
                                 const opi::PciEndpoint& pcie,
                                 const platform::FunctionCounts& places);

/// Its rates. Errors: InvalidArgument.
core::Result<void> check_limits(const opi::VirtioBlk& disk);

core::Result<void> validate(const opi::VirtioBlk& disk, const platform::FunctionCounts& places);

}  // namespace remora::control
