// SPDX-License-Identifier: Apache-2.0
// How fast background work may be asked to go.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace remora::control {

/// MiB a second: a thousand times what the fastest device does.
inline constexpr std::uint32_t kMostMbs = 10'000'000;

/// Errors: InvalidArgument naming `field`.
inline core::Result<void> check_background_rate(std::string_view field, std::uint32_t mbs) {
    if (mbs > kMostMbs) {
        return core::fail(core::ErrorKind::InvalidArgument, std::string(field) + ": at most " +
                                                                std::to_string(kMostMbs) +
                                                                ", or 0 for the default");
    }
    return {};
}

}  // namespace remora::control
