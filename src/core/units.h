// SPDX-License-Identifier: Apache-2.0
// Quantities that must not be mixed up, and sizes in readable form.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"

namespace remora::core {

/// A duration, or a time on the monotonic clock of a reactor (nanoseconds since an origin that
/// only that clock knows).
using Nanos = std::chrono::nanoseconds;

constexpr Nanos kNever = Nanos::max();

constexpr std::uint64_t kKiB = 1024;
constexpr std::uint64_t kMiB = 1024 * kKiB;
constexpr std::uint64_t kGiB = 1024 * kMiB;
constexpr std::uint64_t kTiB = 1024 * kGiB;

/// Reads "4096", "64K", "64KiB", "1.5G" is refused: whole numbers with an optional binary unit
/// (K, M, G, T; KiB, MiB ... mean the same). Errors: InvalidArgument.
Result<std::uint64_t> parse_size(std::string_view text);

/// "4 KiB", "1.5 GiB": at most one decimal, binary units.
std::string format_size(std::uint64_t bytes);

}  // namespace remora::core
