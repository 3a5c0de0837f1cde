// SPDX-License-Identifier: Apache-2.0
#include "control/validate_disk.h"

#include "control/validate_qos.h"
#include "platform/host_platform.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

constexpr std::int64_t kMostQueues = 64;

}  // namespace

Result<void> check_function(std::int32_t function, std::uint32_t places) {
    if (function < 0) {
        return fail(ErrorKind::InvalidArgument, "host function " + std::to_string(function) +
                                                    " is negative; host functions are 0 to 63");
    }
    const auto wanted = static_cast<std::uint32_t>(function);
    if (wanted >= platform::kMaxFunctions) {
        return fail(ErrorKind::ResourceExhausted, "there is no host function " +
                                                      std::to_string(function) +
                                                      ": a host has 64, numbered 0 to 63");
    }
    if (wanted >= places) {
        return fail(ErrorKind::ResourceExhausted, "host function " + std::to_string(function) +
                                                      " has no place on this host: it carries " +
                                                      std::to_string(places) +
                                                      " functions, numbered from 0");
    }
    return {};
}

Result<void> check_limits(const opi::VirtioBlk& disk) {
    return check_rates("virtio_blk.min_limit", disk.min_limit(), "virtio_blk.max_limit",
                       disk.max_limit());
}

Result<void> check_pcie_id(std::string_view field,
                           const opi::PciEndpoint& pcie,
                           std::uint32_t places) {
    const std::string in(field);
    if (pcie.port_id().value() != 0) {
        return fail(ErrorKind::InvalidArgument,
                    in + ".port_id: " + std::to_string(pcie.port_id().value()) +
                        " is not a port of this device; use 0");
    }
    if (pcie.virtual_function().value() != 0) {
        return fail(ErrorKind::InvalidArgument,
                    in + ".virtual_function: " + std::to_string(pcie.virtual_function().value()) +
                        ": there are no virtual functions; use 0");
    }
    if (auto function = check_function(pcie.physical_function().value(), places); !function) {
        return core::fail(in + ".physical_function", function.error());
    }
    return {};
}

Result<void> validate(const opi::VirtioBlk& disk, std::uint32_t places) {
    if (auto pcie = check_pcie_id("virtio_blk.pcie_id", disk.pcie_id(), places); !pcie) {
        return pcie;
    }
    if (disk.max_io_qps() < 0 || disk.max_io_qps() > kMostQueues) {
        return fail(ErrorKind::InvalidArgument,
                    "virtio_blk.max_io_qps: 0 (one a core) to " + std::to_string(kMostQueues));
    }
    return check_limits(disk);
}

}  // namespace remora::control
