// SPDX-License-Identifier: Apache-2.0
// The split queue with a driver that lies: every lie is refused, none loops or reads outside the
// guest's memory (the sanitizers watch).
#include <cstring>

#include "core/prng.h"
#include "tests/unit/virtio/ring_fixture.h"
#include "virtio/blk_request.h"
#include "virtio/split_queue.h"

namespace remora::test {
namespace {

using namespace virtio::descriptor_flags;

class HostileRingTest : public RingTest {
  public:
    void put_table(std::uint64_t offset, std::span<const virtio::Descriptor> table) {
        std::memcpy(ram.at(offset), table.data(), table.size_bytes());
    }
    static virtio::Descriptor make(std::uint64_t offset,
                                   std::uint32_t length,
                                   std::uint16_t flags,
                                   std::uint16_t next = 0) {
        virtio::Descriptor descriptor;
        descriptor.address = GuestRam::guest(offset);
        descriptor.length = length;
        descriptor.flags = flags;
        descriptor.next = next;
        return descriptor;
    }
};

TEST_F(HostileRingTest, TakeHeads_indexJumpsPastTheRing_isBroken) {
    driver.set_available_index(kSize + 1);
    std::array<std::uint16_t, 4> heads{};
    EXPECT_EQ(queue.take_heads(heads), std::nullopt);
}

TEST_F(HostileRingTest, TakeHeads_indexGoesBack_isBroken) {
    offer_and_take(0);
    driver.set_available_index(0);
    std::array<std::uint16_t, 4> heads{};
    EXPECT_EQ(queue.take_heads(heads), std::nullopt);
}

TEST_F(HostileRingTest, TakeHeads_headPastTheTable_isBroken) {
    driver.offer(kSize);
    driver.publish();
    std::array<std::uint16_t, 4> heads{};
    EXPECT_EQ(queue.take_heads(heads), std::nullopt);
}

TEST_F(HostileRingTest, Walk_chainLoopsOnItself_isRefused) {
    driver.describe(0, GuestRam::guest(kData), 1, kNext, 0);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_chainLoopsThroughTwo_isRefused) {
    driver.describe(0, GuestRam::guest(kData), 1, kNext, 1);
    driver.describe(1, GuestRam::guest(kData), 1, kNext, 0);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_nextPastTheTable_isRefused) {
    driver.describe(0, GuestRam::guest(kData), 1, kNext, kSize);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_unmappedAddress_isRefused) {
    driver.describe(0, 0x10, 16, 0);
    EXPECT_FALSE(walk(0));
    driver.describe(0, ~std::uint64_t{0} - 4, 16, 0);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_lengthRunsOffTheMemory_isRefused) {
    driver.describe(0, GuestRam::guest(ram.bytes().size() - 8), 16, kWrite);
    EXPECT_FALSE(walk(0));
    driver.describe(0, GuestRam::guest(0), 0xffff'ffff, kWrite);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_zeroLength_isRefused) {
    driver.describe(0, GuestRam::guest(kData), 0, kWrite);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_readableAfterWritable_isRefused) {
    driver.describe(0, GuestRam::guest(kData), 1, kNext | kWrite, 1);
    driver.describe(1, GuestRam::guest(kData), 1, 0);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_refusedChain_tellsItsLastByte) {
    driver.describe(0, GuestRam::guest(kData), 16, kNext, 1);
    driver.describe(1, 0x10, 512, kNext | kWrite, 2);
    driver.describe(2, GuestRam::guest(kData + 64), 3, kWrite);
    EXPECT_FALSE(walk(0));
    EXPECT_EQ(chain.last_byte, ram.at(kData + 66));
    driver.describe(1, GuestRam::guest(kData), 0, kNext | kWrite, 2);
    EXPECT_FALSE(walk(0));
    EXPECT_EQ(chain.last_byte, ram.at(kData + 66));
    driver.describe(2, 0x10, 512, kWrite);
    EXPECT_FALSE(walk(0));
    EXPECT_EQ(chain.last_byte, nullptr);
    driver.describe(2, GuestRam::guest(kData), 1, 0);
    EXPECT_FALSE(walk(0));
    EXPECT_EQ(chain.last_byte, nullptr);  // not to be written
    driver.describe(2, GuestRam::guest(kData), 1, kNext | kWrite, 0);
    EXPECT_FALSE(walk(0));
    EXPECT_EQ(chain.last_byte, nullptr);  // there is no last one
    driver.describe(2, GuestRam::guest(kData), 1, kWrite);
    driver.describe(1, GuestRam::guest(kData), 1, kNext | kWrite, 2);
    EXPECT_TRUE(walk(0));
    EXPECT_EQ(chain.last_byte, nullptr);
}

TEST_F(HostileRingTest, Walk_indirectWithNext_isRefused) {
    const virtio::Descriptor table[] = {make(kData, 1, kWrite)};
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), 16, kIndirect | kNext, 1);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_indirectInsideIndirect_isRefused) {
    const virtio::Descriptor table[] = {make(0x4000, 16, kIndirect)};
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), 16, kIndirect);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_indirectTableOfOddSize_isRefused) {
    for (const std::uint32_t bytes : {0U, 8U, 17U}) {
        driver.describe(0, GuestRam::guest(0x4000), bytes, kIndirect);
        EXPECT_FALSE(walk(0)) << bytes;
    }
}

TEST_F(HostileRingTest, Walk_indirectTableUnmapped_isRefused) {
    driver.describe(0, 0x10, 16, kIndirect);
    EXPECT_FALSE(walk(0));
    driver.describe(0, ~std::uint64_t{0} - 7, 32, kIndirect);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_indirectNextPastItsTable_isRefused) {
    const virtio::Descriptor table[] = {make(kData, 1, kNext, 2), make(kData, 1, 0)};
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), sizeof(table), kIndirect);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_indirectLoop_isRefused) {
    const virtio::Descriptor table[] = {make(kData, 1, kNext, 1), make(kData, 1, kNext, 0)};
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), sizeof(table), kIndirect);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_indirectNotNegotiated_isRefused) {
    auto without = options(true, 0);
    without.indirect = false;
    ASSERT_TRUE(queue.start(without).has_value());
    const virtio::Descriptor table[] = {make(kData, 1, kWrite)};
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), 16, kIndirect);
    EXPECT_FALSE(walk(0));
}

TEST_F(HostileRingTest, Walk_longestChainAllowed_isTaken_oneMoreIsRefused) {
    std::vector<virtio::Descriptor> table;
    for (std::uint16_t i = 0; i < kMaxChain + 1; ++i) {
        table.push_back(make(kData, 1, kNext, static_cast<std::uint16_t>(i + 1)));
    }
    table[kMaxChain - 1].flags = 0;
    put_table(0x4000, table);
    driver.describe(0, GuestRam::guest(0x4000), static_cast<std::uint32_t>(table.size() * 16),
                    kIndirect);
    EXPECT_TRUE(walk(0));
    table[kMaxChain - 1].flags = kNext;
    table[kMaxChain].flags = 0;
    put_table(0x4000, table);
    EXPECT_FALSE(walk(0));
}

// Random descriptors over a ring and an indirect table: walk and parse either refuse, or give
// segments that lie inside the memory with the sizes they say.
TEST_F(HostileRingTest, Walk_randomTables_staysInsideTheMemory) {
    core::Prng prng(20'241'121);
    const std::byte* begin = ram.bytes().data();
    const std::byte* end = begin + ram.bytes().size();
    std::size_t taken = 0;
    for (int round = 0; round < 50'000; ++round) {
        for (std::uint16_t i = 0; i < kSize; ++i) {
            const bool wild = prng.next() % 8 == 0;
            const std::uint64_t offset = wild ? prng.next() : prng.next() % 0x10'0000;
            const auto length = static_cast<std::uint32_t>(wild ? prng.next() : prng.next() % 64);
            const auto flags = static_cast<std::uint16_t>(prng.next() & 7U);
            const auto next = static_cast<std::uint16_t>(prng.next() % (kSize + 1));
            driver.describe(i, GuestRam::kGuestBase + offset, length, flags, next);
            const virtio::Descriptor entry = make(offset, length, flags, next);
            std::memcpy(ram.at(0x4000 + 16 * i), &entry, sizeof(entry));
        }
        if (round % 2 == 0) {
            driver.describe(0, GuestRam::guest(0x4000), 16 * kSize, kIndirect);
        }
        if (!walk(0)) {
            continue;
        }
        ++taken;
        std::uint64_t bytes = 0;
        for (std::size_t i = 0; i < std::size_t{chain.readable} + chain.writable; ++i) {
            ASSERT_GE(segments[i].data, begin);
            ASSERT_LE(segments[i].data + segments[i].size, end);
            bytes += segments[i].size;
        }
        ASSERT_EQ(bytes, chain.readable_bytes + chain.writable_bytes);
        virtio::BlkRequest request;
        if (parse_blk_request(chain, request) == virtio::ParseResult::Ok) {
            ASSERT_EQ(core::total_size(request.data), request.data_bytes);
        }
    }
    EXPECT_GT(taken, 100U);
}

}  // namespace
}  // namespace remora::test
