// SPDX-License-Identifier: Apache-2.0
// The packed queue with a driver that keeps the rules, and with one that lies: what is refused is
// refused, what breaks the ring breaks it, and nothing outside the guest's memory is touched.
#include "virtio/packed_queue.h"

#include <algorithm>

#include "core/prng.h"
#include "tests/unit/virtio/packed_fixture.h"

namespace remora::test {
namespace {

using namespace virtio::descriptor_flags;
using virtio::PackedBase;
using virtio::PackedPlace;

TEST_F(PackedRingTest, TakeHeads_emptyRing_givesNone) {
    EXPECT_EQ(take(), Heads{});
    EXPECT_FALSE(queue.has_work());
}

TEST_F(PackedRingTest, TakeHeads_moreThanAsked_leavesTheRestForNextTime) {
    for (const std::uint16_t head : Heads{4, 2, 6, 1}) {
        offer(head);
    }
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(3), (Heads{4, 2, 6}));
    EXPECT_TRUE(queue.has_work());
    EXPECT_EQ(take(), Heads{1});
    EXPECT_EQ(queue.base().available, (PackedPlace{4, true}));
}

TEST_F(PackedRingTest, TakeHeads_firstDescriptorNotYetAvailable_seesNothingOfTheChain) {
    offer(0, 3);
    EXPECT_EQ(take(), Heads{});
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), Heads{0});
}

TEST_F(PackedRingTest, Walk_chainOverTheRingsEnd_isOneChain) {
    offer_and_take(0, 5);
    give_back(0);
    ASSERT_TRUE(driver.take_used().has_value());
    offer_and_take(2, 4);  // places 5, 6, 0, 1
    EXPECT_EQ(queue.base().available, (PackedPlace{2, false}));
    ASSERT_TRUE(walk(2));
    EXPECT_EQ(chain.writable_bytes, 4U);
    EXPECT_EQ(segments[3].data, ram.at(kData + std::uint64_t{64} * 2 + 3));
}

TEST_F(PackedRingTest, Walk_ringWrittenOverAfterTheTake_readsWhatWasTaken) {
    offer_and_take(0, 3);
    std::ranges::fill(std::span(driver.descriptor(0), std::size_t{16} * kSize), std::byte{0xff});
    ASSERT_TRUE(walk(0));
    EXPECT_EQ(chain.writable_bytes, 3U);
}

TEST_F(PackedRingTest, Walk_indirectTable_isReadToItsEnd_flagsButWriteIgnored) {
    const std::array<virtio::Descriptor, 3> table{
        virtio::Descriptor{GuestRam::guest(kData), 16U, kIndirect, std::uint16_t{9}},
        virtio::Descriptor{GuestRam::guest(kData + 64), 8U, kWrite, std::uint16_t{0}},
        virtio::Descriptor{GuestRam::guest(kData + 128), 1U, kWrite | kNext, std::uint16_t{0}}};
    driver.write_table(0x4000, table);
    driver.describe(3, GuestRam::guest(0x4000), sizeof(table), kIndirect);
    driver.offer(3);
    static_cast<void>(driver.publish());
    ASSERT_EQ(take(), Heads{3});
    ASSERT_TRUE(walk(3));
    EXPECT_EQ(chain.readable_bytes, 16U);
    EXPECT_EQ(chain.writable_bytes, 9U);
}

TEST_F(PackedRingTest, Publish_outOfOrder_driverGetsThemAsTheyCome) {
    offer(0, 2);
    offer(3, 3);
    offer(6, 1);
    static_cast<void>(driver.publish());
    ASSERT_EQ(take(), (Heads{0, 3, 6}));
    queue.push_used(6, 11);
    queue.push_used(0, 0);
    EXPECT_FALSE(driver.take_used().has_value());
    static_cast<void>(queue.publish());
    const auto first = driver.take_used();
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(first->id, 6U);
    EXPECT_EQ(first->length, 11U);
    EXPECT_EQ(driver.take_used()->id, 0U);
    EXPECT_FALSE(driver.take_used().has_value());
    give_back(3);
    EXPECT_EQ(driver.take_used()->id, 3U);
    EXPECT_EQ(queue.base().used, queue.base().available);
}

TEST_F(PackedRingTest, DiscardUnpublished_leavesTheRingAsItWas) {
    offer_and_take(1, 2);
    const std::vector<std::byte> before(ram.bytes().begin(), ram.bytes().end());
    queue.push_used(1, 1);
    queue.discard_unpublished();
    EXPECT_FALSE(queue.has_unpublished());
    EXPECT_TRUE(std::ranges::equal(before, ram.bytes()));
}

TEST_F(PackedRingTest, ManyLaps_chainsOfAllLengths_ringGoesOn) {
    core::Prng prng(5);
    for (int round = 0; round < 20'000; ++round) {
        const auto length = static_cast<std::uint16_t>(1 + prng.below(kSize));
        const auto head = static_cast<std::uint16_t>(prng.below(kSize));
        offer_and_take(head, length);
        ASSERT_TRUE(walk(head));
        ASSERT_EQ(chain.writable_bytes, length);
        give_back(head);
        ASSERT_EQ(driver.take_used()->id, head);
    }
}

TEST_F(PackedRingTest, Publish_driverWantsNothing_asksForNoInterrupt) {
    for (const bool event_index : {true, false}) {
        start(event_index);
        driver.suppress_interrupts();
        offer_and_take(0);
        EXPECT_FALSE(give_back(0));
        ASSERT_TRUE(driver.take_used().has_value());
        EXPECT_FALSE(driver.request_interrupt());
        offer_and_take(1);
        EXPECT_TRUE(give_back(1));
    }
}

// Every event place against every batch: told if, and only if, the batch went past it.
TEST_F(PackedRingTest, Publish_eventPlace_isToldWhenPassed) {
    for (std::uint16_t begin = 0; begin < kSize; ++begin) {
        for (std::uint16_t event = 0; event < kSize; ++event) {
            for (std::uint16_t length = 1; length <= kSize; ++length) {
                start(true);
                auto at = options(true);
                at.base = {{begin, true}, {begin, true}};
                ASSERT_TRUE(queue.start(at).has_value());
                const PackedPlace wished = PackedPlace{begin, true}.after(event, kSize);
                virtio::store32_relaxed(at.rings.available.data(),
                                        virtio::packed_event::make(
                                            wished.encoded(), virtio::packed_event::kAtDescriptor));
                std::vector<virtio::PackedDescriptor> chain_of(length);
                ASSERT_TRUE(queue.restore(0, chain_of));
                EXPECT_EQ(give_back(0), event < length) << begin << " " << event << " " << length;
            }
        }
    }
}

TEST_F(PackedRingTest, SuppressKicks_whilePolling_driverNeverKicks) {
    for (const bool event_index : {true, false}) {
        start(event_index);
        queue.suppress_kicks();
        for (int i = 0; i < 100; ++i) {
            offer(0);
            EXPECT_FALSE(driver.publish());
            ASSERT_EQ(take(), Heads{0});
            queue.suppress_kicks();
            give_back(0);
            ASSERT_TRUE(driver.take_used().has_value());
        }
    }
}

TEST_F(PackedRingTest, RequestKicks_nextPublish_wantsAKick) {
    for (const bool event_index : {true, false}) {
        start(event_index);
        queue.suppress_kicks();
        EXPECT_FALSE(queue.request_kicks());
        EXPECT_TRUE(driver.wants_kick());
        offer(0);
        EXPECT_TRUE(driver.publish());
        EXPECT_TRUE(queue.request_kicks());  // work is there already
    }
}

TEST_F(PackedRingTest, Start_fromBothBases_goesOnThere) {
    offer_and_take(0, 5);
    give_back(0);
    ASSERT_TRUE(driver.take_used().has_value());
    auto again = options(true);
    again.base = PackedBase::decode(queue.base().encoded());
    EXPECT_EQ(again.base.available, (PackedPlace{5, true}));
    ASSERT_TRUE(queue.start(again).has_value());
    offer_and_take(2, 4);
    give_back(2);
    EXPECT_EQ(driver.take_used()->id, 2U);
    EXPECT_EQ(queue.base().used, (PackedPlace{2, false}));
}

TEST_F(PackedRingTest, Start_whatCannotBe_isRefused) {
    const auto refused = [&](auto change) {
        auto bad = options(true);
        change(bad);
        return !queue.start(bad).has_value();
    };
    EXPECT_TRUE(refused([](auto& o) { o.size = 0; }));
    EXPECT_TRUE(refused([](auto& o) { o.size = 1025; }));
    EXPECT_TRUE(refused([&](auto& o) { o.rings.descriptors = ram.bytes().subspan(8, 200); }));
    EXPECT_TRUE(refused([](auto& o) { o.rings.used = o.rings.used.first(2); }));
    EXPECT_TRUE(refused([&](auto& o) { o.rings.available = ram.bytes().subspan(0x1002, 4); }));
    EXPECT_TRUE(refused([](auto& o) { o.base.available.index = kSize; }));
    EXPECT_TRUE(refused([](auto& o) { o.base.used.index = kSize; }));
    EXPECT_TRUE(refused([](auto& o) { o.base.used.index = 1; }));  // ahead of the other
    EXPECT_TRUE(refused([](auto& o) {
        o.base = {{2, false}, {1, true}};  // more than the ring apart
    }));
    EXPECT_FALSE(refused([](auto& o) { o.base = {{1, false}, {1, true}}; }));  // all in flight
}

// The driver lies. A broken ring has taken nothing.
TEST_F(PackedRingTest, TakeHeads_idPastTheRing_isBroken) {
    offer(1);
    driver.describe(0, GuestRam::guest(kData), 1, kWrite);
    driver.offer(kSize);
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), std::nullopt);
    EXPECT_EQ(queue.base(), PackedBase{});
    EXPECT_EQ(queue.taken(1).count, 0);
}

TEST_F(PackedRingTest, TakeHeads_idInFlight_isBroken) {
    offer_and_take(1);
    offer(1);
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), std::nullopt);
}

TEST_F(PackedRingTest, TakeHeads_idTwiceInABatch_isBroken) {
    offer(1);
    offer(1);
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), std::nullopt);
}

TEST_F(PackedRingTest, TakeHeads_chainWithoutEnd_isBroken) {
    driver.describe(0, GuestRam::guest(kData), 1, kNext, 0);
    driver.offer(0);
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), std::nullopt);
}

TEST_F(PackedRingTest, TakeHeads_overDescriptorsOfTheDevice_isBroken) {
    offer_and_take(0, 5);
    offer(5, 3);  // only two are the driver's
    static_cast<void>(driver.publish());
    EXPECT_EQ(take(), std::nullopt);
    EXPECT_EQ(queue.base().available, (PackedPlace{5, true}));
}

TEST_F(PackedRingTest, TakeHeads_fullRingOfferedAgain_isBroken) {
    offer_and_take(0, kSize);
    EXPECT_FALSE(queue.has_work());
    offer(0, 1);
    static_cast<void>(driver.publish());
    EXPECT_TRUE(queue.has_work());
    EXPECT_EQ(take(), std::nullopt);
}

TEST_F(PackedRingTest, Walk_indirectTablesThatCannotBe_areRefused) {
    std::vector<virtio::Descriptor> table(
        kMaxChain + 1, virtio::Descriptor{GuestRam::guest(kData), 1U, kWrite, std::uint16_t{0}});
    driver.write_table(0x4000, table);
    const auto refused = [&](std::uint64_t address, std::size_t bytes, unsigned flags = kIndirect) {
        start(true);
        driver.describe(0, address, static_cast<std::uint32_t>(bytes),
                        static_cast<std::uint16_t>(flags), 1);
        driver.describe(1, GuestRam::guest(kData), 1, kWrite);
        driver.offer(0);
        static_cast<void>(driver.publish());
        return take() == Heads{0} && !walk(0);
    };
    for (const std::size_t bytes : {std::size_t{0}, std::size_t{8}, std::size_t{17}}) {
        EXPECT_TRUE(refused(GuestRam::guest(0x4000), bytes)) << bytes;
    }
    EXPECT_TRUE(refused(0x10, 16));
    EXPECT_TRUE(refused(~std::uint64_t{0} - 7, 32));
    EXPECT_TRUE(refused(GuestRam::guest(0x4000), 16, kIndirect | kNext));
    EXPECT_TRUE(refused(GuestRam::guest(0x4000), std::size_t{16} * (kMaxChain + 1)));
    EXPECT_TRUE(refused(GuestRam::guest(0x4000), 0xffff'fff0));
    EXPECT_FALSE(refused(GuestRam::guest(0x4000), std::size_t{16} * kMaxChain));
}

TEST_F(PackedRingTest, Walk_refusedChain_tellsItsLastByte) {
    const auto last_byte_of = [&](std::uint64_t data, std::uint64_t status, unsigned flags) {
        start(true);
        driver.describe(0, GuestRam::guest(kData), 16, kNext, 1);
        driver.describe(1, data, 512, kNext | kWrite, 2);
        driver.describe(2, status, 3, static_cast<std::uint16_t>(flags));
        driver.offer(0);
        static_cast<void>(driver.publish());
        EXPECT_TRUE(take() == Heads{0} && !walk(0));
        return chain.last_byte;
    };
    EXPECT_EQ(last_byte_of(0x10, GuestRam::guest(kData + 64), kWrite), ram.at(kData + 66));
    EXPECT_EQ(last_byte_of(0x10, 0x10, kWrite), nullptr);
    EXPECT_EQ(last_byte_of(0x10, GuestRam::guest(kData + 64), 0), nullptr);
}

// Random rings: taken or broken, and what is walked lies inside the memory.
TEST_F(PackedRingTest, RandomRings_stayInsideTheMemory) {
    core::Prng prng(20'261'127);
    const std::byte* begin = ram.bytes().data();
    const std::byte* end = begin + ram.bytes().size();
    std::size_t walked = 0;
    for (int round = 0; round < 50'000; ++round) {
        ASSERT_TRUE(queue.start(options(true)).has_value());
        for (std::uint16_t i = 0; i < kSize; ++i) {
            const bool wild = prng.next() % 8 == 0;
            virtio::PackedDescriptor entry;
            entry.address = GuestRam::kGuestBase + (wild ? prng.next() : prng.next() % 0x10'0000);
            entry.length = static_cast<std::uint32_t>(wild ? prng.next() : prng.next() % 64);
            entry.id = static_cast<std::uint16_t>(prng.next() % (kSize + 1));
            entry.flags = static_cast<std::uint16_t>((prng.next() & 0x7U) |
                                                     (prng.next() % 4 != 0 ? 0x80U : 0x8000U));
            std::memcpy(driver.descriptor(i), &entry, sizeof(entry));
        }
        const auto heads = take();
        for (const std::uint16_t head : heads.value_or(Heads{})) {
            if (!walk(head)) {
                continue;
            }
            ++walked;
            for (std::size_t i = 0; i < std::size_t{chain.readable} + chain.writable; ++i) {
                ASSERT_GE(segments[i].data, begin);
                ASSERT_LE(segments[i].data + segments[i].size, end);
            }
        }
    }
    EXPECT_GT(walked, 100U);
}

}  // namespace
}  // namespace remora::test
