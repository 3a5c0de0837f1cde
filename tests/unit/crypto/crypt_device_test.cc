// SPDX-License-Identifier: Apache-2.0
// What a CryptDevice asks of the device below, and what it does when that fails or holes, pieces,
// turns and growth come into it. What lies on the disk is in crypt_format_test.cc.
#include "services/crypto/crypt_device.h"

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "tests/unit/crypto/crypt_fixture.h"

namespace remora::services::crypto {
namespace {

using block::Opcode;
using block::Status;

using CryptDeviceTest = CryptFixture;

TEST_F(CryptDeviceTest, Create_badSectorSize_isRefused) {
    for (const std::uint32_t size : {0U, 256U, 513U, 1024U, 4096U, 8192U}) {
        on_reactor([&] {
            CryptOptions options;
            options.sector_size = size;  // over blocks of 512 bytes
            const auto made =
                CryptDevice::create(lower, options, std::move(*XtsKey::create(key_bytes)), {});
            ASSERT_FALSE(made) << size;
            EXPECT_EQ(made.error().kind, core::ErrorKind::InvalidArgument);
        });
    }
}

TEST_F(CryptDeviceTest, Geometry_isThatBelowWithoutDiscardAndZerosOfItsOwn) {
    lower.shape.can_write_zeroes = false;
    open();
    on_reactor([&] {
        block::Geometry wanted = lower.shape;
        wanted.can_write_zeroes = true;
        wanted.can_discard = false;
        wanted.unwritten_reads_zeros = false;
        EXPECT_EQ(device->geometry(), wanted);
    });
}

// As if the zeros had been written: what lies below is ciphertext, and the request comes back as it
// was.
TEST_F(CryptDeviceTest, WriteZeroes_writesEncryptedZeros_pieceByPiece) {
    open();
    constexpr std::uint32_t kBlocks = 3 * kMiB / kBlock;
    Io zeroes(Opcode::WriteZeroes, 9, {});
    zeroes.request.block_count = kBlocks;
    zeroes.request.force_unit_access = true;

    start(zeroes);
    let_all_go();

    EXPECT_TRUE(zeroes.request.finished);
    EXPECT_EQ(zeroes.request.completions, 1);
    EXPECT_EQ(zeroes.request.status, Status::Ok);
    EXPECT_EQ(zeroes.request.opcode, Opcode::WriteZeroes);
    EXPECT_EQ(zeroes.request.lba, 9U);
    EXPECT_EQ(zeroes.request.block_count, kBlocks);
    EXPECT_TRUE(zeroes.request.data.empty());
    EXPECT_GE(lower.seen.size(), 3U);
    for (const HeldDevice::Seen& seen : lower.seen) {
        EXPECT_EQ(seen.opcode, Opcode::Write);
        EXPECT_TRUE(seen.force_unit_access);
    }
    const Bytes zeros(3 * kMiB);
    EXPECT_TRUE(std::ranges::equal(below(9, zeros.size()), reference(dm_crypt(), true, 9, zeros)));
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(CryptDeviceTest, WriteZeroes_failsBelow_isAsItWas) {
    open();
    Io zeroes(Opcode::WriteZeroes, 0, {});
    zeroes.request.block_count = 8;

    start(zeroes);
    let_go(1, Status::NoSpace);

    EXPECT_EQ(zeroes.request.status, Status::NoSpace);
    EXPECT_EQ(zeroes.request.opcode, Opcode::WriteZeroes);
    EXPECT_TRUE(zeroes.request.data.empty());
}

TEST_F(CryptDeviceTest, Discard_allowed_goesDown) {
    CryptOptions options;
    options.allow_discards = true;
    open(options);
    EXPECT_TRUE(device->geometry().can_discard);
    Io discard(Opcode::Discard, 8, {});
    discard.request.block_count = 4;

    start(discard);

    ASSERT_EQ(lower.seen.size(), 1U);
    EXPECT_EQ(lower.seen[0].opcode, Opcode::Discard);
    let_all_go();
    EXPECT_EQ(discard.request.status, Status::Ok);
}

TEST_F(CryptDeviceTest, Discard_notAllowed_isRefused) {
    open();
    Io discard(Opcode::Discard, 8, {});
    discard.request.block_count = 4;

    start(discard);

    EXPECT_EQ(discard.request.status, Status::Unsupported);
    EXPECT_TRUE(lower.seen.empty());
}

TEST_F(CryptDeviceTest, Flush_goesDown) {
    open();
    Io flush(Opcode::Flush, 0, {});

    start(flush);

    EXPECT_FALSE(flush.request.finished);
    ASSERT_EQ(lower.seen.size(), 1U);
    EXPECT_EQ(lower.seen[0].opcode, Opcode::Flush);
    let_all_go();
    EXPECT_EQ(flush.request.status, Status::Ok);
}

// 3 MiB go in pieces of a buffer, one after the other, each with FUA; the request comes back as it
// was, and its bytes as they were.
TEST_F(CryptDeviceTest, Write_largerThanABuffer_goesPieceByPiece) {
    open();
    Bytes data = test::pattern(3 * kMiB, 5);
    const Bytes before = data;
    Io write(Opcode::Write, 7, data);
    write.request.force_unit_access = true;

    start(write);
    EXPECT_EQ(lower.held.size(), 1U);
    while (!lower.held.empty()) {
        EXPECT_FALSE(write.request.finished);
        EXPECT_LE(lower.held.size(), 1U);
        let_go(1);
    }

    EXPECT_TRUE(write.request.finished);
    EXPECT_EQ(write.request.completions, 1);
    EXPECT_EQ(write.request.status, Status::Ok);
    EXPECT_EQ(write.request.lba, 7U);
    EXPECT_EQ(write.request.block_count, data.size() / kBlock);
    EXPECT_EQ(write.request.data.data(), &write.segment);
    EXPECT_EQ(write.request.data.size(), 1U);
    EXPECT_EQ(data, before);
    EXPECT_GE(lower.seen.size(), 3U);
    for (const HeldDevice::Seen& seen : lower.seen) {
        EXPECT_EQ(seen.opcode, Opcode::Write);
        EXPECT_TRUE(seen.force_unit_access);
    }
    EXPECT_TRUE(std::ranges::equal(below(7, data.size()), reference(dm_crypt(), true, 7, data)));
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(CryptDeviceTest, Write_secondPieceFails_endsThereAsItWas) {
    open();
    Bytes data = test::pattern(3 * kMiB, 6);
    Io write(Opcode::Write, 0, data);

    start(write);
    let_go(1);
    let_go(1, Status::NoSpace);

    EXPECT_TRUE(write.request.finished);
    EXPECT_EQ(write.request.status, Status::NoSpace);
    EXPECT_EQ(write.request.lba, 0U);
    EXPECT_EQ(write.request.block_count, data.size() / kBlock);
    EXPECT_EQ(write.request.data.data(), &write.segment);
    EXPECT_EQ(lower.seen.size(), 2U);
    EXPECT_TRUE(lower.held.empty());
    EXPECT_EQ(pool->in_use(), 0U);
}

// Bytes that nothing was read into are not touched.
TEST_F(CryptDeviceTest, Read_failsBelow_decryptsNothing) {
    open();
    Bytes data(std::size_t{4} * kBlock, std::byte{0x77});
    Io read(Opcode::Read, 1, data);

    start(read);
    let_go(1, Status::IoError);

    EXPECT_EQ(read.request.status, Status::IoError);
    EXPECT_EQ(data, Bytes(data.size(), std::byte{0x77}));
}

TEST_F(CryptDeviceTest, Read_takesHoles_isAskedBelowForBytes) {
    open();
    Bytes data(std::size_t{4} * kBlock, std::byte{0x77});
    Io read(Opcode::Read, 1, data);
    read.request.takes_in_place = true;

    start(read);
    ASSERT_EQ(lower.seen.size(), 1U);
    EXPECT_FALSE(lower.seen[0].takes_in_place);
    let_all_go();

    EXPECT_TRUE(read.request.takes_in_place);
    EXPECT_FALSE(read.request.is_hole);
    EXPECT_EQ(data, reference(dm_crypt(), false, 1, Bytes(data.size())));
}

// More than a turn's share of reads that came back at once: the rest waits for the next turns, and
// a write's pieces likewise.
TEST_F(CryptDeviceTest, Io_moreThanATurnsShare_goesOnInTheNextTurns) {
    open();
    Bytes plain = test::pattern(8 * kMiB, 8);
    std::ranges::copy(reference(dm_crypt(), true, 0, plain), lower.memory.begin());
    Bytes data(plain.size());
    Io read(Opcode::Read, 0, data);
    start(read);

    const std::uint64_t before = reactor.stats().turns;
    let_go(1);
    for (int i = 0; i < 20 && !read.request.finished; ++i) {
        clock.time += core::Nanos(1000);
        reactor.turn();
    }

    EXPECT_TRUE(read.request.finished);
    EXPECT_TRUE(data == plain);
    // Four shares, the first in the turn in which the read came back.
    EXPECT_GE(reactor.stats().turns - before, 8 * kMiB / CryptChannel::kBytesPerTurn - 1);
}

TEST_F(CryptDeviceTest, Submit_badRange_isRefusedAndNothingGoesDown) {
    open();
    Bytes data(std::size_t{2} * kBlock);
    Io past(Opcode::Write, lower.shape.block_count - 1, data);
    Io wrong(Opcode::Write, 0, data);
    wrong.request.block_count = 1;
    Io none(Opcode::Write, 0, {});

    start(past);
    start(wrong);
    start(none);

    EXPECT_EQ(past.request.status, Status::OutOfRange);
    EXPECT_EQ(wrong.request.status, Status::InvalidRequest);
    EXPECT_EQ(none.request.status, Status::InvalidRequest);
    EXPECT_TRUE(lower.seen.empty());
}

class Told final : public block::DeviceListener {
  public:
    void on_geometry_changed() override { ++times; }
    int times = 0;
};

TEST_F(CryptDeviceTest, Grow_goesDownAndListenersAreTold) {
    on_reactor([&] {
        auto ram = std::move(*backends::ram::RamDevice::create("r", {}, kBlock, 16));
        auto crypt =
            std::move(*CryptDevice::create(*ram, {}, std::move(*XtsKey::create(key_bytes)), {}));
        Told told;
        crypt->add_listener(told);
        EXPECT_FALSE(crypt->grow(8));
        EXPECT_TRUE(crypt->grow(32));
        EXPECT_EQ(crypt->geometry().block_count, 16U);
        crypt->show_growth();
        EXPECT_EQ(told.times, 1);
        EXPECT_EQ(crypt->geometry().block_count, 32U);
        crypt->remove_listener(told);
        EXPECT_TRUE(crypt->grow(64));
        crypt->show_growth();
        EXPECT_EQ(told.times, 1);
    });
}

}  // namespace
}  // namespace remora::services::crypto
