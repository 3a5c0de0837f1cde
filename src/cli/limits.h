// SPDX-License-Identifier: Apache-2.0
// Rates that a QoS volume or a device may have, and those that it is sure of: their flags, and what
// they are in OPI's words.
#pragma once

#include <array>
#include <string>

#include "cli/kinds.h"
#include "storage/opicommon.pb.h"

namespace remora::cli {

inline constexpr std::array kLimitFlags{
    Flag{"--read-kiops", "N", "At most N thousand reads a second", FlagType::Number},
    Flag{"--write-kiops", "N", "At most N thousand writes a second", FlagType::Number},
    Flag{"--kiops", "N", "At most N thousand of both a second", FlagType::Number},
    Flag{"--read-mbs", "N", "At most N MiB a second read", FlagType::Number},
    Flag{"--write-mbs", "N", "At most N MiB a second written", FlagType::Number},
    Flag{"--mbs", "N", "At most N MiB a second of both", FlagType::Number}};

inline constexpr std::array kMinimumFlags{
    Flag{"--min-read-kiops", "N", "At least N thousand reads a second, of its back end's capacity",
         FlagType::Number},
    Flag{"--min-write-kiops", "N", "At least N thousand writes a second", FlagType::Number},
    Flag{"--min-kiops", "N", "At least N thousand of both a second", FlagType::Number},
    Flag{"--min-read-mbs", "N", "At least N MiB a second read", FlagType::Number},
    Flag{"--min-write-mbs", "N", "At least N MiB a second written", FlagType::Number},
    Flag{"--min-mbs", "N", "At least N MiB a second of both", FlagType::Number}};

/// Two lists of flags, one behind the other.
template <std::size_t A, std::size_t B>
constexpr std::array<Flag, A + B> joined(const std::array<Flag, A>& first,
                                         const std::array<Flag, B>& second) {
    std::array<Flag, A + B> all;
    std::copy(first.begin(), first.end(), all.begin());
    std::copy(second.begin(), second.end(), all.begin() + A);
    return all;
}

/// Sets what was given; 0 takes a limit, or a minimum, away.
void set_limits(const Values& values, opi_api::storage::v1::QosLimit& limits);
void set_minimum(const Values& values, opi_api::storage::v1::QosLimit& minimum);
inline constexpr auto kRateFlags = joined(kLimitFlags, kMinimumFlags);

[[nodiscard]] bool any_limit(const opi_api::storage::v1::QosLimit& limits);

/// "7k reads/s, 20 MiB/s", or "none".
std::string limits_text(const opi_api::storage::v1::QosLimit& limits);

}  // namespace remora::cli
