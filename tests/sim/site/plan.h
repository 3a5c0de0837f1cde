// SPDX-License-Identifier: Apache-2.0
// Plan: what a seed's site looks like: targets and their volumes, IPUs and their hosts, limits,
// workloads, and how long everything goes on. Plain data, drawn once from the seed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/prng.h"
#include "core/uuid.h"
#include "tests/sim/host/sim_qemu.h"
#include "tests/sim/nodes/sim_daemon.h"
#include "tests/sim/world/faults.h"

namespace remora::sim {

/// What a run is mainly about: kinds of faults that are on for certain, and what fits them.
enum class Focus : std::uint8_t {
    Mixed,    ///< Whatever the seed draws.
    Network,  ///< Delays, cuts, resets, partitions, refused connects.
    Digests,  ///< Flipped bits under both digests.
    Target,   ///< The target's process and machine die.
    Ipu,      ///< The IPU's process dies, anywhere.
    Disk,     ///< Errors, full disks, failed flushes, slow operations.
    Control,  ///< Attach and detach all the time, lost answers, a troublesome host.
    Hostile,  ///< Guests that break every rule.
    Limits,   ///< Queues of one, tiny pools and windows.
    Time,     ///< Clocks that leap and run apart, stalled reactors.
};
constexpr std::size_t kFocusCount = static_cast<std::size_t>(Focus::Time) + 1;
std::string_view to_string(Focus focus);
std::optional<Focus> parse_focus(std::string_view text);

/// What a volume is made of.
enum class Form : std::uint8_t {
    Plain,
    Mirror,     ///< RAID 1 of two files.
    Parity,     ///< RAID 5 of three files.
    Checked,    ///< Checksums in a file.
    Encrypted,  ///< AES-XTS in a file.
};

struct VolumePlan {
    static constexpr std::uint32_t kChunk = 4096;  ///< Of an array with parity.

    std::string id;
    core::Uuid uuid;
    std::size_t target = 0;
    bool file = true;    ///< Else in the target's memory.
    bool local = false;  ///< A file of the IPU itself: no network. `target` is the IPU then.
    std::uint32_t block_size = 512;
    std::uint64_t blocks = 0;
    Form form = Form::Plain;
    std::uint64_t lower_blocks = 0;  ///< Of each file that it is made of.

    [[nodiscard]] std::size_t members() const {
        return form == Form::Mirror ? 2 : form == Form::Parity ? 3 : 0;
    }
    /// Files that it is made of; an array has one more that can take a member's place.
    [[nodiscard]] std::size_t lowers() const {
        return form == Form::Plain ? 0 : members() == 0 ? 1 : members() + 1;
    }
    [[nodiscard]] std::string lower(std::size_t i) const { return id + "-" + std::to_string(i); }
};

struct DiskPlan {
    std::size_t ipu = 0;
    core::HostFunction function;
    std::size_t volume = 0;  ///< The first that is attached there.
    bool hostile = false;
};

struct Plan {
    Focus focus = Focus::Mixed;
    core::Nanos duration{};  ///< Of the time with faults.
    std::vector<std::uint32_t> target_reactors;
    std::vector<std::uint32_t> ipu_reactors;
    std::vector<VolumePlan> volumes;
    std::vector<DiskPlan> disks;
    std::uint32_t listeners = 1;  ///< Of each target; hosts use as many paths.
    RemoteTuning tuning;
    frontends::nvme_tcp::TargetLimits target;
    core::Nanos path_timeout{};
    std::size_t pool_left = ~std::size_t{0};
    std::size_t tcp_window = std::size_t{1} << 20U;
    WorkloadOptions workload;
    QemuFaults qemu_faults;
    std::int64_t clock_permille = 0;  ///< Clocks differ by at most so much.
};

/// Draws the plan; may switch kinds of faults on (the focus) or off (what does not go together).
Plan draw_plan(core::Prng prng, std::optional<Focus> wanted, Faults& faults);

}  // namespace remora::sim
