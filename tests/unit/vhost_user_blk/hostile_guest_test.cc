// SPDX-License-Identifier: Apache-2.0
// Guests that lie through a proper front end: a bad chain is refused, a broken ring ends the
// session, and a neighbour on the same reactor notices nothing.
#include <array>
#include <atomic>
#include <cstring>
#include <fcntl.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

#include "core/prng.h"
#include "tests/unit/vhost_user_blk/vhost_fixture.h"

namespace remora::test {
namespace {

using namespace virtio::descriptor_flags;
namespace vu = virtio::vhost_user;

class HostileGuestTest : public VhostTest {
  public:
    HostileGuestTest()
        : disk(make_disk()),
          other(make_disk()),
          front(front_end_options(disk)),
          neighbour(front_end_options(other)) {
        CHECK(front.connect() && neighbour.connect());
    }

    void offer(std::uint16_t head) {
        front.ring(0).offer(head);
        if (front.ring(0).publish()) {
            front.kick(0);
        }
    }
    /// The chain at 0 comes back refused, and the session lives.
    void expect_refused(std::uint32_t length = 0) {
        offer(0);
        const auto used = next_used(front);
        ASSERT_TRUE(used.has_value());
        EXPECT_EQ(used->id, 0U);
        EXPECT_EQ(used->length, length);
        EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    }
    void expect_session_ends() {
        EXPECT_TRUE(front.socket().closed_by_peer());
        EXPECT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
    }
    [[nodiscard]] std::uint64_t at(std::uint64_t offset) const {
        return GuestRam::guest(front.data_offset() + offset);
    }

    Disk& disk;
    Disk& other;
    VhostFrontEnd front;
    VhostFrontEnd neighbour;
};

// In a packed ring a chain without an end has no head: it cannot even be given back.
TEST_P(HostileGuestTest, LoopingChain_isRefused) {
    front.ring(0).describe(0, at(0), 16, kNext, 1);
    front.ring(0).describe(1, at(0), 16, kNext, 0);
    if (packed()) {
        offer(0);
        expect_session_ends();
    } else {
        expect_refused();
    }
}

// The driver learns of it where it looks: by the status byte, if that can be reached.
TEST_P(HostileGuestTest, UnmappedBuffer_getsIoError) {
    front.ring(0).describe(0, at(0), 16, kNext, 1);
    front.ring(0).describe(1, 0x1000, 512, kNext | kWrite, 2);
    front.ring(0).describe(2, at(64), 1, kWrite);
    *front.ram().at(front.data_offset() + 64) = std::byte{0xff};
    expect_refused(1);
    EXPECT_EQ(*front.ram().at(front.data_offset() + 64), std::byte{1});
    front.ring(0).describe(2, 0x1000, 1, kWrite);
    expect_refused();
}

TEST_P(HostileGuestTest, NoWritableDescriptor_isRefused) {
    front.ring(0).describe(0, at(0), 512, 0);
    expect_refused();
}

TEST_P(HostileGuestTest, HeaderCutShort_getsIoError) {
    front.ring(0).describe(0, at(0), 8, kNext, 1);
    front.ring(0).describe(1, at(64), 1, kWrite);
    *front.ram().at(front.data_offset() + 64) = std::byte{0xff};
    offer(0);
    ASSERT_TRUE(next_used(front).has_value());
    EXPECT_EQ(*front.ram().at(front.data_offset() + 64), std::byte{1});
}

// One 16 MiB buffer named 126 times asks for 2 GiB: past what one request may move.
TEST_P(HostileGuestTest, EndlessBuffer_getsIoError) {
    const auto whole = static_cast<std::uint32_t>(front.ram().bytes().size());
    std::vector<virtio::Descriptor> table(128);
    for (std::size_t i = 0; i < table.size(); ++i) {
        table[i].address = GuestRam::kGuestBase;
        table[i].length = whole;
        table[i].flags = static_cast<std::uint16_t>(kNext | kWrite);
        table[i].next = static_cast<std::uint16_t>(i + 1);
    }
    virtio::BlkHeader header;
    std::memcpy(front.ram().at(front.data_offset()), &header, sizeof(header));
    table[0].address = at(0);
    table[0].length = sizeof(header);
    table[0].flags = kNext;
    table[127].address = at(64);
    table[127].length = 1;
    table[127].flags = kWrite;
    front.ring(0).write_table(front.data_offset() + 0x1000, table);
    front.ring(0).describe(0, at(0x1000), static_cast<std::uint32_t>(16 * table.size()), kIndirect);
    *front.ram().at(front.data_offset() + 64) = std::byte{0xff};
    offer(0);
    ASSERT_TRUE(next_used(front).has_value());
    EXPECT_EQ(*front.ram().at(front.data_offset() + 64), std::byte{1});
}

TEST_P(HostileGuestTest, HeadPastTheRing_endsTheSession) {
    offer(64);
    expect_session_ends();
}

// Heads that come back at once may be offered again before what is in flight: together they are
// more than the used ring holds. A packed ring's driver has to write over descriptors of the
// device.
TEST_P(HostileGuestTest, MoreInOneTurnThanTheRingHolds_isNotOurEnd) {
    constexpr std::uint16_t kHeld = 8;
    on_reactor([&] { disk.device->hold(true); });
    for (std::uint16_t n = 0; n < kHeld; ++n) {
        start_request(front, n, BlkType::In, 0, 512);
    }
    ASSERT_TRUE(eventually([&] { return disk.device->held() == kHeld; }));

    on_reactor([&] {
        for (std::uint16_t i = 0; i < 64; ++i) {
            front.ring(0).offer(static_cast<std::uint16_t>(24 + i % 40));  // nothing is there
        }
        static_cast<void>(front.ring(0).publish());
        disk.device->hold(false);
    });
    front.kick(0);

    if (packed()) {
        EXPECT_TRUE(front.socket().closed_by_peer());
    } else {
        EXPECT_TRUE(eventually([&] { return front.ring(0).used_index() == kHeld + 64; }));
    }
    EXPECT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
}

TEST_P(HostileGuestTest, OfferWhileAllDescriptorsAreInFlight_endsTheSession) {
    on_reactor([&] { disk.device->hold(true); });
    virtio::BlkHeader header;
    header.type = static_cast<std::uint32_t>(BlkType::Flush);
    std::memcpy(front.ram().at(front.data_offset()), &header, sizeof(header));
    std::array<virtio::Descriptor, 2> table;
    table[0] = {at(0), static_cast<std::uint32_t>(sizeof(header)), kNext, std::uint16_t{1}};
    table[1] = {at(64), 1U, kWrite, std::uint16_t{0}};
    front.ring(0).write_table(front.data_offset() + 0x1000, table);
    for (std::uint16_t head = 0; head < 64; ++head) {
        front.ring(0).describe(head, at(0x1000), sizeof(table), kIndirect);
        front.ring(0).offer(head);
    }
    static_cast<void>(front.ring(0).publish());
    front.kick(0);
    ASSERT_TRUE(eventually([&] { return disk.device->held() == 64; }));

    offer(0);
    ASSERT_TRUE(front.socket().closed_by_peer());
    on_reactor([&] { disk.device->hold(false); });
    EXPECT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
}

TEST_P(HostileGuestTest, AvailableIndexJumps_endsTheSession) {
    if (packed()) {
        GTEST_SKIP() << "a packed ring has no such index";
    }
    front.ring(0).set_available_index(1000);
    front.kick(0);
    expect_session_ends();
}

TEST_P(HostileGuestTest, SameHeadTwice_whileInFlight_endsTheSession) {
    on_reactor([&] { disk.device->hold(true); });
    start_request(front, 0, BlkType::In, 0, 512);
    ASSERT_TRUE(eventually([&] { return disk.device->held() == 1; }));
    offer(0);
    expect_session_ends();
    on_reactor([&] { disk.device->hold(false); });
    front.ring(0).reset();
    VhostFrontEnd next(front_end_options(disk));
    ASSERT_TRUE(next.connect()) << next.error();
    EXPECT_EQ(perform(next, BlkType::In, 0, 512), kOk);
}

// The guest rewrites descriptors and headers while the device reads them.
TEST_P(HostileGuestTest, RingRewrittenWhileRead_deviceLives) {
    std::atomic<bool> stop{false};
    std::thread scribbler([&] {
        // A mapping of its own, as another processor's view: the races are the point.
        const std::size_t size = front.data_offset() + 0x2000;
        void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, front.ram().fd(), 0);
        CHECK(base != MAP_FAILED);
        core::Prng prng(99);
        while (!stop.load(std::memory_order_relaxed)) {
            static_cast<std::byte*>(base)[prng.next() % size] =
                static_cast<std::byte>(prng.next() & 0xffU);
        }
        munmap(base, size);
    });
    for (int i = 0; i < 200; ++i) {
        for (std::uint16_t n = 0; n < 8; ++n) {
            start_request(front, n, n % 2 == 0 ? BlkType::In : BlkType::Out, n, 4096);
        }
        while (front.ring(0).take_used()) {
        }
        if (front.socket().closed_by_peer(0)) {
            front.ring(0).reset();
            front.disconnect();
            front.connect();  // may fail: its rings are still being scribbled over
        }
        ASSERT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
    }
    stop.store(true, std::memory_order_relaxed);
    scribbler.join();
    front.disconnect();
    VhostFrontEnd next(front_end_options(disk));
    ASSERT_TRUE(next.connect()) << next.error();
    EXPECT_EQ(perform(next, BlkType::In, 0, 512), kOk);
}

TEST_P(HostileGuestTest, MessagesWithoutEnd_neighbourIsServed) {
    std::atomic<bool> stop{false};
    std::vector<std::byte> flood(4096 * sizeof(vu::Header));
    vu::Header header;
    header.request = static_cast<std::uint32_t>(vu::RequestType::SetOwner);
    header.flags = vu::header_flags::kVersion;
    for (std::size_t at = 0; at < flood.size(); at += sizeof(header)) {
        std::memcpy(flood.data() + at, &header, sizeof(header));
    }
    std::thread sender([&] {
        while (!stop.load(std::memory_order_relaxed) && front.socket().send_bytes(flood)) {
        }
    });
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
    }
    stop.store(true, std::memory_order_relaxed);
    sender.join();
}

TEST_P(HostileGuestTest, CallCounterFullAndBlocking_neighbourIsServed) {
    const int call = front.call(0).get();
    ASSERT_EQ(fcntl(call, F_SETFL, 0), 0);
    const std::uint64_t most = 0xffff'ffff'ffff'fffdULL;
    ASSERT_EQ(write(call, &most, sizeof most), 8);
    for (std::uint16_t n = 0; n < 8; ++n) {
        front.ring(0).request_interrupt();
        start_request(front, n, BlkType::In, 0, 512);
        ASSERT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
    }
}

// Random rings at full speed: whatever comes back, the process lives and the neighbour is served.
TEST_P(HostileGuestTest, RandomRings_neighbourIsServed) {
    core::Prng prng(7);
    for (int round = 0; round < 300; ++round) {
        for (std::uint16_t i = 0; i < 64; ++i) {
            front.ring(0).describe(i, GuestRam::kGuestBase + prng.next() % (std::size_t{17} << 20U),
                                   static_cast<std::uint32_t>(prng.next() % 4096),
                                   static_cast<std::uint16_t>(prng.next() & 7U),
                                   static_cast<std::uint16_t>(prng.next() % 66));
        }
        for (int i = 0; i < 8; ++i) {
            front.ring(0).offer(static_cast<std::uint16_t>(prng.next() % 64));
        }
        front.ring(0).publish();
        front.kick(0);
        if (round % 16 == 0) {
            ASSERT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
        }
        if (front.socket().closed_by_peer(0)) {
            front.disconnect();
            front.ring(0).reset();
            if (!front.connect()) {
                // What its rings left in flight ended this session, too.
                front.disconnect();
                front.ring(0).reset();
                front.forget_inflight();
                ASSERT_TRUE(front.connect()) << front.error();
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Rings, HostileGuestTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
