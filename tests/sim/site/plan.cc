// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/site/plan.h"

#include <array>
#include <span>

#include "services/integrity/integrity_format.h"

namespace remora::sim {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::array<std::string_view, kFocusCount> kNames{
    "mixed", "network", "digests", "target", "ipu", "disk", "control", "hostile", "limits", "time",
};

std::span<const Fault> faults_of(Focus focus) {
    static constexpr std::array kNetwork{Fault::Delay,      Fault::Split,     Fault::HalfClose,
                                         Fault::Reset,      Fault::Partition, Fault::RefuseConnect,
                                         Fault::SlowConnect};
    static constexpr std::array kDigests{Fault::BitFlip, Fault::Split};
    static constexpr std::array kTarget{Fault::PowerLoss, Fault::KillTarget, Fault::Stop,
                                        Fault::Linger};
    static constexpr std::array kIpu{Fault::KillIpu, Fault::KillInCall, Fault::Stop,
                                     Fault::DropVhost, Fault::Linger};
    static constexpr std::array kDisk{Fault::DiskError, Fault::DiskSlow, Fault::DiskFull,
                                      Fault::FlushError, Fault::Reset};
    static constexpr std::array kControl{Fault::NamespaceGone, Fault::Churn,    Fault::LostCall,
                                         Fault::HostTrouble,   Fault::KillHost, Fault::KillInCall,
                                         Fault::Reboot,        Fault::AnaChange};
    static constexpr std::array kHostile{Fault::HostileGuest};
    static constexpr std::array kLimits{Fault::SmallPool, Fault::SmallLimits, Fault::Unlucky};
    static constexpr std::array kTime{Fault::Stall, Fault::EarlyWake, Fault::ClockJump,
                                      Fault::ClockRate};
    switch (focus) {
        case Focus::Mixed:
            return {};
        case Focus::Network:
            return kNetwork;
        case Focus::Digests:
            return kDigests;
        case Focus::Target:
            return kTarget;
        case Focus::Ipu:
            return kIpu;
        case Focus::Disk:
            return kDisk;
        case Focus::Control:
            return kControl;
        case Focus::Hostile:
            return kHostile;
        case Focus::Limits:
            return kLimits;
        case Focus::Time:
            return kTime;
    }
    return {};
}

class Drawer {
  public:
    Drawer(core::Prng prng, Faults& faults) : prng_(prng), faults_(faults) {}

    Plan draw(std::optional<Focus> wanted) {
        plan_.focus = static_cast<Focus>(prng_.below(kFocusCount));
        if (wanted) {
            plan_.focus = *wanted;
        }
        for (const Fault fault : faults_of(plan_.focus)) {
            faults_.enable(fault);
        }
        draw_nodes();
        draw_limits();
        draw_workload();
        draw_host();
        // Last, so that older seeds mean what they meant.
        plan_.listeners = below(3) == 0 ? static_cast<std::uint32_t>(2 + below(2)) : 1;
        draw_forms();
        return std::move(plan_);
    }

  private:
    std::uint64_t below(std::uint64_t bound) { return prng_.below(bound); }
    bool on(Fault fault) const { return faults_.drawn(fault); }

    void draw_nodes() {
        // From a blink to minutes of simulated time.
        plan_.duration = milliseconds(200U << below(10));
        const std::uint64_t targets = 1 + (below(4) == 0 ? 1 : 0);
        const std::uint64_t ipus = 1 + (below(5) == 0 ? 1 : 0);
        for (std::uint64_t i = 0; i < targets; ++i) {
            plan_.target_reactors.push_back(static_cast<std::uint32_t>(1 + below(3)));
        }
        for (std::uint64_t i = 0; i < ipus; ++i) {
            plan_.ipu_reactors.push_back(static_cast<std::uint32_t>(1 + below(3)));
        }
        const std::uint64_t volumes = ipus + below(3);
        for (std::uint64_t i = 0; i < volumes; ++i) {
            VolumePlan volume;
            volume.id = "v" + std::to_string(i);
            volume.uuid.bytes[3] = static_cast<unsigned char>(i + 1);
            volume.uuid.bytes[15] = static_cast<unsigned char>(below(256));
            volume.target = below(targets);
            volume.file = below(4) != 0;
            volume.block_size = below(2) == 0 ? 512 : 4096;
            volume.blocks = (16U << below(below(4) == 0 ? 6 : 4)) + below(8);
            DiskPlan disk;
            disk.ipu = i % ipus;
            volume.local = below(6) == 0;
            if (volume.local) {
                volume.file = true;
                volume.target = disk.ipu;
            }
            plan_.volumes.push_back(volume);
            const auto of_ipu = static_cast<std::uint32_t>(i / ipus);
            disk.function = below(3) == 0 ? core::HostFunction(0, of_ipu + 1) : of_ipu;
            disk.volume = i;
            disk.hostile = on(Fault::HostileGuest) && i > 0 && below(2) == 0;
            plan_.disks.push_back(disk);
        }
        if (on(Fault::HostileGuest) && volumes > 1) {
            plan_.disks.back().hostile = true;
        }
    }

    /// An array is no use where its files fail all the time: it loses its members and ends.
    void draw_forms() {
        const bool files_fail =
            on(Fault::DiskError) || on(Fault::DiskFull) || on(Fault::FlushError);
        for (VolumePlan& volume : plan_.volumes) {
            const std::uint64_t drawn = below(6);
            if (!volume.file || drawn > 3 || (drawn < 2 && files_fail)) {
                continue;
            }
            constexpr std::array kForms{Form::Mirror, Form::Parity, Form::Checked, Form::Encrypted};
            volume.form = kForms[drawn];
            fit(volume);
        }
    }
    /// Files that make the volume just as large as it is said to be.
    static void fit(VolumePlan& volume) {
        constexpr std::uint64_t kMirrorFront = std::uint64_t{1} << 20U;
        constexpr std::uint64_t kParityFront = std::uint64_t{16} << 20U;
        const std::uint64_t row = VolumePlan::kChunk / volume.block_size;
        block::Geometry lower;
        lower.block_size = volume.block_size;
        switch (volume.form) {
            case Form::Plain:
                break;
            case Form::Encrypted:
                volume.lower_blocks = volume.blocks;
                break;
            case Form::Mirror:
                volume.blocks = (volume.blocks + row - 1) / row * row;
                volume.lower_blocks = kMirrorFront / volume.block_size + volume.blocks;
                break;
            case Form::Parity:
                volume.blocks = (volume.blocks + 2 * row - 1) / (2 * row) * 2 * row;
                volume.lower_blocks = kParityFront / volume.block_size + volume.blocks / 2;
                break;
            case Form::Checked:
                lower.block_count = volume.blocks;
                for (;; ++lower.block_count) {
                    const auto layout = services::integrity::plan_layout(lower);
                    if (layout && layout->block_count >= volume.blocks) {
                        volume.blocks = layout->block_count;
                        break;
                    }
                }
                volume.lower_blocks = lower.block_count;
                break;
        }
    }

    void draw_limits() {
        // Requests in parts, several H2CData for an R2T, data in the capsule or not.
        plan_.target.transfer_shift = static_cast<std::uint32_t>(1 + below(6));
        plan_.target.max_h2c_data = 4096U << below(7);
        plan_.target.in_capsule_bytes = 4096U << below(3);
        const bool digests = on(Fault::BitFlip) || below(4) == 0;
        plan_.tuning.header_digest = digests || below(4) == 0;
        plan_.tuning.data_digest = digests || below(4) == 0;
        plan_.tuning.io_queues = static_cast<std::uint32_t>(below(4));
        plan_.tuning.queue_size = 2U << below(7);
        plan_.path_timeout = below(3) == 0 ? seconds(5) : seconds(30);
        plan_.clock_permille = on(Fault::ClockRate) ? 1 + static_cast<std::int64_t>(below(100)) : 0;
        if (below(4) == 0) {
            plan_.tcp_window = 2048U << below(6);
        }
        if (on(Fault::SmallPool)) {
            // At least one transfer fits, or nothing would ever move.
            plan_.pool_left = (std::size_t{4096} << plan_.target.transfer_shift) << below(2);
        }
        if (on(Fault::SmallLimits)) {
            plan_.tcp_window = 512U << below(6);
            plan_.tuning.queue_size = static_cast<std::uint32_t>(2 + below(2));
            plan_.tuning.io_queues = 1;
        }
    }

    void draw_workload() {
        WorkloadOptions& work = plan_.workload;
        work.queues = 1;
        work.queue_size = static_cast<std::uint16_t>(32U << below(3));
        work.depth = static_cast<std::uint16_t>(1U << below(6));
        if (on(Fault::SmallLimits)) {
            work.depth = static_cast<std::uint16_t>(1 + below(2));
            work.queue_size = 32;
        }
        work.event_index = below(3) != 0;
        work.indirect = below(3) != 0;
        work.acknowledge_all = below(2) == 0;
        work.early_calls = below(3) == 0;
        work.memory_regions = static_cast<std::uint8_t>(1 + below(2));
        work.max_io_blocks = static_cast<std::uint32_t>(1U << below(below(3) == 0 ? 7 : 5));
        work.reads = static_cast<std::uint32_t>(below(60));
        work.writes = static_cast<std::uint32_t>(5 + below(60));
        work.flushes = static_cast<std::uint32_t>(below(12));
        work.write_zeroes = static_cast<std::uint32_t>(below(8));
        work.discards = static_cast<std::uint32_t>(below(8));
        work.overlap = below(5) == 0;
        // Some hundreds of operations a disk, spread over the run.
        const std::uint64_t operations = 40 + below(300);
        const core::Nanos each = plan_.duration / static_cast<std::int64_t>(operations);
        work.think_time = each * work.depth;
        work.max_operations = operations;
        work.packed = below(2) == 0;
    }

    void draw_host() {
        if (!on(Fault::HostTrouble)) {
            return;
        }
        QemuFaults& host = plan_.qemu_faults;
        host.refuse = static_cast<std::uint32_t>(below(60));
        host.late = static_cast<std::uint32_t>(below(60));
        host.mute = static_cast<std::uint32_t>(below(40));
        host.drop = static_cast<std::uint32_t>(below(40));
        host.unplug_refused = static_cast<std::uint32_t>(below(300));
        host.ejected = static_cast<std::uint32_t>(below(100));
    }

    core::Prng prng_;
    Faults& faults_;
    Plan plan_;
};

}  // namespace

std::string_view to_string(Focus focus) {
    return kNames[static_cast<std::size_t>(focus)];
}

std::optional<Focus> parse_focus(std::string_view text) {
    for (std::size_t i = 0; i < kFocusCount; ++i) {
        if (kNames[i] == text) {
            return static_cast<Focus>(i);
        }
    }
    return std::nullopt;
}

Plan draw_plan(core::Prng prng, std::optional<Focus> wanted, Faults& faults) {
    return Drawer(prng, faults).draw(wanted);
}

}  // namespace remora::sim
