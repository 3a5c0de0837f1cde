// SPDX-License-Identifier: Apache-2.0
// What the calls on RAID volumes share: which fields clients have no say in, and locks.
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

/// For whoever makes something of these volumes, if they were found.
inline std::vector<std::string> locks_of(const core::Result<std::vector<Taken>>& lowers) {
    std::vector<std::string> keys;
    if (lowers) {
        for (const Taken& lower : *lowers) {
            keys.push_back(lower.target.lock);
            keys.push_back(uuid_key(lower.target.uuid));
        }
    }
    return keys;
}

inline bool same_volumes(const std::vector<Taken>& a, const std::vector<Taken>& b) {
    bool same = a.size() == b.size();
    for (std::size_t i = 0; same && i < a.size(); ++i) {
        same = a[i].target.volume == b[i].target.volume;
    }
    return same;
}

}  // namespace remora::control
