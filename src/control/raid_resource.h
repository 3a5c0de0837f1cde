// SPDX-License-Identifier: Apache-2.0
// What the calls on RAID volumes share: which fields clients have no say in.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/layers.h"

namespace remora::control {

/// Fields that only the server writes.
inline const std::vector<std::string_view> kRaidOutput{
    "uuid", "size_bytes", "health", "member_states", "work", "scrub_mismatches"};

inline api::RaidVolume without_output(api::RaidVolume resource) {
    resource.clear_uuid();
    resource.clear_size_bytes();
    resource.clear_health();
    resource.clear_member_states();
    resource.clear_work();
    resource.clear_scrub_mismatches();
    return resource;
}

}  // namespace remora::control
