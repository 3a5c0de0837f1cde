// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_options.h"

namespace remora::services::raid {

std::string_view to_string(Level level) noexcept {
    switch (level) {
        case Level::Concat:
            return "concat";
        case Level::Raid0:
            return "raid0";
        case Level::Raid1:
            return "raid1";
        case Level::Raid5:
            return "raid5";
        case Level::Raid10:
            return "raid10";
    }
    return "unknown";
}

std::string_view to_string(MemberState state) noexcept {
    switch (state) {
        case MemberState::Active:
            return "active";
        case MemberState::Rebuilding:
            return "rebuilding";
        case MemberState::Spare:
            return "spare";
        case MemberState::Failed:
            return "failed";
        case MemberState::Missing:
            return "missing";
    }
    return "unknown";
}

std::string_view to_string(Progress::Kind kind) noexcept {
    switch (kind) {
        case Progress::Kind::None:
            return "none";
        case Progress::Kind::Rebuild:
            return "rebuild";
        case Progress::Kind::Resync:
            return "resync";
        case Progress::Kind::Scrub:
            return "scrub";
    }
    return "unknown";
}

std::string_view to_string(RaidStatus::Health health) noexcept {
    switch (health) {
        case RaidStatus::Health::Optimal:
            return "optimal";
        case RaidStatus::Health::Degraded:
            return "degraded";
        case RaidStatus::Health::Failed:
            return "failed";
    }
    return "unknown";
}

}  // namespace remora::services::raid
