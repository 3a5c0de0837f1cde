// SPDX-License-Identifier: Apache-2.0
// StackedVolumes: the arrays and the volumes with checksums of a node: each a device in the volume
// table, over other volumes there, which it uses for as long as they belong to it. On the control
// reactor only.
//
// What is below is never stopped from here: it has its own owner, and goes after its users.
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>

#include "block/reactor_context.h"
#include "node/node.h"
#include "node/volume_table.h"
#include "services/raid/raid_device.h"

namespace remora::node {

class StackedVolumes {
  public:
    StackedVolumes(VolumeTable& volumes, std::span<const block::ReactorContext> reactors)
        : volumes_(volumes), reactors_(reactors) {}
    StackedVolumes(const StackedVolumes&) = delete;
    StackedVolumes& operator=(const StackedVolumes&) = delete;
    /// After all are removed.
    ~StackedVolumes();

    Task<Result<VolumeInfo>> create_raid(RaidSpec spec);
    [[nodiscard]] std::optional<RaidStatus> raid_status(const std::string& name) const;
    Task<Result<void>> add_raid_spare(std::string name, std::string volume);
    Task<Result<void>> replace_raid_member(std::string name, std::string member, std::string with);
    Task<Result<void>> remove_raid_member(std::string name, std::string member);
    void release_raid_members(const std::string& name);
    void set_raid_rate(const std::string& name, std::uint64_t bytes_per_second);
    Result<void> scrub_raid(const std::string& name, bool on);

    Task<Result<VolumeInfo>> create_integrity(IntegritySpec spec);
    [[nodiscard]] std::optional<IntegrityStatus> integrity_status(const std::string& name) const;
    void set_integrity_scrub_rate(const std::string& name, std::uint64_t bytes_per_second);
    Result<void> scrub_integrity(const std::string& name, bool on);

    [[nodiscard]] bool has(const std::string& name) const { return stacked_.contains(name); }
    [[nodiscard]] bool empty() const { return stacked_.empty(); }
    /// Deleted: its marks on the volumes below are erased. Stopped: it is there again the next
    /// time.
    enum class End { Deleted, Stopped };
    /// Errors: FailedPrecondition naming the users.
    Task<Result<void>> remove(std::string name, End how);
    /// Stops those that nobody uses; how many.
    Task<std::size_t> stop_unused();

  private:
    struct Stacked {
        services::raid::RaidDevice* raid = nullptr;  ///< One of the two.
        services::integrity::IntegrityDevice* integrity = nullptr;
        std::set<std::string> lowers;               ///< Volumes in use by it.
        std::map<std::string, std::string> called;  ///< Volumes by their names in an array.
        bool busy = false;  ///< A call works on it: nothing is let go of meanwhile.
    };

    Result<services::raid::Member> take(const std::string& name, const std::string& lower);
    void release(const std::string& name, const std::set<std::string>& lowers);
    Result<Stacked*> find_raid(const std::string& name);

    VolumeTable& volumes_;
    std::span<const block::ReactorContext> reactors_;
    std::map<std::string, Stacked> stacked_;  // by name
};

}  // namespace remora::node
