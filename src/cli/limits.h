// SPDX-License-Identifier: Apache-2.0
// Rates that a QoS volume or a host disk may have: their flags, and what they are in OPI's words.
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

/// Two lists of flags, one behind the other.
template <std::size_t A, std::size_t B>
constexpr std::array<Flag, A + B> joined(const std::array<Flag, A>& first,
                                         const std::array<Flag, B>& second) {
    std::array<Flag, A + B> all;
    std::copy(first.begin(), first.end(), all.begin());
    std::copy(second.begin(), second.end(), all.begin() + A);
    return all;
}

/// Sets what was given; 0 takes a limit away.
void set_limits(const Values& values, opi_api::storage::v1::QosLimit& limits);

/// "7k reads/s, 20 MiB/s", or "none".
std::string limits_text(const opi_api::storage::v1::QosLimit& limits);

}  // namespace remora::cli
