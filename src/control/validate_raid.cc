// SPDX-License-Identifier: Apache-2.0
#include "control/validate_raid.h"

#include <array>
#include <bit>
#include <string>

#include "control/background_rate.h"
#include "core/units.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::raid::Level;
using services::raid::MemberState;
using services::raid::Progress;
using services::raid::RaidStatus;
namespace api = ::remora::v1;

namespace {

struct LevelRule {
    api::RaidLevel asked;
    Level level;
    int fewest;
    bool even;
    bool redundant;
};
constexpr std::array kLevels{LevelRule{api::RAID_LEVEL_CONCAT, Level::Concat, 1, false, false},
                             LevelRule{api::RAID_LEVEL_0, Level::Raid0, 1, false, false},
                             LevelRule{api::RAID_LEVEL_1, Level::Raid1, 2, false, true},
                             LevelRule{api::RAID_LEVEL_5, Level::Raid5, 3, false, true},
                             LevelRule{api::RAID_LEVEL_10, Level::Raid10, 4, true, true}};

const LevelRule* rule_of(api::RaidLevel level) {
    for (const LevelRule& rule : kLevels) {
        if (rule.asked == level) {
            return &rule;
        }
    }
    return nullptr;
}

Result<void> wrong(const std::string& text) {
    return fail(ErrorKind::InvalidArgument, "raid_volume." + text);
}

api::RaidMember::State state_of(MemberState state) {
    switch (state) {
        case MemberState::Active:
            return api::RaidMember::STATE_ACTIVE;
        case MemberState::Rebuilding:
            return api::RaidMember::STATE_REBUILDING;
        case MemberState::Spare:
            return api::RaidMember::STATE_SPARE;
        case MemberState::Failed:
            return api::RaidMember::STATE_FAILED;
        case MemberState::Missing:
            return api::RaidMember::STATE_MISSING;
    }
    return api::RaidMember::STATE_UNSPECIFIED;
}

api::RaidVolume::Health health_of(RaidStatus::Health health) {
    switch (health) {
        case RaidStatus::Health::Optimal:
            return api::RaidVolume::HEALTH_OPTIMAL;
        case RaidStatus::Health::Degraded:
            return api::RaidVolume::HEALTH_DEGRADED;
        case RaidStatus::Health::Failed:
            return api::RaidVolume::HEALTH_FAILED;
    }
    return api::RaidVolume::HEALTH_UNSPECIFIED;
}

api::BackgroundWork::Kind work_of(Progress::Kind kind) {
    switch (kind) {
        case Progress::Kind::None:
            break;
        case Progress::Kind::Rebuild:
            return api::BackgroundWork::KIND_REBUILD;
        case Progress::Kind::Resync:
            return api::BackgroundWork::KIND_RESYNC;
        case Progress::Kind::Scrub:
            return api::BackgroundWork::KIND_SCRUB;
    }
    return api::BackgroundWork::KIND_UNSPECIFIED;
}

}  // namespace

Result<void> validate_raid(const api::RaidVolume& asked) {
    const LevelRule* rule = rule_of(asked.level());
    if (rule == nullptr) {
        return wrong("level: choose one of RAID_LEVEL_CONCAT, _0, _1, _5 and _10");
    }
    const std::string level = api::RaidLevel_Name(asked.level());
    const auto members = static_cast<std::size_t>(asked.members_size());
    if (asked.members_size() < rule->fewest || members > services::raid::kMaxMembers) {
        return wrong("members: " + level + " takes " + std::to_string(rule->fewest) + " to " +
                     std::to_string(services::raid::kMaxMembers) + " members, and these are " +
                     std::to_string(members));
    }
    if (rule->even && members % 2 != 0) {
        return wrong("members: " + level + " is made of pairs, and " + std::to_string(members) +
                     " members are none; add or leave out one");
    }
    if (asked.spares_size() > 0 && !rule->redundant) {
        return wrong("spares: " + level +
                     " cannot rebuild a member, so a spare is of no use; leave them out");
    }
    if (static_cast<std::size_t>(asked.spares_size()) > services::raid::kMaxSpares) {
        return wrong("spares: at most " + std::to_string(services::raid::kMaxSpares));
    }
    const std::uint32_t chunk = chunk_of(asked);
    if (!std::has_single_bit(chunk) || chunk < services::raid::kMinChunkBytes ||
        chunk > services::raid::kMaxChunkBytes) {
        return wrong("chunk_bytes: " + std::to_string(chunk) +
                     " is no power of two from 4096 to 262144; 0 is 65536");
    }
    return check_background_rate("raid_volume.background_mbs", asked.background_mbs());
}

Level level_of(const api::RaidVolume& volume) {
    const LevelRule* rule = rule_of(volume.level());
    return rule == nullptr ? Level::Concat : rule->level;
}

std::uint32_t chunk_of(const api::RaidVolume& volume) {
    constexpr std::uint32_t kDefault = 65536;
    return volume.chunk_bytes() == 0 ? kDefault : volume.chunk_bytes();
}

std::uint64_t background_rate_of(const api::RaidVolume& volume) {
    return volume.background_mbs() * core::kMiB;
}

void show_raid(const RaidStatus& status, api::RaidVolume& out) {
    out.set_health(health_of(status.health));
    for (const services::raid::MemberStatus& member : status.members) {
        api::RaidMember& one = *out.add_member_states();
        one.set_volume(member.name);
        one.set_state(state_of(member.state));
        one.set_reason(member.reason);
        one.set_read_errors(member.read_errors);
        one.set_write_errors(member.write_errors);
        one.set_repaired_blocks(member.repaired_blocks);
    }
    if (status.progress.kind != Progress::Kind::None) {
        out.mutable_work()->set_kind(work_of(status.progress.kind));
        out.mutable_work()->set_done_bytes(status.progress.done_bytes);
        out.mutable_work()->set_total_bytes(status.progress.total_bytes);
    }
    out.set_scrub_mismatches(status.scrub_mismatches);
}

}  // namespace remora::control
