// SPDX-License-Identifier: Apache-2.0
// What an operator does with an array and its members, one case each. raid_crash_test has the rest.
#include "tests/unit/raid/raid_fixture.h"

namespace remora::services::raid {
namespace {

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
