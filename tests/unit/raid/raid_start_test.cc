// SPDX-License-Identifier: Apache-2.0
// How an array begins: made anew, and put together again. One case each.
#include <algorithm>

#include "tests/unit/raid/raid_fixture.h"

namespace remora::services::raid {
namespace {

constexpr core::Nanos kEach = 10s;

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

TEST_F(RaidTest, Create_memberFails_leavesTheOthersAsTheyWereAndLogsWhatStays) {
    world.run([this]() -> Task<> {
        options.level = Level::Raid0;
        for (int i = 0; i < 3; ++i) {
            add_disk().put(0, BlockBytes{std::byte{7}});  // somebody's data
        }
        lines.clear();
        log::set_sink([](core::log::Level, std::string_view line) { lines.emplace_back(line); });
        disks[1]->fail_writes_after = 0;
        co_await expect_refused(members(), ErrorKind::Unavailable, "'d1' cannot be written");
        EXPECT_EQ(disks[0]->at(0), BlockBytes{});
        EXPECT_EQ(disks[2]->at(0), BlockBytes{std::byte{7}});
        EXPECT_EQ(disks[2]->writes, 0U);
        EXPECT_EQ(std::ranges::count_if(lines,
                                        [](const std::string& line) {
                                            return line.contains("are left") &&
                                                   line.contains("'d1' cannot be written");
                                        }),
                  1);
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

// A member that is away answers when its time limit is over: all are asked at the same time.
TEST_F(RaidTest, CreateAndAssemble_slowMembers_areAskedTogether) {
    world.run([this]() -> Task<> {
        options.level = Level::Raid1;
        for (int i = 0; i < 6; ++i) {
            add_disk();
        }
        for (const bool fresh : {true, false}) {
            for (const auto& disk : disks) {
                disk->slow_reads = kEach;
            }
            for (std::size_t i = 3; i < 6 && !fresh; ++i) {
                disks[i]->dead = Status::PathError;
            }
            const core::Nanos before = world.reactor.now();
            const Result<void> made =
                fresh ? co_await create(members()) : co_await assemble(members());
            EXPECT_TRUE(made) << made.error().message;
            // An assembly also reads the bitmaps of the three that have answered.
            EXPECT_LT(world.reactor.now() - before, (fresh ? 2 : 5) * kEach);
            EXPECT_EQ(state("d5"), fresh ? MemberState::Active : MemberState::Missing);
            for (const auto& disk : disks) {
                disk->slow_reads = 0s;
            }
            co_await idle();
            co_await close();
        }
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

}  // namespace
}  // namespace remora::services::raid
