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

Result<void> check_virtual_function(std::int32_t function,
                                    std::int32_t virtual_function,
                                    const platform::FunctionCounts& places) {
    if (virtual_function == 0) {
        return {};
    }
    const std::uint32_t there = places.virtual_functions(static_cast<std::uint32_t>(function));
    const std::string of = "host function " + std::to_string(function);
    if (virtual_function < 0 || there == 0) {
        return fail(ErrorKind::InvalidArgument,
                    std::to_string(virtual_function) + ": " + of + " has " +
                        (there == 0 ? "no virtual functions; use 0"
                                    : "virtual functions 1 to " + std::to_string(there)));
    }
    if (static_cast<std::uint32_t>(virtual_function) > there) {
        return fail(ErrorKind::ResourceExhausted,
                    of + " has no virtual function " + std::to_string(virtual_function) +
                        ": it has " + std::to_string(there) + ", numbered from 1");
    }
    return {};
}

Result<void> check_limits(const opi::VirtioBlk& disk) {
    return check_rates("virtio_blk.min_limit", disk.min_limit(), "virtio_blk.max_limit",
                       disk.max_limit());
}

Result<void> check_pcie_id(std::string_view field,
                           const opi::PciEndpoint& pcie,
                           const platform::FunctionCounts& places) {
    const std::string in(field);
    if (pcie.port_id().value() != 0) {
        return fail(ErrorKind::InvalidArgument,
                    in + ".port_id: " + std::to_string(pcie.port_id().value()) +
                        " is not a port of this device; use 0");
    }
    const std::int32_t physical = pcie.physical_function().value();
    // First, so that it is the client's mistake wherever there are none.
    const auto virtual_one =
        check_virtual_function(physical, pcie.virtual_function().value(), places);
    if (!virtual_one) {
        return core::fail(in + ".virtual_function", virtual_one.error());
    }
    if (auto function = check_function(physical, places.physical); !function) {
        return core::fail(in + ".physical_function", function.error());
    }
    return {};
}

Result<void> validate(const opi::VirtioBlk& disk, const platform::FunctionCounts& places) {
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
