// SPDX-License-Identifier: Apache-2.0
// What an operator does with an array and its members, one case each. raid_crash_test has the rest.
#include "services/raid/raid_device.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/log.h"
#include "reactor/call.h"
#include "tests/support/block_client.h"
#include "tests/support/crashing_device.h"
#include "tests/support/jumping_world.h"

namespace remora::services::raid {
namespace {

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

TEST_F(RaidTest, Create_badInput_isRefusedAndSaysWhy) {
    world.run([this]() -> Task<> {
        options.level = Level::Raid1;
        add_disk();
        add_disk();
        add_disk(48);  // larger
        const auto bad = ErrorKind::InvalidArgument;
        co_await expect_refused({}, bad, "2 or more");
        co_await expect_refused({member(0)}, bad, "2 or more");
        co_await expect_refused({member(0), member(0)}, bad, "twice");
        co_await expect_refused({member(0), {"x", disks[0].get()}}, bad, "twice");
        co_await expect_refused({member(0), {"d0", disks[1].get()}}, bad, "twice");
        co_await expect_refused({member(0), {"x", nullptr}}, bad, "missing");
        co_await expect_refused({member(0), {"", disks[1].get()}}, bad, "name");
        co_await expect_refused({member(0), {std::string(64, 'n'), disks[1].get()}}, bad, "name");
        co_await expect_refused({member(0), member(2)}, bad, "has");
        options.level = Level::Raid5;
        co_await expect_refused({member(0), member(1)}, bad, "3 or more");
        co_await expect_refused({{"x", nullptr}, member(0), member(1)}, bad, "missing");
        options.chunk_bytes = 12288;
        options.level = Level::Raid0;
        co_await expect_refused({member(0), member(1)}, bad, "power of two");
        options.chunk_bytes = 2048;
        co_await expect_refused({member(0), member(1)}, bad, "power of two");
        options.chunk_bytes = 256 * 1024;
        co_await expect_refused({member(0), member(1)}, bad, "too small");
        options.chunk_bytes = 8192;
        disks[1]->dead = Status::PathError;
        co_await expect_refused({member(0), member(1)}, ErrorKind::Unavailable, "d1");
    });
}

TEST_F(RaidTest, Create_memberOfAnotherArray_isRefusedUnlessOverwritten) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid1, 2);
        co_await close();
        options.uuid = *core::Uuid::parse("99999999-2222-4333-8444-555555555555");
        Result<void> made = co_await create(members());
        EXPECT_FALSE(made);
        EXPECT_EQ(made.error().kind, ErrorKind::AlreadyExists);
        EXPECT_NE(made.error().message.find("11111111"), std::string::npos);
        options.overwrite = true;
        made = co_await create(members());
        EXPECT_TRUE(made);
    });
}

TEST_F(RaidTest, Assemble_anyOrder_findsThePlaces) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid0, 3);
        EXPECT_EQ(co_await write(0, 40, 7), Status::Ok);
        co_await close();
        const Result<void> made = co_await assemble({member(2), member(0), member(1)});
        EXPECT_TRUE(made);
        EXPECT_TRUE(co_await reads(0, 40, 7));
        EXPECT_EQ(device->status().members[1].name, "d1");
    });
}

TEST_F(RaidTest, Assemble_tooFewOrForeign_namesThem) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid5, 3);
        co_await close();
        add_disk();  // has no superblock
        Result<void> made = co_await assemble({member(0), {"d1", nullptr}, {"d2", nullptr}});
        EXPECT_FALSE(made);
        EXPECT_EQ(made.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(made.error().message.find("'d1', 'd2'"), std::string::npos);
        made = co_await assemble({member(3)});
        EXPECT_EQ(made.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(made.error().message.find("no superblock"), std::string::npos);
        options.chunk_bytes = 16384;
        made = co_await assemble(members());
        EXPECT_EQ(made.error().kind, ErrorKind::InvalidArgument);
        options.chunk_bytes = 8192;
        made = co_await assemble({member(0), member(1), member(3)});
        EXPECT_TRUE(made) << made.error().message;
        EXPECT_EQ(device->status().health, Health::Degraded);
        EXPECT_EQ(state("d2"), MemberState::Missing);
        EXPECT_EQ(state("d3"), MemberState::Failed);
    });
}

TEST_F(RaidTest, Assemble_memberThatWasLeftOut_isStaleUntilReplaced) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid1, 2);
        EXPECT_EQ(co_await write(0, 8, 1), Status::Ok);
        co_await close();
        Result<void> made = co_await assemble({member(0)});
        EXPECT_TRUE(made);
        EXPECT_EQ(co_await write(0, 8, 2), Status::Ok);
        co_await close();
        made = co_await assemble({member(1), member(0)});
        EXPECT_TRUE(made);
        EXPECT_EQ(state("d1"), MemberState::Missing);
        EXPECT_NE(device->status().members.back().reason.find("stale"), std::string::npos);
        for (int i = 0; i < 4; ++i) {
            EXPECT_TRUE(co_await reads(0, 8, 2)) << "from either copy";
        }
        const Result<void> replaced = co_await device->replace("d1", member(1));
        EXPECT_TRUE(replaced) << replaced.error().message;
        co_await idle();
        EXPECT_EQ(device->status().health, Health::Optimal);
        EXPECT_EQ(state("d1"), MemberState::Active);
        for (int i = 0; i < 4; ++i) {
            EXPECT_TRUE(co_await reads(0, 8, 2)) << "from either copy";
        }
    });
}

TEST_F(RaidTest, Assemble_halvesUsedApart_isRefused) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid1, 2);
        co_await close();
        for (std::size_t half = 0; half < 2; ++half) {
            const Result<void> made = co_await assemble({member(half)});
            EXPECT_EQ(made.has_value(), half == 0 || device != nullptr);
            co_await close();
        }
        const Result<void> made = co_await assemble(members());
        EXPECT_FALSE(made);
        EXPECT_EQ(made.error().kind, ErrorKind::DataLoss);
    });
}

TEST_F(RaidTest, WriteError_otherCopyServesAndItIsWrittenDown) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid1, 2);
        EXPECT_EQ(co_await write(3, 4, 1), Status::Ok);
        disks[1]->fail_writes_after = disks[1]->writes;
        EXPECT_EQ(co_await write(3, 4, 2), Status::Ok);
        EXPECT_EQ(device->status().health, Health::Degraded);
        EXPECT_EQ(state("d1"), MemberState::Failed);
        EXPECT_EQ(find("d1")->write_errors, 1U);
        EXPECT_GT(changes, 0);
        co_await close();
        disks[1]->fail_writes_after = ~0ULL;
        const Result<void> made = co_await assemble(members());
        EXPECT_TRUE(made);
        EXPECT_TRUE(co_await reads(3, 4, 2));
        EXPECT_EQ(device->status().health, Health::Degraded);
    });
}

TEST_F(RaidTest, ReadError_isServedFromTheOthersAndMended) {
    for (const Level level : {Level::Raid1, Level::Raid5, Level::Raid10}) {
        world.run([this, level]() -> Task<> {
            co_await start(level, 4);
            EXPECT_EQ(co_await write(0, 30, 5), Status::Ok);
            for (std::uint64_t i = 0; i < 32; ++i) {
                disks[1]->bad_blocks.insert(offset(level) * kMiBBlocks + i);
            }
            for (int i = 0; i < 12; ++i) {
                EXPECT_TRUE(co_await reads(0, 30, 5));
            }
            EXPECT_GT(find("d1")->read_errors, 0U);
            EXPECT_GT(find("d1")->repaired_blocks, 0U);
            EXPECT_EQ(device->status().health, Health::Optimal);
            EXPECT_LT(disks[1]->bad_blocks.size(), 32U);
            co_await close();
            disks.clear();
        });
    }
}

TEST_F(RaidTest, LastCopy_errorIsTheRequestsAndItStays) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid1, 2);
        EXPECT_EQ(co_await write(0, 8, 1), Status::Ok);
        disks[0]->dead = Status::PathError;
        EXPECT_EQ(co_await write(0, 1, 1), Status::Ok);
        disks[1]->bad_blocks.insert(kMiBBlocks + 2);
        EXPECT_FALSE(co_await reads(0, 8, 1));
        EXPECT_EQ(co_await write(2, 1, 9), Status::Ok) << "the others can still be written";
        EXPECT_TRUE(co_await reads(2, 1, 9));
        const Result<void> removed = co_await device->remove_member("d1");
        EXPECT_FALSE(removed);
        EXPECT_EQ(removed.error().kind, ErrorKind::FailedPrecondition);
        EXPECT_NE(removed.error().message.find("last good copy"), std::string::npos);
    });
}

TEST_F(RaidTest, Raid5_secondLoss_failsAllAndIsNotWrittenDown) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid5, 3);
        EXPECT_EQ(co_await write(0, 40, 1), Status::Ok);
        disks[0]->dead = Status::PathError;
        EXPECT_EQ(co_await write(0, 40, 2), Status::Ok);
        disks[1]->dead = Status::PathError;
        EXPECT_NE(co_await write(0, 40, 3), Status::Ok);
        EXPECT_EQ(device->status().health, Health::Failed);
        EXPECT_FALSE(co_await reads(0, 1, 2));
        co_await close();
        disks[1]->dead = Status::Ok;
        const Result<void> made = co_await assemble(members());
        EXPECT_TRUE(made) << "the second one has missed nothing that was acknowledged";
        EXPECT_EQ(device->status().health, Health::Degraded);
    });
}

TEST_F(RaidTest, Spare_takesTheFailedOnesPlace) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid5, 3);
        EXPECT_EQ(co_await write(0, 48, 1), Status::Ok);
        add_disk();
        Result<void> added = co_await device->add_spare(member(3));
        EXPECT_TRUE(added) << added.error().message;
        EXPECT_EQ(state("d3"), MemberState::Spare);
        added = co_await device->add_spare(member(3));
        EXPECT_EQ(added.error().kind, ErrorKind::AlreadyExists);
        disks[1]->dead = Status::PathError;
        EXPECT_EQ(co_await write(0, 48, 2), Status::Ok);
        co_await idle();
        EXPECT_EQ(device->status().health, Health::Optimal);
        EXPECT_EQ(state("d3"), MemberState::Active);
        EXPECT_TRUE(co_await reads(0, 48, 2));
        disks[2]->dead = Status::PathError;
        EXPECT_TRUE(co_await reads(0, 48, 2)) << "with what was rebuilt";
        co_await close();
        const Result<void> made = co_await assemble({member(3), member(1), member(0)});
        EXPECT_TRUE(made) << made.error().message;
    });
}

TEST_F(RaidTest, Spare_isKnownAfterARestart) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid10, 4);
        add_disk();
        const Result<void> added = co_await device->add_spare(member(4));
        EXPECT_TRUE(added);
        co_await close();
        const Result<void> made = co_await assemble(members());
        EXPECT_TRUE(made);
        EXPECT_EQ(state("d4"), MemberState::Spare);
        const Result<void> removed = co_await device->remove_member("d4");
        EXPECT_TRUE(removed);
        EXPECT_EQ(find("d4"), nullptr);
    });
}

TEST_F(RaidTest, Replace_goodMember_servesUntilTheOtherHasAll) {
    for (const Level level : {Level::Raid1, Level::Raid5}) {
        world.run([this, level]() -> Task<> {
            co_await start(level, 3);
            EXPECT_EQ(co_await write(0, 30, 1), Status::Ok);
            add_disk();
            device->set_rate_limit(core::kMiB);
            Result<void> begun = co_await device->replace("nobody", member(3));
            EXPECT_EQ(begun.error().kind, ErrorKind::NotFound);
            begun = co_await device->replace("d0", member(3));
            EXPECT_TRUE(begun) << begun.error().message;
            EXPECT_EQ(device->status().health, Health::Optimal);
            EXPECT_EQ(state("d0"), MemberState::Active);
            EXPECT_EQ(state("d3"), MemberState::Rebuilding);
            begun = co_await device->replace("d1", member(3));
            EXPECT_FALSE(begun);
            EXPECT_EQ(co_await write(0, 30, 2), Status::Ok);
            co_await idle();
            EXPECT_EQ(state("d3"), MemberState::Active);
            EXPECT_EQ(find("d0"), nullptr);
            disks[1]->dead = Status::PathError;
            EXPECT_TRUE(co_await reads(0, 30, 2));
            co_await close();
            disks.clear();
        });
    }
}

TEST_F(RaidTest, Scrub_findsAndMendsWhatDiffers) {
    for (const Level level : {Level::Raid1, Level::Raid5, Level::Raid10}) {
        world.run([this, level]() -> Task<> {
            co_await start(level, 4);
            EXPECT_EQ(co_await write(0, 30, 1), Status::Ok);
            EXPECT_EQ(co_await client->perform(Opcode::Flush, 0, 0), Status::Ok);
            // Parity of the first stripe, or a second copy.
            const std::size_t victim = level == Level::Raid5 ? 3 : 1;
            disks[victim]->put(offset(level) * kMiBBlocks + 1, BlockBytes{std::byte{1}});
            Result<void> begun = device->start_scrub();
            EXPECT_TRUE(begun) << begun.error().message;
            co_await idle();
            EXPECT_EQ(device->status().scrub_mismatches, 1U);
            begun = device->start_scrub();
            EXPECT_TRUE(begun);
            co_await idle();
            EXPECT_EQ(device->status().scrub_mismatches, 1U) << "it was mended";
            EXPECT_TRUE(co_await reads(0, 30, 1));
            co_await close();
            disks.clear();
        });
    }
}

TEST_F(RaidTest, Scrub_ofWhatCannotBeCompared_isRefused) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid0, 2);
        EXPECT_FALSE(device->start_scrub());
        const Result<void> added = co_await device->add_spare({"x", disks[0].get()});
        EXPECT_EQ(added.error().kind, ErrorKind::FailedPrecondition);
        const Result<void> removed = co_await device->remove_member("d0");
        EXPECT_EQ(removed.error().kind, ErrorKind::FailedPrecondition);
    });
}

TEST_F(RaidTest, Raid0_memberError_isTheRequests) {
    world.run([this]() -> Task<> {
        co_await start(Level::Raid0, 2);
        EXPECT_EQ(co_await write(0, 8, 1), Status::Ok);
        disks[1]->bad_blocks.insert(kMiBBlocks);
        std::vector<std::byte> bytes(8 * kCrashBlock);
        const core::Segment segment{bytes.data(), bytes.size()};
        EXPECT_EQ(co_await client->perform(Opcode::Read, 0, 8, std::span(&segment, 1)),
                  Status::IoError);
        EXPECT_EQ(find("d1")->read_errors, 1U);
    });
}

}  // namespace
}  // namespace remora::services::raid
