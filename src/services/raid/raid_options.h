// SPDX-License-Identifier: Apache-2.0
// What a RAID array is made of, and what it tells of itself. Plain values; no thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "block/device.h"
#include "core/units.h"
#include "core/uuid.h"

namespace remora::services::raid {

enum class Level : std::uint8_t {
    Concat,  ///< One member behind the other.
    Raid0,   ///< Chunks in turn, no redundancy.
    Raid1,   ///< Every member has everything.
    Raid5,   ///< Chunks in turn, one of each stripe is the others' parity.
    Raid10,  ///< Chunks in turn over pairs of mirrors.
};
/// "concat", "raid0", ...
std::string_view to_string(Level level) noexcept;

constexpr std::size_t kMaxMembers = 16;
constexpr std::size_t kMaxSpares = 4;
constexpr std::uint32_t kMinChunkBytes = 4096;
constexpr std::uint32_t kMaxChunkBytes = 256 * 1024;

struct RaidOptions {
    std::string name;
    core::Uuid uuid;  ///< The array's, in the superblock of every member.
    Level level = Level::Raid1;
    /// A power of two from kMinChunkBytes to kMaxChunkBytes; nothing to concat and RAID 1.
    std::uint32_t chunk_bytes = 65536;
    /// create(): members that carry another array's superblock are taken nevertheless.
    bool overwrite = false;
};

struct Member {
    std::string name;                 ///< As the operator knows it; its own in this array.
    block::Device* device = nullptr;  ///< Outlives the array. Null: it is missing.
};

enum class MemberState : std::uint8_t {
    Active,
    Rebuilding,
    Spare,
    Failed,   ///< There, but not used: `reason` says why.
    Missing,  ///< Not there.
};
std::string_view to_string(MemberState state) noexcept;

struct MemberStatus {
    std::string name;
    MemberState state = MemberState::Missing;
    std::string reason;  ///< Empty while Active.
    std::uint64_t read_errors = 0;
    std::uint64_t write_errors = 0;
    std::uint64_t repaired_blocks = 0;  ///< Rewritten from the others after a read error.
};

struct Progress {
    enum class Kind : std::uint8_t { None, Rebuild, Resync, Scrub };
    Kind kind = Kind::None;
    std::uint64_t done_bytes = 0;  ///< Of each member.
    std::uint64_t total_bytes = 0;
    std::uint64_t bytes_per_second = 0;
};
std::string_view to_string(Progress::Kind kind) noexcept;

struct RaidStatus {
    enum class Health : std::uint8_t {
        Optimal,
        Degraded,  ///< A member is missing or rebuilding; everything is there.
        Failed,    ///< More is lost than the level can lose: no I/O is done any more.
    };
    Health health = Health::Optimal;
    std::vector<std::string> leaving;   ///< No members any more, but their devices are in use yet.
    std::vector<MemberStatus> members;  ///< In the array's order; then spares; then those refused.
    Progress progress;
    std::uint64_t scrub_mismatches = 0;  ///< 4 KiB rows that did not match, in all scrubs.
    std::uint64_t last_generation = 0;   ///< Of the superblocks.

    /// Whether places are about to change hands: then there are more entries than places, and both
    /// the old and the new one belong to the array.
    [[nodiscard]] bool rebuilds() const {
        return std::ranges::any_of(members, [](const MemberStatus& member) {
            return member.state == MemberState::Rebuilding;
        });
    }
};
std::string_view to_string(RaidStatus::Health health) noexcept;

/// Told on the control reactor.
class RaidObserver {
  public:
    /// What status() says has changed, more than its progress.
    virtual void on_raid_changed() = 0;

  protected:
    ~RaidObserver() = default;
};

}  // namespace remora::services::raid
