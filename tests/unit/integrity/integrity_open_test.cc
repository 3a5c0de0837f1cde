// SPDX-License-Identifier: Apache-2.0
// Making an integrity volume, opening it, and what is refused with which reason.
#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/integrity/integrity_fixture.h"

namespace remora::services::integrity {
namespace {

using block::Status;
using core::ErrorKind;
using test::pattern;

class IntegrityOpenTest : public IntegrityFixture {
  public:
    void expect_refused(bool create, ErrorKind kind, std::string_view text) {
        const auto result = make(create);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().kind, kind) << result.error().message;
        EXPECT_NE(result.error().message.find(text), std::string::npos) << result.error().message;
    }
    /// One that is to fail, and waits for time and for the disk.
    reactor::detail::Detached start_create(bool& done) {
        const block::ReactorContext context{reactor, *pool};
        const auto made = co_await IntegrityDevice::create(options, *disk, std::span(&context, 1));
        EXPECT_FALSE(made);
        done = true;
    }
    bool failed = false;
};

TEST_F(IntegrityOpenTest, Open_created_hasTheSameContent) {
    create();
    const Bytes data = pattern(8 * kBlock, 1);
    EXPECT_EQ(write(30, data), Status::Ok);
    close();
    open();
    EXPECT_EQ(read_and_compare(30, data), Status::Ok);
    EXPECT_EQ(read_and_compare(38, Bytes(kBlock)), Status::Ok);
}

TEST_F(IntegrityOpenTest, Geometry_isTheLayoutsOverWhatIsBelow) {
    disk->shape.can_write_zeroes = false;
    create();
    block::Geometry wanted = disk->shape;
    wanted.block_count = layout.block_count;
    wanted.can_write_zeroes = true;
    wanted.unwritten_reads_zeros = true;
    EXPECT_EQ(device->geometry(), wanted);
    EXPECT_EQ(&device->lower(), disk.get());
}

TEST_F(IntegrityOpenTest, Create_tooSmall_isRefused) {
    disk = std::make_unique<CrashDisk>(kBlock, 24, true);  // superblocks, a page, and nothing
    expect_refused(true, ErrorKind::InvalidArgument, "no room");
}

TEST_F(IntegrityOpenTest, Create_smallestDevice_holdsABlock) {
    disk = std::make_unique<CrashDisk>(kBlock, 25, true);
    create();
    EXPECT_EQ(device->geometry().block_count, 1U);
    const Bytes data = pattern(kBlock, 1);
    EXPECT_EQ(write(0, data), Status::Ok);
    EXPECT_EQ(read_and_compare(0, data), Status::Ok);
}

TEST_F(IntegrityOpenTest, CreateAndOpen_readOnly_areRefused) {
    create();
    close();
    disk->shape.read_only = true;
    expect_refused(true, ErrorKind::FailedPrecondition, "read only");
    expect_refused(false, ErrorKind::FailedPrecondition, "read only");
}

TEST_F(IntegrityOpenTest, Create_carriesAnother_isRefusedUnlessOverwritten) {
    create();
    EXPECT_EQ(write(0, pattern(kBlock, 1)), Status::Ok);
    close();
    expect_refused(true, ErrorKind::AlreadyExists, options.uuid.text());
    options.uuid.bytes[5] = 9;
    expect_refused(true, ErrorKind::AlreadyExists, "overwritten");
    options.overwrite = true;
    create();
    EXPECT_EQ(read_and_compare(0, Bytes(kBlock)), Status::Ok);
}

// Also one that is damaged may be all that is left of a volume.
TEST_F(IntegrityOpenTest, Create_carriesADamagedOne_isRefused) {
    create();
    close();
    disk->flip_bit(0, 100);
    disk->put_block(8, Bytes(kBlock));
    expect_refused(true, ErrorKind::AlreadyExists, "cannot be used");
}

// Formatted anew with the same UUID: the old pages are not taken for new ones.
TEST_F(IntegrityOpenTest, Create_again_oldPagesAreOfAnotherFormat) {
    create();
    const Bytes page = disk->block(leaf_of(0));
    close();
    options.overwrite = true;
    create();
    close();
    disk->put_block(leaf_of(0), page);
    open();
    EXPECT_EQ(read_and_compare(0, Bytes(kBlock)), Status::DataCorrupt);
}

TEST_F(IntegrityOpenTest, Create_ioErrorBelow_isUnavailable) {
    disk->bad_block = {20, Status::IoError};
    expect_refused(true, ErrorKind::Unavailable, "i/o error");
}

TEST_F(IntegrityOpenTest, Create_interrupted_leavesNoVolume) {
    create();
    close();
    options.overwrite = true;
    disk->bad_block = {20, Status::IoError};  // amid the pages
    expect_refused(true, ErrorKind::Unavailable, "i/o error");
    disk->bad_block.reset();
    expect_refused(false, ErrorKind::NotFound, "no superblock");
}

TEST_F(IntegrityOpenTest, Create_failsBeforeItWrites_leavesWhatIsThere) {
    const Bytes before(kBlock, std::byte{7});
    disk->put_block(1, before);
    disk->bad_block = {8, Status::IoError};  // the second superblock cannot be looked at
    expect_refused(true, ErrorKind::Unavailable, "i/o error");
    disk->bad_block.reset();
    EXPECT_EQ(disk->block(1), before);
    EXPECT_TRUE(std::ranges::none_of(disk->seen, [](const CrashDisk::Seen& seen) {
        return seen.opcode == block::Opcode::Write;
    }));
}

// Amid the superblocks: what there is of them is in nobody's way.
TEST_F(IntegrityOpenTest, Create_superblockFails_isErasedOrLogged) {
    for (const bool for_good : {false, true}) {
        new_disk(true);
        disk->automatic = false;
        bool done = false;
        lines.clear();
        on_reactor([&] { start_create(done); });
        for (int i = 0; !done && i < 1000; ++i) {
            clock.time += std::chrono::milliseconds(100);
            settle();
            if (disk->held() > 0) {
                const bool second = disk->held_request(0).opcode == block::Opcode::Write &&
                                    disk->held_request(0).lba == 8;
                failed = failed || second;
                let_go(1, second || (failed && for_good) ? Status::IoError : Status::Ok);
            }
        }
        ASSERT_TRUE(done && failed);
        failed = false;
        disk->automatic = true;
        EXPECT_EQ(lines_with("are left"), for_good ? 1U : 0U);
        if (!for_good) {
            expect_refused(false, ErrorKind::NotFound, "no superblock");
        }
    }
}

TEST_F(IntegrityOpenTest, Open_closedInGoodOrder_doesNotScrub) {
    options.scrub_when_unclean = true;
    create();
    EXPECT_EQ(write(0, pattern(kBlock, 1)), Status::Ok);
    close();
    for (int again = 0; again < 2; ++again) {
        open();
        EXPECT_FALSE(device->status().scrub.running);
        EXPECT_EQ(device->status().scrub.done_blocks, 0U);
        close();
    }
}

TEST_F(IntegrityOpenTest, Open_afterACrash_scrubsByItselfIfAsked) {
    for (const bool asked : {false, true}) {
        new_disk(true);
        options.scrub_when_unclean = asked;
        create();
        EXPECT_EQ(write(0, pattern(kBlock, 1), true), Status::Ok);
        pass_time();
        close();
        open();
        forget();  // nothing was written this time, and yet it was in use
        disk->flip_bit(below(0), 3);
        open();
        for (int i = 0; i < 100 && device->status().scrub.running; ++i) {
            clock.time += std::chrono::milliseconds(100);
            settle();
        }
        EXPECT_FALSE(device->status().scrub.running);
        EXPECT_EQ(device->status().mismatches, asked ? 1U : 0U);
        close();
    }
}

TEST_F(IntegrityOpenTest, Open_cannotNoteThatItIsInUse_opens) {
    create();
    close();
    disk->automatic = true;
    lines.clear();
    disk->bad_block = {0, Status::IoError};  // the older superblock's place
    EXPECT_TRUE(make(false));
    EXPECT_EQ(lines_with("could not be written"), 1U);
}

TEST_F(IntegrityOpenTest, Create_isDurable) {
    create();
    disk->crash(CrashDisk::Crash::Power, prng);
    close();
    disk->revive();
    open();
    EXPECT_EQ(read_and_compare(0, Bytes(16 * kBlock)), Status::Ok);
}

// What a process that died had written is only cached, and a crash of the disk may still undo it:
// an entry that takes it for what is there would be wrong.
TEST_F(IntegrityOpenTest, Open_afterAProcessDied_whatItWroteIsDurableFirst) {
    create();
    const Bytes data = pattern(kBlock, 1);
    EXPECT_EQ(write(0, data), Status::Ok);
    forget();
    disk->seen.clear();
    ASSERT_TRUE(make(false));
    ASSERT_FALSE(disk->seen.empty());
    EXPECT_EQ(disk->seen.front().opcode, block::Opcode::Flush);
    disk->crash(CrashDisk::Crash::Power, prng);
    close();
    disk->revive();
    open();
    EXPECT_EQ(read_and_compare(0, data), Status::Ok);
}

TEST_F(IntegrityOpenTest, Open_nothingThere_isNotFound) {
    expect_refused(false, ErrorKind::NotFound, "no superblock");
}

TEST_F(IntegrityOpenTest, Open_oneSuperblockDamaged_mendsIt) {
    create();
    close();
    for (const std::uint64_t damaged : {0U, 8U, 0U}) {
        disk->flip_bit(damaged, 77);
        open();
        EXPECT_GE(lines_with("one of two superblocks"), 1U);
        lines.clear();
        close();
        open();
        EXPECT_EQ(lines_with("superblock"), 0U);
        close();
    }
}

TEST_F(IntegrityOpenTest, Open_oneSuperblockUnreadable_opensByTheOther) {
    create();
    close();
    disk->bad_block = {0, Status::IoError};
    open();
    EXPECT_EQ(lines_with("could not be written"), 1U);
    disk->bad_block.reset();
}

TEST_F(IntegrityOpenTest, Open_bothSuperblocksDamaged_isDataLoss) {
    create();
    close();
    disk->flip_bit(0, 77);
    disk->flip_bit(8, 77);
    expect_refused(false, ErrorKind::DataLoss, "checksum");
}

TEST_F(IntegrityOpenTest, Open_anotherVolume_isRefused) {
    create();
    close();
    options.uuid.bytes[3] = 1;
    expect_refused(false, ErrorKind::FailedPrecondition, "carries the integrity volume");
}

TEST_F(IntegrityOpenTest, Open_smallerThanItWas_isRefused) {
    create();
    close();
    disk->shape.block_count -= 1;
    expect_refused(false, ErrorKind::FailedPrecondition, "made with 4000");
}

TEST_F(IntegrityOpenTest, Open_otherBlocksThanItHad_isRefused) {
    create();
    close();
    disk->shape.block_size = 1024;
    disk->shape.block_count /= 2;
    expect_refused(false, ErrorKind::FailedPrecondition, "made with 512");
}

TEST_F(IntegrityOpenTest, Grow_isRefusedWithTheReason) {
    create();
    const auto grown = device->grow(10'000);
    ASSERT_FALSE(grown);
    EXPECT_EQ(grown.error().kind, ErrorKind::FailedPrecondition);
    EXPECT_NE(grown.error().message.find("in front of its data"), std::string::npos);
}

}  // namespace
}  // namespace remora::services::integrity
