// SPDX-License-Identifier: Apache-2.0
// Rules for virtio-blk devices and attachments. Pure functions.
#pragma once

#include <cstdint>
#include <string_view>

#include "control/model.h"
#include "core/result.h"

namespace remora::control {

/// Whether the number is a host function at all and has a place. Errors: InvalidArgument for a
/// negative one, ResourceExhausted past the last.
core::Result<void> check_function(std::int32_t function, std::uint32_t places);

/// A physical function of the local host, as OPI addresses it, of the field's resource.
core::Result<void> check_pcie_id(std::string_view field,
                                 const opi::PciEndpoint& pcie,
                                 std::uint32_t places);

/// Its rates. Errors: InvalidArgument.
core::Result<void> check_limits(const opi::VirtioBlk& disk);

core::Result<void> validate(const opi::VirtioBlk& disk, std::uint32_t places);

}  // namespace remora::control
