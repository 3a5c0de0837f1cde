// SPDX-License-Identifier: Apache-2.0
// The split queue with a driver that keeps the rules.
#include "virtio/split_queue.h"

#include "tests/unit/virtio/ring_fixture.h"

namespace remora::test {
namespace {

using namespace virtio::descriptor_flags;

using SplitQueueTest = RingTest;

TEST_F(SplitQueueTest, TakeHeads_emptyRing_givesNone) {
    std::array<std::uint16_t, 4> heads{};
    EXPECT_EQ(queue.take_heads(heads), 0U);
    EXPECT_FALSE(queue.has_work());
}

TEST_F(SplitQueueTest, TakeHeads_moreThanAsked_leavesTheRestForNextTime) {
    for (std::uint16_t head = 0; head < 6; ++head) {
        driver.offer(head);
    }
    driver.publish();
    std::array<std::uint16_t, 4> heads{};
    EXPECT_EQ(queue.take_heads(heads), 4U);
    EXPECT_EQ(heads, (std::array<std::uint16_t, 4>{0, 1, 2, 3}));
    EXPECT_EQ(queue.take_heads(heads), 2U);
    EXPECT_EQ(heads[1], 5);
    EXPECT_EQ(queue.last_avail(), 6);
}

TEST_F(SplitQueueTest, Walk_directChain_splitsReadableAndWritable) {
    driver.describe(2, GuestRam::guest(kData), 16, kNext, 5);
    driver.describe(5, GuestRam::guest(kData + 0x1000), 512, kNext | kWrite, 1);
    driver.describe(1, GuestRam::guest(kData + 0x2000), 1, kWrite);
    offer_and_take(2);
    ASSERT_TRUE(walk(2));
    EXPECT_EQ(chain.readable, 1);
    EXPECT_EQ(chain.writable, 2);
    EXPECT_EQ(chain.readable_bytes, 16U);
    EXPECT_EQ(chain.writable_bytes, 513U);
    EXPECT_EQ(chain.writable_segments()[0].data, ram.at(kData + 0x1000));
}

TEST_F(SplitQueueTest, Walk_indirectTable_isFollowedByItsOwnIndices) {
    virtio::Descriptor table[3];
    table[0].address = GuestRam::guest(kData);
    table[0].length = 16;
    table[0].flags = kNext;
    table[0].next = 2;
    table[2].address = GuestRam::guest(kData + 0x100);
    table[2].length = 1;
    table[2].flags = kWrite;
    std::memcpy(ram.at(0x4000), table, sizeof(table));
    driver.describe(7, GuestRam::guest(0x4000), sizeof(table), kIndirect | kWrite);
    offer_and_take(7);
    ASSERT_TRUE(walk(7));
    EXPECT_EQ(chain.readable_bytes, 16U);
    EXPECT_EQ(chain.writable_bytes, 1U);
}

TEST_F(SplitQueueTest, Walk_directThenIndirect_isOneChain) {
    virtio::Descriptor table[1];
    table[0].address = GuestRam::guest(kData + 0x100);
    table[0].length = 1;
    table[0].flags = kWrite;
    std::memcpy(ram.at(0x4000), table, sizeof(table));
    driver.describe(0, GuestRam::guest(kData), 16, kNext, 1);
    driver.describe(1, GuestRam::guest(0x4000), sizeof(table), kIndirect);
    offer_and_take(0);
    ASSERT_TRUE(walk(0));
    EXPECT_EQ(chain.readable, 1);
    EXPECT_EQ(chain.writable, 1);
}

TEST_F(SplitQueueTest, Walk_descriptorAcrossTwoRegions_becomesTwoSegments) {
    const auto half = ram.bytes().size() / 2;
    const memory::GuestMemory::Region regions[2] = {
        {.guest_address = GuestRam::kGuestBase,
         .user_address = GuestRam::kUserBase,
         .bytes = ram.bytes().first(half)},
        {.guest_address = GuestRam::kGuestBase + half,
         .user_address = GuestRam::kUserBase + 0x1000'0000,
         .bytes = ram.bytes().subspan(half)}};
    ASSERT_TRUE(memory.set_regions(regions).has_value());
    driver.describe(0, GuestRam::guest(half - 256), 512, kWrite);
    offer_and_take(0);
    ASSERT_TRUE(walk(0));
    EXPECT_EQ(chain.writable, 2);
    EXPECT_EQ(chain.writable_bytes, 512U);
}

TEST_F(SplitQueueTest, PushUsed_untilPublish_isNotSeen) {
    driver.describe(3, GuestRam::guest(kData), 1, kWrite);
    offer_and_take(3);
    queue.push_used(3, 7);
    EXPECT_FALSE(driver.take_used().has_value());
    EXPECT_TRUE(queue.has_unpublished());
    static_cast<void>(queue.publish());
    const auto used = driver.take_used();
    ASSERT_TRUE(used.has_value());
    EXPECT_EQ(used->id, 3U);
    EXPECT_EQ(used->length, 7U);
}

TEST_F(SplitQueueTest, DiscardUnpublished_keepsTheDriversView) {
    offer_and_take(1);
    queue.push_used(1, 1);
    queue.discard_unpublished();
    EXPECT_FALSE(queue.has_unpublished());
    EXPECT_EQ(driver.used_index(), 0);
}

TEST_F(SplitQueueTest, Publish_eventIndexNotReached_asksForNoInterrupt) {
    driver.suppress_interrupts();
    offer_and_take(0);
    queue.push_used(0, 1);
    EXPECT_FALSE(queue.publish());
    ASSERT_TRUE(driver.take_used().has_value());
    EXPECT_FALSE(driver.request_interrupt());
    offer_and_take(1);
    queue.push_used(1, 1);
    EXPECT_TRUE(queue.publish());
}

TEST_F(SplitQueueTest, Publish_withoutEventIndex_obeysTheFlag) {
    start(false);
    driver.suppress_interrupts();
    offer_and_take(0);
    queue.push_used(0, 1);
    EXPECT_FALSE(queue.publish());
    driver.request_interrupt();
    offer_and_take(1);
    queue.push_used(1, 1);
    EXPECT_TRUE(queue.publish());
}

TEST_F(SplitQueueTest, SuppressKicks_whilePolling_driverNeverKicks) {
    for (const bool event_index : {true, false}) {
        start(event_index);
        queue.suppress_kicks();
        for (int i = 0; i < 1000; ++i) {
            driver.offer(0);
            EXPECT_FALSE(driver.publish());
            std::array<std::uint16_t, 4> heads{};
            ASSERT_EQ(queue.take_heads(heads), 1U);
            queue.suppress_kicks();
        }
    }
}

// Whatever a driver has outstanding and however many are taken at once, all around the index.
TEST_F(SplitQueueTest, SuppressKicks_manyBatches_seldomWritesAndIsNeverKicked) {
    const std::span<std::byte> used = options(true, 0).rings.used;
    std::byte* event = used.data() + virtio::used_ring_bytes(kSize, false);
    queue.suppress_kicks();
    std::uint16_t seen = virtio::load16_relaxed(event);
    int changes = 0;
    int outstanding = 0;
    for (int round = 0; round < 60'000; ++round) {
        for (const int wanted = 1 + round % kSize; outstanding < wanted; ++outstanding) {
            driver.offer(0);
        }
        ASSERT_FALSE(driver.publish()) << "round " << round;
        std::array<std::uint16_t, kSize> heads{};
        const auto taken = queue.take_heads(
            std::span(heads).first(std::size_t{1} + static_cast<std::size_t>(round % 3)));
        ASSERT_TRUE(taken.has_value());
        outstanding -= static_cast<int>(*taken);
        queue.suppress_kicks();
        const std::uint16_t now = virtio::load16_relaxed(event);
        changes += now != seen ? 1 : 0;
        seen = now;
    }
    EXPECT_GE(changes, 1);
    EXPECT_LE(changes, 3);  // some 120,000 were taken
}

TEST_F(SplitQueueTest, RequestKicks_nextPublish_wantsAKick) {
    for (const bool event_index : {true, false}) {
        start(event_index);
        queue.suppress_kicks();
        EXPECT_FALSE(queue.request_kicks());
        driver.offer(0);
        EXPECT_TRUE(driver.publish());
    }
}

TEST_F(SplitQueueTest, RequestKicks_workThereAlready_isSeen) {
    queue.suppress_kicks();
    driver.offer(0);
    EXPECT_FALSE(driver.publish());
    EXPECT_TRUE(queue.request_kicks());
}

TEST_F(SplitQueueTest, Indices_wrapAt65536_ringGoesOn) {
    driver.describe(0, GuestRam::guest(kData), 1, kWrite);
    for (int i = 0; i < 70'000; ++i) {
        driver.offer(0);
        driver.publish();
        std::array<std::uint16_t, 4> heads{};
        ASSERT_EQ(queue.take_heads(heads), 1U);
        queue.push_used(0, 1);
        static_cast<void>(queue.publish());
        ASSERT_TRUE(driver.take_used().has_value());
    }
}

TEST_F(SplitQueueTest, Start_sizeNotPowerOfTwo_isRefused) {
    for (const std::uint16_t size : std::array<std::uint16_t, 3>{0, 3, 2048}) {
        auto bad = options(true, 0);
        bad.size = size;
        EXPECT_FALSE(queue.start(bad).has_value()) << size;
    }
}

TEST_F(SplitQueueTest, Start_misalignedOrShortRing_isRefused) {
    auto bad = options(true, 0);
    bad.rings.descriptors = ram.bytes().subspan(8, 16 * kSize);
    EXPECT_FALSE(queue.start(bad).has_value());
    bad = options(true, 0);
    bad.rings.used = ram.bytes().subspan(0x1002, 6 + 8 * kSize);
    EXPECT_FALSE(queue.start(bad).has_value());
    bad = options(true, 0);
    bad.rings.available = bad.rings.available.first(4 + 2 * kSize);
    EXPECT_FALSE(queue.start(bad).has_value());
}

}  // namespace
}  // namespace remora::test
