// SPDX-License-Identifier: Apache-2.0
// RaidTest: an array of CrashingDevices, and what an operator and its users do with it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/log.h"
#include "reactor/call.h"
#include "services/raid/raid_device.h"
#include "tests/support/block_client.h"
#include "tests/support/crashing_device.h"
#include "tests/support/jumping_world.h"

namespace remora::services::raid {

using namespace std::chrono_literals;
using block::Opcode;
using block::Status;
using core::ErrorKind;
using core::Result;
using reactor::Task;
using Health = RaidStatus::Health;

using test::BlockBytes;
using test::CrashingDevice;
using test::JumpingWorld;
using test::kCrashBlock;
using test::Medium;

constexpr std::uint64_t kMiBBlocks = core::kMiB / kCrashBlock;

class RaidTest : public testing::Test, public RaidObserver {
  public:
    RaidTest() {
        log::set_sink([](core::log::Level, std::string_view) {});
        options.name = "v";
        options.uuid = *core::Uuid::parse("11111111-2222-4333-8444-555555555555");
        options.chunk_bytes = 8192;
    }
    ~RaidTest() override {
        world.run([this]() -> Task<> { co_await close(); });
        log::set_sink(nullptr);
    }
    void on_raid_changed() override { ++changes; }

    static std::uint64_t offset(Level level) { return level == Level::Raid5 ? 16 : 1; }
    CrashingDevice& add_disk(std::uint64_t data_blocks = 32, Medium medium = {}) {
        const std::uint64_t blocks = offset(options.level) * kMiBBlocks + data_blocks;
        disks.push_back(std::make_unique<CrashingDevice>("d" + std::to_string(disks.size()), blocks,
                                                         core::Prng(disks.size() + 1),
                                                         std::move(medium)));
        return *disks.back();
    }
    [[nodiscard]] Member member(std::size_t i) const { return {disks[i]->name(), disks[i].get()}; }
    [[nodiscard]] std::vector<Member> members() const {
        std::vector<Member> all;
        for (std::size_t i = 0; i < disks.size(); ++i) {
            all.push_back(member(i));
        }
        return all;
    }
    Task<Result<void>> create(std::vector<Member> of) {
        const block::ReactorContext context{world.reactor, *world.pool};
        auto made = co_await RaidDevice::create(options, std::move(of), std::span(&context, 1));
        const Result<void> result = keep(made);
        co_return result;
    }
    Task<Result<void>> assemble(std::vector<Member> of) {
        const block::ReactorContext context{world.reactor, *world.pool};
        auto made = co_await RaidDevice::assemble(options, std::move(of), std::span(&context, 1));
        const Result<void> result = keep(made);
        co_return result;
    }
    Task<> expect_refused(std::vector<Member> of, ErrorKind kind, std::string words) {
        const Result<void> made = co_await create(std::move(of));
        EXPECT_FALSE(made) << words;
        if (!made) {
            EXPECT_EQ(made.error().kind, kind) << made.error().message;
            EXPECT_NE(made.error().message.find(words), std::string::npos) << made.error().message;
        }
    }
    Task<> close() {
        client.reset();
        channel.reset();
        if (device != nullptr) {
            co_await device->stop();
            device.reset();
        }
    }
    /// A new array of `count` disks whose copies agree.
    Task<> start(Level level, std::size_t count) {
        options.level = level;
        for (std::size_t i = 0; i < count; ++i) {
            add_disk();
        }
        const Result<void> made = co_await create(members());
        EXPECT_TRUE(made) << made.error().message;
        co_await idle();
    }
    Task<> idle() {
        do {
            co_await reactor::sleep_for(1ms);
        } while (device->status().progress.kind != Progress::Kind::None);
        co_await reactor::sleep_for(1ms);
    }
    Task<Status> write(std::uint64_t lba, std::uint32_t blocks, std::uint64_t seed) {
        std::vector<std::byte> bytes = test::pattern(std::size_t{blocks} * kCrashBlock, seed);
        const core::Segment segment{bytes.data(), bytes.size()};
        const Status ended =
            co_await client->perform(Opcode::Write, lba, blocks, std::span(&segment, 1));
        co_return ended;
    }
    Task<bool> reads(std::uint64_t lba, std::uint32_t blocks, std::uint64_t seed) {
        std::vector<std::byte> bytes(std::size_t{blocks} * kCrashBlock);
        const core::Segment segment{bytes.data(), bytes.size()};
        const Status ended =
            co_await client->perform(Opcode::Read, lba, blocks, std::span(&segment, 1));
        co_return ended == Status::Ok&& bytes == test::pattern(bytes.size(), seed);
    }
    [[nodiscard]] const MemberStatus* find(const std::string& name) {
        status = device->status();
        for (const MemberStatus& each : status.members) {
            if (each.name == name) {
                return &each;
            }
        }
        return nullptr;
    }
    [[nodiscard]] MemberState state(const std::string& name) {
        const MemberStatus* at = find(name);
        return at == nullptr ? MemberState::Missing : at->state;
    }

    JumpingWorld world;
    RaidOptions options;
    std::vector<std::unique_ptr<CrashingDevice>> disks;
    std::unique_ptr<RaidDevice> device;
    std::unique_ptr<block::Channel> channel;
    std::unique_ptr<test::BlockClient> client;
    RaidStatus status;
    int changes = 0;
    static inline std::vector<std::string> lines;  // of log, where a test keeps them

  private:
    Result<void> keep(Result<std::unique_ptr<RaidDevice>>& made) {
        if (!made) {
            return std::unexpected(made.error());
        }
        device = std::move(*made);
        device->set_observer(this);
        channel = std::move(*device->open_channel());
        client = std::make_unique<test::BlockClient>(*channel);
        return {};
    }
};

}  // namespace remora::services::raid
