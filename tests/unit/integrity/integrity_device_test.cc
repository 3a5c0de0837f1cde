// SPDX-License-Identifier: Apache-2.0
// What an IntegrityDevice answers, and what it asks of the device below and in which order.
#include "services/integrity/integrity_device.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "tests/unit/integrity/integrity_fixture.h"

namespace remora::services::integrity {
namespace {

using block::Opcode;
using block::Status;
using test::pattern;

class IntegrityDeviceTest : public IntegrityFixture {
  public:
    [[nodiscard]] std::size_t seen(Opcode opcode) const {
        return static_cast<std::size_t>(
            std::ranges::count(disk->seen, opcode, &CrashDisk::Seen::opcode));
    }
    [[nodiscard]] bool is_page(const CrashDisk::Seen& request) const {
        return request.opcode != Opcode::Flush && request.lba < layout.data_start;
    }
    static Bytes join(const Bytes& one, const Bytes& other) {
        Bytes both = one;
        both.insert(both.end(), other.begin(), other.end());
        return both;
    }
};

// What is written where, and in which order.

TEST_F(IntegrityDeviceTest, Write_cacheBelow_pageIsDurableBeforeTheBlock) {
    create();
    disk->automatic = false;
    Bytes data = pattern(4 * kBlock, 1);
    Io io(Opcode::Write, 100, 4, data);

    start(io);
    let_go(1);  // the page is loaded
    ASSERT_EQ(disk->held(), 1U);
    EXPECT_TRUE(is_page(disk->seen.back()));
    EXPECT_EQ(disk->seen.back().opcode, Opcode::Write);
    EXPECT_TRUE(disk->seen.back().force_unit_access);
    let_go(1);
    ASSERT_EQ(disk->held(), 1U);
    EXPECT_EQ(disk->seen.back().lba, below(100));
    EXPECT_EQ(disk->seen.back().block_count, 4U);
    EXPECT_FALSE(disk->seen.back().force_unit_access);
    EXPECT_FALSE(io.request.finished);
    let_go(1);

    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(io.request.lba, 100U);
    EXPECT_EQ(io.request.block_count, 4U);
    EXPECT_EQ(io.request.data.data(), &io.segment);
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(IntegrityDeviceTest, Write_forceUnitAccess_goesDownWithIt) {
    create();
    EXPECT_EQ(write(5, pattern(kBlock, 1), true), Status::Ok);
    EXPECT_TRUE(disk->seen.back().force_unit_access);
    EXPECT_EQ(disk->seen.back().lba, below(5));
}

TEST_F(IntegrityDeviceTest, Write_noCacheBelow_asksForNothingDurable) {
    new_disk(false);
    create();
    EXPECT_EQ(write(5, pattern(kBlock, 1)), Status::Ok);
    EXPECT_EQ(write(5, pattern(kBlock, 2)), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 0U);
    EXPECT_TRUE(std::ranges::none_of(disk->seen, &CrashDisk::Seen::force_unit_access));
}

// One page, however many ask for it while it is being written.
TEST_F(IntegrityDeviceTest, Write_manyOfOnePage_shareItsWrites) {
    create();
    EXPECT_EQ(write(0, pattern(kBlock, 1)), Status::Ok);
    disk->seen.clear();
    disk->automatic = false;
    constexpr std::size_t kWrites = 32;
    Bytes data = pattern(kBlock * kWrites, 2);
    std::vector<std::unique_ptr<Io>> ios;
    for (std::size_t i = 0; i < kWrites; ++i) {
        ios.push_back(std::make_unique<Io>(Opcode::Write, 10 + 2 * i, 1,
                                           std::span(data).subspan(i * kBlock, kBlock)));
        start(*ios.back());
    }
    let_all_go();
    for (const auto& io : ios) {
        EXPECT_TRUE(io->request.finished);
        EXPECT_EQ(io->request.status, Status::Ok);
    }
    EXPECT_EQ(std::ranges::count_if(disk->seen, [this](auto& one) { return is_page(one); }), 2);
    EXPECT_EQ(seen(Opcode::Write), 2 + kWrites);
}

// The entry has room for two: the first must be on the medium before a third comes.
TEST_F(IntegrityDeviceTest, Write_againBeforeAFlush_flushesFirst) {
    create();
    EXPECT_EQ(write(5, pattern(kBlock, 1)), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 0U);
    EXPECT_EQ(write(6, pattern(kBlock, 1)), Status::Ok);  // another block
    EXPECT_EQ(seen(Opcode::Flush), 0U);
    EXPECT_EQ(write(5, pattern(kBlock, 2)), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 1U);
    EXPECT_EQ(write(6, pattern(kBlock, 2)), Status::Ok);  // was flushed with the other
    EXPECT_EQ(seen(Opcode::Flush), 1U);
    EXPECT_EQ(flush(), Status::Ok);
    EXPECT_EQ(write(6, pattern(kBlock, 3)), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 2U);
}

// The flush that made room for the page is not the one that the block needs.
TEST_F(IntegrityDeviceTest, Write_twiceWhileAPageMakesRoom_flushesForBoth) {
    options.cache_bytes = 0;  // two pages
    create();
    const std::uint64_t third = 2 * std::uint64_t{layout.page_entries()};
    EXPECT_EQ(write(0, pattern(kBlock, 1)), Status::Ok);
    EXPECT_EQ(write(third / 2, pattern(kBlock, 1)), Status::Ok);
    disk->automatic = false;
    Bytes first = pattern(kBlock, 2);
    Bytes second = pattern(kBlock, 3);
    Io one(Opcode::Write, third, 1, first);
    Io other(Opcode::Write, third, 1, second);
    start(one);
    start(other);
    let_all_go();
    EXPECT_EQ(one.request.status, Status::Ok);
    EXPECT_EQ(other.request.status, Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 2U);
}

TEST_F(IntegrityDeviceTest, Write_overlapping_goesOneAfterTheOther) {
    create();
    EXPECT_EQ(flush(), Status::Ok);
    disk->automatic = false;
    Bytes first = pattern(4 * kBlock, 1);
    Bytes second = pattern(4 * kBlock, 2);
    Bytes before = pattern(kBlock, 3);
    Io page_is_busy(Opcode::Write, 0, 1, before);  // the next two share the page's next write
    Io one(Opcode::Write, 10, 4, first);
    Io other(Opcode::Write, 12, 4, second);
    start(page_is_busy);
    let_go(1);
    start(one);
    start(other);
    let_all_go();  // CrashDisk would not have both at a time
    EXPECT_EQ(one.request.status, Status::Ok);
    EXPECT_EQ(other.request.status, Status::Ok);
    disk->automatic = true;
    first.resize(2 * kBlock);
    EXPECT_EQ(read_and_compare(10, join(first, second)), Status::Ok);
}

// Over several pages, buffers and parts.
TEST_F(IntegrityDeviceTest, Write_large_readsBack) {
    create();
    const Bytes data = pattern(2000 * kBlock, 8);
    EXPECT_EQ(write(100, data), Status::Ok);
    EXPECT_EQ(read_and_compare(100, data), Status::Ok);
    EXPECT_EQ(pool->in_use(), 0U);
}

// Memory that a guest writes to meanwhile: what was taken is what was summed.
TEST_F(IntegrityDeviceTest, Write_memoryChangesMeanwhile_staysGood) {
    create();
    disk->automatic = false;
    const Bytes before = pattern(4 * kBlock, 1);
    Bytes data = before;
    Io io(Opcode::Write, 0, 4, data);
    start(io);
    std::ranges::fill(data, std::byte{0x11});
    let_all_go();
    disk->automatic = true;
    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(read_and_compare(0, before), Status::Ok);
}

// And what is read: its own scribbling is not taken for the disk's.
TEST_F(IntegrityDeviceTest, Read_memoryChangesMeanwhile_isNoMismatch) {
    create();
    const Bytes wanted = pattern(4 * kBlock, 1);
    EXPECT_EQ(write(0, wanted), Status::Ok);
    disk->automatic = false;
    Bytes data(4 * kBlock);
    Io io(Opcode::Read, 0, 4, data);
    on_reactor([&] { client->start(io.request); });
    on_reactor([&] {
        disk->let_go(0, Status::Ok, prng);
        data[700] ^= std::byte{1};  // before the reactor has looked
    });
    let_all_go();
    EXPECT_EQ(io.request.status, Status::Ok);
    EXPECT_EQ(data, wanted);
    EXPECT_EQ(device->status().mismatches, 0U);
    EXPECT_EQ(seen(Opcode::Read), 3U);  // the page, and twice
}

// Never written.

TEST_F(IntegrityDeviceTest, Read_neverWritten_looksAtNothingBelow) {
    create();
    EXPECT_EQ(read_and_compare(3, Bytes(20 * kBlock)), Status::Ok);
    ASSERT_EQ(disk->seen.size(), 1U);
    EXPECT_TRUE(is_page(disk->seen[0]));
}

TEST_F(IntegrityDeviceTest, Read_partlyWritten_readsThatPartBelow) {
    create();
    const Bytes data = pattern(2 * kBlock, 1);
    EXPECT_EQ(write(5, data), Status::Ok);
    disk->seen.clear();
    EXPECT_EQ(read_and_compare(3, join(join(Bytes(2 * kBlock), data), Bytes(3 * kBlock))),
              Status::Ok);
    ASSERT_EQ(disk->seen.size(), 1U);
    EXPECT_EQ(disk->seen[0].lba, below(5));
    EXPECT_EQ(disk->seen[0].block_count, 2U);
}

TEST_F(IntegrityDeviceTest, Read_takesHoles_neverWrittenIsOne) {
    create();
    Bytes data(4 * kBlock, std::byte{0x77});
    Io io(Opcode::Read, 40, 4, data);
    io.request.takes_in_place = true;
    EXPECT_EQ(perform(io), Status::Ok);
    EXPECT_TRUE(io.request.is_hole);
    EXPECT_TRUE(io.request.takes_in_place);
    EXPECT_EQ(data, Bytes(data.size(), std::byte{0x77}));
}

TEST_F(IntegrityDeviceTest, Read_takesHoles_isAskedBelowForBytes) {
    create();
    const Bytes wanted = pattern(4 * kBlock, 1);
    EXPECT_EQ(write(40, wanted), Status::Ok);
    Bytes data(4 * kBlock);
    Io io(Opcode::Read, 40, 4, data);
    io.request.takes_in_place = true;
    EXPECT_EQ(perform(io), Status::Ok);
    EXPECT_FALSE(disk->seen.back().takes_in_place);
    EXPECT_FALSE(io.request.is_hole);
    EXPECT_TRUE(io.request.takes_in_place);
    EXPECT_EQ(data, wanted);
}

// A request whose parts have more segments than a slot has room for.
TEST_F(IntegrityDeviceTest, Read_manySmallSegmentsOverTwoPages_isRight) {
    create();
    const std::uint32_t last = layout.page_entries() - 3;
    const Bytes wanted = pattern(8 * kBlock, 1);
    EXPECT_EQ(write(last, wanted), Status::Ok);
    Bytes data(wanted.size());
    std::vector<core::Segment> segments;
    for (std::size_t at = 0; at < data.size(); at += 64) {
        segments.push_back({data.data() + at, 64});
    }
    Io io(Opcode::Read, last, 8, {});
    io.request.data = segments;
    EXPECT_EQ(perform(io), Status::Ok);
    EXPECT_EQ(data, wanted);
}

TEST_F(IntegrityDeviceTest, ZeroesAndDiscard_readAsZerosWithoutALook) {
    create();
    for (const Opcode opcode : {Opcode::WriteZeroes, Opcode::Discard}) {
        const Bytes data = pattern(8 * kBlock, 1);
        EXPECT_EQ(write(10, data), Status::Ok);
        EXPECT_EQ(clear(opcode, 12, 4), Status::Ok);
        disk->seen.clear();
        EXPECT_EQ(read_and_compare(12, Bytes(4 * kBlock)), Status::Ok);
        EXPECT_TRUE(disk->seen.empty());
        EXPECT_EQ(read_and_compare(10, Bytes(data.begin(), data.begin() + 2 * kBlock)), Status::Ok);
        EXPECT_EQ(
            read_and_compare(16, Bytes(data.begin() + std::ptrdiff_t{6} * kBlock, data.end())),
            Status::Ok);
    }
}

TEST_F(IntegrityDeviceTest, Discard_goesDownBehindItsPage) {
    create();
    EXPECT_EQ(write(10, pattern(4 * kBlock, 1)), Status::Ok);
    disk->seen.clear();
    EXPECT_EQ(clear(Opcode::Discard, 11, 2), Status::Ok);
    ASSERT_EQ(disk->seen.size(), 2U);
    EXPECT_TRUE(is_page(disk->seen[0]));
    EXPECT_TRUE(disk->seen[0].force_unit_access);
    EXPECT_EQ(disk->seen[1].opcode, Opcode::Discard);
    EXPECT_EQ(disk->seen[1].lba, below(11));
    EXPECT_EQ(disk->seen[1].block_count, 2U);
}

TEST_F(IntegrityDeviceTest, WriteZeroes_movesNoDataAndIsDurableOnlyIfAsked) {
    create();
    EXPECT_EQ(write(10, pattern(4 * kBlock, 1)), Status::Ok);
    disk->seen.clear();
    EXPECT_EQ(clear(Opcode::WriteZeroes, 10, 2), Status::Ok);
    ASSERT_EQ(disk->seen.size(), 1U);
    EXPECT_FALSE(disk->seen[0].force_unit_access);
    Io io(Opcode::WriteZeroes, 10, 4, {});
    io.request.force_unit_access = true;
    EXPECT_EQ(perform(io), Status::Ok);
    ASSERT_EQ(disk->seen.size(), 2U);
    EXPECT_TRUE(disk->seen[1].force_unit_access);
}

TEST_F(IntegrityDeviceTest, Discard_neverWritten_doesNothing) {
    create();
    EXPECT_EQ(clear(Opcode::Discard, 0, static_cast<std::uint32_t>(layout.block_count)),
              Status::Ok);
    EXPECT_EQ(seen(Opcode::Read), disk->seen.size());  // pages
    EXPECT_EQ(disk->seen.size(), layout.page_count);
}

TEST_F(IntegrityDeviceTest, Discard_notBelow_isRefused) {
    disk->shape.can_discard = false;
    create();
    EXPECT_EQ(clear(Opcode::Discard, 0, 1), Status::Unsupported);
}

TEST_F(IntegrityDeviceTest, Flush_goesDown) {
    create();
    EXPECT_EQ(flush(), Status::Ok);
    EXPECT_EQ(seen(Opcode::Flush), 1U);
}

// Bounds.

TEST_F(IntegrityDeviceTest, Write_emptyPool_goesOnByTheReserveAlone) {
    create();
    std::vector<std::span<std::byte>> taken;
    for (std::size_t bytes = core::kMiB; bytes >= memory::BufferPool::kMinBytes; bytes /= 2) {
        for (auto all = pool->allocate(bytes); !all.empty(); all = pool->allocate(bytes)) {
            taken.push_back(all);
        }
    }
    disk->automatic = false;
    Bytes data = pattern(10 * 300 * kBlock, 3);
    std::vector<std::unique_ptr<Io>> ios;
    for (std::size_t i = 0; i < 10; ++i) {
        ios.push_back(std::make_unique<Io>(
            Opcode::Write, i * 300, 300, std::span(data).subspan(i * 300 * kBlock, 300 * kBlock)));
        start(*ios.back());
    }
    while (disk->held() > 0) {
        EXPECT_EQ(disk->held(), 1U);
        let_go(1);
    }
    disk->automatic = true;
    for (const auto& io : ios) {
        EXPECT_EQ(io->request.status, Status::Ok);
        EXPECT_EQ(io->request.completions, 1);
    }
    EXPECT_EQ(read_and_compare(0, data), Status::Ok);
    for (const auto& buffer : taken) {
        pool->release(buffer);
    }
}

TEST_F(IntegrityDeviceTest, AnyRequest_moreThanSlotsAndPages_allGoOn) {
    options.cache_bytes = 0;  // two pages, for nine
    create();
    disk->automatic = false;
    constexpr std::size_t kMany = 2 * IntegrityChannel::kSlots + 10;
    Bytes data = pattern(kMany * kBlock, 3);
    std::vector<std::unique_ptr<Io>> ios;
    for (std::size_t i = 0; i < kMany; ++i) {
        const std::uint64_t lba = (i * 997) % (layout.block_count - 1);
        ios.push_back(std::make_unique<Io>(i % 3 == 0 ? Opcode::Read : Opcode::Write, lba, 1,
                                           std::span(data).subspan(i * kBlock, kBlock)));
        start(*ios.back());
    }
    let_all_go();
    for (const auto& io : ios) {
        ASSERT_TRUE(io->request.finished);
        EXPECT_EQ(io->request.status, Status::Ok);
    }
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST_F(IntegrityDeviceTest, Read_manyBytesAtOnce_goesOnInTheNextTurn) {
    create();
    const Bytes data = pattern(3000 * kBlock, 3);
    EXPECT_EQ(write(0, data), Status::Ok);
    Bytes out(6 * data.size());
    std::vector<std::unique_ptr<Io>> ios;
    for (std::size_t i = 0; i < 6; ++i) {
        ios.push_back(std::make_unique<Io>(Opcode::Read, 0, 3000,
                                           std::span(out).subspan(i * data.size(), data.size())));
    }
    on_reactor([&] {
        for (const auto& io : ios) {
            client->start(io->request);
        }
    });
    for (int i = 0; i < 1000; ++i) {
        reactor.turn();
    }
    for (const auto& io : ios) {
        EXPECT_EQ(io->request.status, Status::Ok);
        EXPECT_TRUE(io->request.finished);
    }
    EXPECT_TRUE(std::ranges::equal(std::span(out).last(data.size()), data));
}

}  // namespace
}  // namespace remora::services::integrity
