// SPDX-License-Identifier: Apache-2.0
// What an IntegrityDevice finds, by reading and by scrubbing: flipped bits, blocks that went
// elsewhere, writes that were lost, blocks that are what they were once. And what it does not: the
// tests named *_passes are the windows of docs/INTEGRITY.md.
#include <algorithm>

#include <gtest/gtest.h>

#include "services/integrity/integrity_keeper.h"
#include "tests/unit/integrity/integrity_fixture.h"

namespace remora::services::integrity {
namespace {

using block::Opcode;
using block::Status;
using test::pattern;

class IntegrityDetectTest : public IntegrityFixture {
  public:
    void SetUp() override { create(); }

    Status read_block(std::uint64_t lba) {
        Bytes bytes(kBlock);
        return read(lba, bytes);
    }
    /// As the medium has it and memory does not know: pages are loaded anew.
    void reopen() {
        close();
        open();
    }
    void crash_and_open() {
        forget();
        open();
    }
    const Bytes one = pattern(kBlock, 1);
    const Bytes two = pattern(kBlock, 2);
    const Bytes three = pattern(kBlock, 3);
};

// Flipped bits.

TEST_F(IntegrityDetectTest, FlippedBit_anywhereInABlock_isFoundByReading) {
    EXPECT_EQ(write(40, pattern(3 * kBlock, 1)), Status::Ok);
    for (std::size_t bit = 0; bit < kBlock * 8; ++bit) {
        disk->flip_bit(below(41), bit);
        ASSERT_EQ(read_block(41), Status::DataCorrupt) << bit;
        disk->flip_bit(below(41), bit);
    }
    EXPECT_EQ(device->status().mismatches, kBlock * 8U);
    EXPECT_EQ(device->status().first_bad_lba, 41U);
    EXPECT_EQ(read_block(41), Status::Ok);
}

TEST_F(IntegrityDetectTest, FlippedBit_inAnyBlockOfAVolume_isFoundByScrub) {
    const auto all = static_cast<std::uint32_t>(layout.block_count);
    EXPECT_EQ(write(0, pattern(std::size_t{all} * kBlock, 9)), Status::Ok);
    for (std::uint32_t lba = 0; lba < all; lba += 97) {
        reopen();
        disk->flip_bit(below(lba), lba % (kBlock * 8));
        scrub();
        EXPECT_EQ(device->status().mismatches, 1U) << lba;
        EXPECT_EQ(device->status().first_bad_lba, lba);
        EXPECT_EQ(device->status().scrub.done_blocks, layout.block_count);
        disk->flip_bit(below(lba), lba % (kBlock * 8));
    }
}

TEST_F(IntegrityDetectTest, Mismatch_amidALargeRead_failsItAloneAndNamesTheBlock) {
    const Bytes data = pattern(1000 * kBlock, 4);
    EXPECT_EQ(write(0, data), Status::Ok);
    disk->flip_bit(below(777), 5);
    disk->flip_bit(below(778), 5);
    Bytes bytes(1000 * kBlock);
    EXPECT_EQ(read(0, bytes), Status::DataCorrupt);
    EXPECT_EQ(device->status().mismatches, 1U);
    EXPECT_EQ(device->status().first_bad_lba, 777U);
    EXPECT_EQ(lines_with("lba=777"), 1U);
    EXPECT_EQ(read_and_compare(0, Bytes(data.begin(), data.begin() + 777 * kBlock)), Status::Ok);
    EXPECT_EQ(read_and_compare(779, Bytes(data.begin() + 779 * kBlock, data.end())), Status::Ok);
    EXPECT_EQ(device->status().mismatches, 1U);
}

TEST_F(IntegrityDetectTest, Mismatch_manyTimes_isLoggedOnceASecond) {
    EXPECT_EQ(write(0, one), Status::Ok);
    disk->flip_bit(below(0), 5);
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(read_block(0), Status::DataCorrupt);
    }
    EXPECT_EQ(lines_with("does not match"), 1U);
    clock.time += std::chrono::seconds(2);
    settle();
    EXPECT_EQ(read_block(0), Status::DataCorrupt);
    EXPECT_EQ(lines_with("does not match"), 2U);
    EXPECT_EQ(lines_with("left_out=49"), 1U);
    EXPECT_EQ(device->status().mismatches, 51U);
}

TEST_F(IntegrityDetectTest, Mismatch_blockWrittenOrClearedAnew_isGoodAgain) {
    EXPECT_EQ(write(0, pattern(3 * kBlock, 1)), Status::Ok);
    disk->flip_bit(below(0), 5);
    disk->flip_bit(below(1), 5);
    disk->flip_bit(below(2), 5);
    EXPECT_EQ(write(0, two), Status::Ok);
    EXPECT_EQ(clear(Opcode::WriteZeroes, 1, 1), Status::Ok);
    EXPECT_EQ(read_and_compare(0, two), Status::Ok);
    EXPECT_EQ(read_and_compare(1, Bytes(kBlock)), Status::Ok);
    EXPECT_EQ(read_block(2), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, Block_isZerosBelow_isFound) {
    EXPECT_EQ(write(0, one), Status::Ok);
    disk->put_block(below(0), Bytes(kBlock));
    EXPECT_EQ(read_block(0), Status::DataCorrupt);
}

// A block that was never written has nothing that could be damaged.
TEST_F(IntegrityDetectTest, FlippedBit_neverWritten_isNoMismatch) {
    disk->flip_bit(below(7), 1);
    EXPECT_EQ(read_and_compare(7, Bytes(kBlock)), Status::Ok);
    scrub();
    EXPECT_EQ(device->status().mismatches, 0U);
}

// Misdirected, lost and stale.

TEST_F(IntegrityDetectTest, Write_misdirected_isFoundAtBothPlaces) {
    EXPECT_EQ(write(5, one), Status::Ok);
    EXPECT_EQ(write(300, two), Status::Ok);
    disk->misdirect_write = {below(5), below(300)};
    EXPECT_EQ(write(5, three), Status::Ok);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
    EXPECT_EQ(read_block(300), Status::DataCorrupt);
    reopen();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
    EXPECT_EQ(read_block(300), Status::DataCorrupt);
}

// The very bytes that belong elsewhere: only the number of the block tells.
TEST_F(IntegrityDetectTest, Block_sameBytesOfAnother_isFound) {
    EXPECT_EQ(write(5, one), Status::Ok);
    EXPECT_EQ(write(6, one), Status::Ok);
    const std::uint32_t here = ChecksumSalt(options.uuid, 0).block(5, one);
    EXPECT_NE(here, ChecksumSalt(options.uuid, 0).block(6, one));
    EXPECT_EQ(write(7, two), Status::Ok);
    disk->put_block(below(7), one);
    EXPECT_EQ(read_block(7), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, Write_lost_isFoundAtOnce) {
    EXPECT_EQ(write(5, one), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two), Status::Ok);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, Write_lost_isFoundAfterARestartInGoodOrder) {
    EXPECT_EQ(write(5, one), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two), Status::Ok);
    reopen();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// Nobody asks for it to be durable: the keeper flushes, and then writes the page.
TEST_F(IntegrityDetectTest, Write_lostAndSettled_isFoundAfterACrash) {
    EXPECT_EQ(write(5, one), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two), Status::Ok);
    pass_time();
    crash_and_open();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, Write_lostAndPageWrittenForAnother_isFoundAfterACrash) {
    EXPECT_EQ(write(5, one, true), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two, true), Status::Ok);
    EXPECT_EQ(write(6, two, true), Status::Ok);
    crash_and_open();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// A page that makes room for others takes with it what is known of its blocks.
TEST_F(IntegrityDetectTest, Write_lostAndPageEvicted_isFound) {
    close();
    options.cache_bytes = 0;  // two pages
    open();
    EXPECT_EQ(write(5, one), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two), Status::Ok);
    for (std::uint64_t page = 1; page < layout.page_count; ++page) {
        EXPECT_EQ(write(page * layout.page_entries(), one), Status::Ok);  // no place is clean
    }
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// Window: a crash before the page was written again.
TEST_F(IntegrityDetectTest, Write_lostAndCrashAtOnce_passes) {
    EXPECT_EQ(write(5, one, true), Status::Ok);
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, two, true), Status::Ok);
    crash_and_open();
    EXPECT_EQ(read_and_compare(5, one), Status::Ok);
}

// Window: the same, of the first write to a block.
TEST_F(IntegrityDetectTest, FirstWrite_lostAndCrashAtOnce_passesAsZeros) {
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, one, true), Status::Ok);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
    crash_and_open();
    EXPECT_EQ(read_and_compare(5, Bytes(kBlock)), Status::Ok);
}

// Then what lies below may be somebody else's: nothing of it comes near the reader's memory.
TEST_F(IntegrityDetectTest, FirstWrite_lostAndCrashAtOnce_showsNothingOfWhatLiesBelow) {
    disk->lose_write_to = below(5);
    EXPECT_EQ(write(5, one, true), Status::Ok);
    crash_and_open();
    disk->automatic = false;
    const Bytes before(kBlock, std::byte{0x33});
    Bytes data = before;
    Io io(Opcode::Read, 5, 1, data);
    start(io);
    let_go(1);  // its page
    ASSERT_EQ(disk->held(), 1U);
    EXPECT_NE(disk->held_request(0).data[0].data, data.data());
    EXPECT_EQ(data, before);
    let_all_go();
    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(data, Bytes(kBlock));
}

TEST_F(IntegrityDetectTest, Block_staleAfterSettling_isFound) {
    EXPECT_EQ(write(5, one), Status::Ok);
    EXPECT_EQ(flush(), Status::Ok);
    const Bytes old_block = disk->block(below(5));
    EXPECT_EQ(write(5, two), Status::Ok);
    pass_time();
    crash_and_open();
    disk->put_block(below(5), old_block);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// After a crash only the version before the last one passes, and none once somebody has looked.
TEST_F(IntegrityDetectTest, Block_staleAfterACrash_passesUntilAScrub) {
    EXPECT_EQ(write(5, one, true), Status::Ok);
    EXPECT_EQ(write(5, two, true), Status::Ok);
    EXPECT_EQ(write(5, three, true), Status::Ok);
    crash_and_open();
    disk->put_block(below(5), one);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
    disk->put_block(below(5), two);
    EXPECT_EQ(read_and_compare(5, two), Status::Ok);
    disk->put_block(below(5), three);
    scrub();
    pass_time();
    crash_and_open();
    disk->put_block(below(5), two);
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, BlockAndChecksums_staleTogether_passes) {
    EXPECT_EQ(write(5, one), Status::Ok);
    close();
    const Bytes old_block = disk->block(below(5));
    const Bytes old_leaf = disk->block(leaf_of(5));
    open();
    EXPECT_EQ(write(5, two), Status::Ok);
    close();
    disk->put_block(below(5), old_block);
    disk->put_block(leaf_of(5), old_leaf);
    open();
    EXPECT_EQ(read_and_compare(5, one), Status::Ok);
}

// Checksums that are damaged themselves.

TEST_F(IntegrityDetectTest, PageWrite_lost_isFoundWhenItIsLoaded) {
    EXPECT_EQ(write(5, one), Status::Ok);
    reopen();
    const Bytes old_leaf = disk->block(leaf_of(5));
    EXPECT_EQ(write(5, two), Status::Ok);
    reopen();
    disk->put_block(leaf_of(5), old_leaf);
    reopen();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

TEST_F(IntegrityDetectTest, Leaf_damaged_itsBlocksAreLostUntilWritten) {
    const auto all = static_cast<std::uint32_t>(layout.page_entries());
    EXPECT_EQ(write(0, pattern(std::size_t{all} * kBlock, 9)), Status::Ok);
    close();
    disk->flip_bit(leaf_of(70), 200);
    open();
    const std::uint32_t first = layout.leaf_entries();
    EXPECT_EQ(read_block(first - 1), Status::Ok);
    EXPECT_EQ(read_block(first), Status::DataCorrupt);
    EXPECT_EQ(read_block(2 * first - 1), Status::DataCorrupt);
    EXPECT_EQ(read_block(2 * first), Status::Ok);
    EXPECT_EQ(lines_with("checksums are damaged"), 1U);
    EXPECT_EQ(device->status().first_bad_lba, first);

    EXPECT_EQ(write(70, one), Status::Ok);
    EXPECT_EQ(clear(Opcode::Discard, 71, 1), Status::Ok);
    reopen();  // the leaf is good again; of what was in it the rest is lost
    EXPECT_EQ(read_and_compare(70, one), Status::Ok);
    EXPECT_EQ(read_and_compare(71, Bytes(kBlock)), Status::Ok);
    EXPECT_EQ(read_block(72), Status::DataCorrupt);
    EXPECT_EQ(lines_with("checksums are damaged"), 1U);
    scrub();
    EXPECT_EQ(device->status().mismatches, 1U + first - 2);
}

TEST_F(IntegrityDetectTest, Leaf_damagedOnItsWayOnly_isReadAgain) {
    EXPECT_EQ(write(5, one), Status::Ok);
    reopen();
    disk->automatic = false;
    Bytes data(kBlock);
    Io io(Opcode::Read, 5, 1, data);
    start(io);
    disk->flip_bit(leaf_of(5), 300);
    let_go(1);
    disk->flip_bit(leaf_of(5), 300);
    let_all_go();
    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(data, one);
    EXPECT_EQ(lines_with("damaged"), 0U);
}

TEST_F(IntegrityDetectTest, Leaf_ofAnotherPlace_isLost) {
    EXPECT_EQ(write(5, one), Status::Ok);
    close();
    disk->put_block(leaf_of(5), disk->block(leaf_of(5) + 1));
    open();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// All zeros are no checksums: or else a device that forgets would empty the volume without a word.
TEST_F(IntegrityDetectTest, Leaf_isZeros_isLost) {
    EXPECT_EQ(write(5, one), Status::Ok);
    close();
    disk->put_block(leaf_of(5), Bytes(kBlock));
    open();
    EXPECT_EQ(read_block(5), Status::DataCorrupt);
}

// Scrubs.

TEST_F(IntegrityDetectTest, Scrub_severalBadBlocks_countsAllAndGoesOn) {
    EXPECT_EQ(write(0, pattern(900 * kBlock, 9)), Status::Ok);
    for (const std::uint64_t lba : {3U, 4U, 250U, 899U}) {
        disk->flip_bit(below(lba), 9);
    }
    scrub();
    EXPECT_EQ(device->status().mismatches, 4U);
    EXPECT_EQ(device->status().first_bad_lba, 3U);
    EXPECT_EQ(lines_with("mismatches_meanwhile=4"), 1U);
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(IntegrityDetectTest, Scrub_blocksThatCannotBeRead_goesOn) {
    EXPECT_EQ(write(0, pattern(900 * kBlock, 9)), Status::Ok);
    disk->flip_bit(below(899), 9);
    disk->bad_block = {below(10), Status::IoError};
    scrub();
    EXPECT_EQ(device->status().mismatches, 1U);
    EXPECT_EQ(lines_with("the scrub cannot read"), 1U);
    EXPECT_EQ(lines_with("unreadable_steps=1"), 1U);
}

TEST_F(IntegrityDetectTest, Scrub_neverWritten_isNotReadBelow) {
    EXPECT_EQ(write(2000, one), Status::Ok);
    disk->seen.clear();
    scrub();
    const auto data_reads = std::ranges::count_if(
        disk->seen, [this](const auto& seen) { return seen.lba >= layout.data_start; });
    EXPECT_EQ(data_reads, 1);
}

TEST_F(IntegrityDetectTest, Scrub_atARate_takesItsTime) {
    EXPECT_EQ(write(0, pattern(2048 * kBlock, 9)), Status::Ok);  // 1 MiB
    device->set_scrub_rate(256 * core::kKiB);
    const core::Nanos begin = clock.time;
    ASSERT_TRUE(device->start_scrub());
    while (device->status().scrub.running) {
        clock.time += std::chrono::milliseconds(10);
        settle();
    }
    EXPECT_GE(clock.time - begin, std::chrono::milliseconds(3900));
    EXPECT_LE(clock.time - begin, std::chrono::milliseconds(4600));
}

TEST_F(IntegrityDetectTest, Scrub_cancelled_endsAndCanBeginAnew) {
    EXPECT_EQ(write(0, pattern(2048 * kBlock, 9)), Status::Ok);
    device->set_scrub_rate(1024);
    ASSERT_TRUE(device->start_scrub());
    settle();
    const auto again = device->start_scrub();
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().kind, core::ErrorKind::FailedPrecondition);
    const IntegrityStatus during = device->status();
    EXPECT_TRUE(during.scrub.running);
    EXPECT_LT(during.scrub.done_blocks, during.scrub.total_blocks);
    device->cancel_scrub();
    settle();
    EXPECT_FALSE(device->status().scrub.running);
    device->set_scrub_rate(0);
    scrub();
    EXPECT_EQ(device->status().scrub.done_blocks, layout.block_count);
}

TEST_F(IntegrityDetectTest, Stop_scrubRunning_endsIt) {
    EXPECT_EQ(write(0, pattern(2048 * kBlock, 9)), Status::Ok);
    device->set_scrub_rate(1024);
    ASSERT_TRUE(device->start_scrub());
    settle();
    close();
    EXPECT_EQ(lines_with("scrub cancelled"), 1U);
}

// Beside a write of the same blocks: either the one or the other, never a mismatch.
TEST_F(IntegrityDetectTest, Scrub_besideWrites_findsNothing) {
    EXPECT_EQ(write(0, pattern(256 * kBlock, 9)), Status::Ok);
    disk->automatic = false;
    ASSERT_TRUE(device->start_scrub());
    settle();
    Bytes data = pattern(200 * kBlock, 5);
    Io io(Opcode::Write, 20, 200, data);
    start(io);
    for (int i = 0; i < 1000 && (device->status().scrub.running || !io.request.finished); ++i) {
        let_go(1);
        reactor.turn();
    }
    disk->automatic = true;
    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(device->status().mismatches, 0U);
    EXPECT_EQ(read_and_compare(20, data), Status::Ok);
}

}  // namespace
}  // namespace remora::services::integrity
