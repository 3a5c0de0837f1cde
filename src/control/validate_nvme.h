// SPDX-License-Identifier: Apache-2.0
// Rules for NVMe resources, both sides. Pure functions.
#pragma once

#include <array>

#include "control/model.h"
#include "core/result.h"
#include "platform/host_platform.h"
#include "reactor/endpoint.h"

namespace remora::control {

/// Of a subsystem, and so the greatest namespace identifier where a client sets no limit.
constexpr std::int64_t kMostNamespaces = 1024;

/// nqn.YYYY-MM.domain[:rest], or the UUID form, at most 223 bytes (NVMe Base 2.0, section 4.5).
core::Result<void> check_nqn(std::string_view field, const std::string& nqn);

core::Result<void> validate(const opi::NvmeSubsystem& subsystem);
/// `places`: functions that the local host has.
core::Result<void> validate(const opi::NvmeController& controller,
                            const platform::FunctionCounts& places);
core::Result<void> validate(const opi::NvmeNamespace& space);
core::Result<void> validate(const opi::NvmeRemoteController& controller);
core::Result<void> validate(const opi::NvmePath& path);

/// A numeric address and a port. Errors: InvalidArgument naming the field.
core::Result<reactor::Endpoint> read_endpoint(std::string_view field,
                                              const std::string& traddr,
                                              const std::string& trsvcid,
                                              bool allow_port_zero);
/// Where a valid controller listens, where a valid path leads.
core::Result<reactor::Endpoint> endpoint_of(const opi::NvmeController& controller);
core::Result<reactor::Endpoint> endpoint_of(const opi::NvmePath& path);

/// 32 hex digits, dashes allowed; all zero for an empty text.
core::Result<std::array<unsigned char, 16>> read_nguid(const std::string& text);

}  // namespace remora::control
