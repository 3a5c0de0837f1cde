// SPDX-License-Identifier: Apache-2.0
// CrashRun: an array's life as a seed has it: overlapping reads, writes and flushes, members that
// fail and are replaced, power cuts, and members that do not come back from one. After each cut the
// members are given in any order, those that had failed among them, and every block is compared.
#pragma once

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/log.h"
#include "reactor/call.h"
#include "reactor/gate.h"
#include "services/raid/raid_device.h"
#include "tests/support/crash_client.h"
#include "tests/support/crashing_device.h"
#include "tests/support/jumping_world.h"

namespace remora::services::raid {

using block::Status;
using core::Prng;
using reactor::Task;
using test::CrashClient;
using test::CrashingDevice;
using test::JumpingWorld;
using test::kCrashBlock;
using test::Medium;

struct Shape {
    Level level;
    std::size_t members;
    std::uint32_t chunk = 8192;
};

class CrashRun {
  public:
    CrashRun(Shape shape, std::uint64_t seed) : shape_(shape), prng_(seed), world_(seed) {
        if (std::getenv("REMORA_RAID_SEED") == nullptr) {
            log::set_sink([](core::log::Level, std::string_view) {});
        }
        options_.name = "v";
        options_.uuid = core::Uuid::random(prng_);
        options_.level = shape.level;
        options_.chunk_bytes = shape.chunk;
        bad_block_seed_ = is_redundant() && prng_.below(4) == 0;
    }
    ~CrashRun() {
        world_.run_until([this] { return client_.in_flight() == 0 && !replacing_; });
        world_.run([this]() -> Task<> { co_await close(); });
        log::set_sink(nullptr);
    }

    void play() {
        for (std::size_t i = 0; i < shape_.members; ++i) {
            Medium medium;
            for (std::uint64_t block = data_at(); block < member_blocks(); ++block) {
                test::fill(medium[block].data(), prng_.next());
            }
            add_disk(std::move(medium));
        }
        world_.run([this]() -> Task<> { co_await create(); });
        if (testing::Test::HasFailure()) {
            return;
        }
        world_.run([this]() -> Task<> { co_await client_.read_all(); });
        const std::uint64_t cuts = 1 + prng_.below(3);
        for (std::uint64_t i = 0; i < cuts && !testing::Test::HasFailure(); ++i) {
            play_phase(20 + prng_.below(80));
            cut_power();
            world_.run([this]() -> Task<> { co_await assemble(); });
            if (!testing::Test::HasFailure()) {
                world_.run([this]() -> Task<> { co_await client_.read_all(); });
            }
        }
        if (!testing::Test::HasFailure()) {
            play_phase(30);
            world_.run([this]() -> Task<> { co_await finish(); });
        }
    }

  private:
    struct Disk {
        std::string name;
        std::unique_ptr<CrashingDevice> device;
        Medium medium;
        std::set<std::uint64_t> bad;
        bool out = false;  // failed, or left out: never to come back as it is
    };

    [[nodiscard]] bool is_redundant() const {
        return shape_.level != Level::Concat && shape_.level != Level::Raid0;
    }
    [[nodiscard]] std::uint64_t data_at() const {
        return (shape_.level == Level::Raid5 ? 16 * core::kMiB : core::kMiB) / kCrashBlock;
    }
    [[nodiscard]] std::uint64_t member_blocks() const {
        return data_at() + (shape_.level == Level::Raid1 ? 96 : 32);
    }

    void add_disk(Medium medium) {
        Disk disk;
        disk.name = "d" + std::to_string(disks_.size());
        disk.medium = std::move(medium);
        disks_.push_back(std::move(disk));
        power_up(disks_.back());
    }
    void power_up(Disk& disk) {
        disk.device = std::make_unique<CrashingDevice>(disk.name, member_blocks(), prng_.fork(),
                                                       std::move(disk.medium));
        disk.device->bad_blocks = disk.bad;
        disk.device->volatile_cache = volatile_;
        disk.medium.clear();
    }
    [[nodiscard]] std::vector<Member> members() {
        std::vector<Member> all;
        for (Disk& disk : disks_) {
            if (disk.device != nullptr) {
                all.push_back({disk.name, disk.device.get()});
            }
        }
        return all;
    }

    Task<> create() {
        const block::ReactorContext context{world_.reactor, *world_.pool};
        auto made = co_await RaidDevice::create(options_, members(), std::span(&context, 1));
        EXPECT_TRUE(made) << made.error().message;
        if (made) {
            device_ = std::move(*made);
            open();
        }
    }
    void open() {
        if (prng_.below(2) == 0) {
            device_->set_rate_limit((1 + prng_.below(64)) * core::kMiB);
        }
        channel_ = std::move(*device_->open_channel());
        client_.open(*channel_, device_->geometry().block_count);
    }
    Task<> assemble() {
        std::vector<Member> all = members();
        for (std::size_t i = all.size(); i > 1; --i) {
            std::swap(all[i - 1], all[prng_.below(i)]);
        }
        const block::ReactorContext context{world_.reactor, *world_.pool};
        auto made = co_await RaidDevice::assemble(options_, all, std::span(&context, 1));
        EXPECT_TRUE(made) << made.error().message;
        if (made) {
            device_ = std::move(*made);
            open();
        }
    }
    Task<> close() {
        channel_.reset();
        if (device_ != nullptr) {
            co_await device_->stop();
            device_.reset();
        }
    }

    // Faults.

    void play_phase(std::uint64_t ops) {
        cut_ = false;
        client_.power_up();
        for (std::uint64_t i = 0; i < ops && !testing::Test::HasFailure(); ++i) {
            world_.reactor.post_function([this] {
                client_.start_random(device_->status().progress.kind != Progress::Kind::Resync);
            });
            world_.step();
            const std::uint64_t steps = prng_.below(30);
            for (std::uint64_t step = 0; step < steps; ++step) {
                world_.step();
            }
            world_.run_until([this] { return client_.in_flight() < 12; });
            if (maybe_fault() && prng_.below(2) == 0) {
                ops = std::min(ops, i + 1 + prng_.below(6));  // the power goes, too, and soon
            }
        }
    }

    /// Whether a member begins to fail.
    bool maybe_fault() {
        if (!is_redundant()) {
            return false;
        }
        const bool busy = device_->status().progress.kind == Progress::Kind::Resync;
        if (bad_block_seed_) {
            if (prng_.below(10) == 0 && !busy) {
                // One disk only: what it cannot give, the others can.
                disks_[bad_disk_].device->bad_blocks.insert(
                    data_at() + prng_.below(member_blocks() - data_at()));
            }
            return false;
        }
        const auto status = device_->status();
        if (status.health == RaidStatus::Health::Optimal && !busy && victim_ == kNone &&
            prng_.below(25) == 0) {
            victim_ = pick_member();
            CrashingDevice& device = *disks_[victim_].device;
            if (prng_.below(2) == 0) {
                device.dead = Status::PathError;
            } else {
                device.fail_writes_after = device.writes + prng_.below(6);
            }
            return true;
        } else if (victim_ != kNone && status.health == RaidStatus::Health::Degraded &&
                   status.progress.kind == Progress::Kind::None && prng_.below(12) == 0) {
            begin_replace();
        } else if (victim_ != kNone && replaced_ && status.health == RaidStatus::Health::Optimal) {
            disks_[victim_].out = true;
            victim_ = kNone;
            replaced_ = false;
        }
        return false;
    }
    [[nodiscard]] std::size_t pick_member() {
        for (;;) {
            const std::size_t at = prng_.below(disks_.size());
            const auto status = device_->status();
            for (const MemberStatus& member : status.members) {
                if (member.name == disks_[at].name && member.state == MemberState::Active) {
                    return at;
                }
            }
        }
    }
    void begin_replace() {
        std::string failed;
        for (const MemberStatus& member : device_->status().members) {
            if (member.state == MemberState::Rebuilding || member.state == MemberState::Spare) {
                return;  // one is on its way
            }
            const bool gone =
                member.state == MemberState::Failed || member.state == MemberState::Missing;
            if (failed.empty() && gone) {
                failed = member.name;
            }
        }
        if (failed.empty() || replacing_) {
            return;
        }
        add_disk({});
        replacing_ = true;
        const bool spare = prng_.below(3) == 0;
        world_.reactor.post_function([this, failed, spare] {
            replace_gate_.spawn(
                [](CrashRun* run, std::string name, bool as_spare) -> Task<> {
                    Disk& disk = run->disks_.back();
                    const Member with{disk.name, disk.device.get()};
                    const core::Result<void> done =
                        as_spare ? co_await run->device_->add_spare(with)
                                 : co_await run->device_->replace(name, with);
                    EXPECT_TRUE(done || run->cut_) << done.error().message;
                    run->replacing_ = false;
                    run->replaced_ = run->replaced_ || done.has_value();
                },
                this, failed, spare);
        });
        world_.step();
    }

    void cut_power() {
        // Before that is done the copies, or parities, are not yet what they will be.
        const bool resyncing = device_->status().progress.kind == Progress::Kind::Resync;
        cut_ = true;
        client_.cut();
        for (Disk& disk : disks_) {
            if (disk.device != nullptr) {
                disk.bad = disk.device->bad_blocks;
                disk.medium = disk.device->cut_power();
            }
        }
        world_.run_until([this] { return client_.in_flight() == 0 && !replacing_; });
        world_.run([this]() -> Task<> { co_await close(); });
        for (Disk& disk : disks_) {
            if (disk.device != nullptr) {
                power_up(disk);
            }
        }
        // Now and then one does not come back.
        if (is_redundant() && !bad_block_seed_ && victim_ == kNone && !resyncing &&
            prng_.below(3) == 0) {
            victim_ = find_used();
            left_out_ = std::move(disks_[victim_].device);
        }
        if (victim_ != kNone && left_out_ == nullptr) {
            // One that had failed may come back, as if nothing had been.
            disks_[victim_].device->dead = Status::Ok;
        }
        cut_ = false;
        client_.power_up();
    }
    std::size_t find_used() {
        for (;;) {
            const std::size_t at = prng_.below(disks_.size());
            if (!disks_[at].out && disks_[at].device != nullptr) {
                return at;
            }
        }
    }

    Task<> finish() {
        while (client_.in_flight() > 0 || replacing_) {
            co_await reactor::sleep_for(core::Nanos(100'000));
        }
        device_->set_rate_limit(0);
        co_await client_.flush();
        while (device_->status().progress.kind != Progress::Kind::None) {
            co_await reactor::sleep_for(core::Nanos(100'000));
        }
        if (is_redundant() && device_->status().health == RaidStatus::Health::Optimal) {
            EXPECT_TRUE(device_->start_scrub());
            co_await reactor::sleep_for(core::Nanos(1'000'000));
            while (device_->status().progress.kind != Progress::Kind::None) {
                co_await reactor::sleep_for(core::Nanos(100'000));
            }
            EXPECT_EQ(device_->status().scrub_mismatches, 0U);
        }
        co_await client_.check_all();
    }

    static constexpr std::size_t kNone = ~std::size_t{0};

    Shape shape_;
    Prng prng_;
    JumpingWorld world_;
    RaidOptions options_;
    bool volatile_ = true;
    std::vector<Disk> disks_;
    std::unique_ptr<CrashingDevice> left_out_;
    std::unique_ptr<RaidDevice> device_;
    std::unique_ptr<block::Channel> channel_;
    CrashClient client_{prng_.fork()};
    bool cut_ = false;
    bool bad_block_seed_ = false;
    std::size_t bad_disk_ = 0;
    std::size_t victim_ = kNone;
    bool replacing_ = false;
    bool replaced_ = false;
    reactor::Gate replace_gate_;
};

}  // namespace remora::services::raid
