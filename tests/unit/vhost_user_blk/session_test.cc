// SPDX-License-Identifier: Apache-2.0
// The vhost-user session with front ends that say wrong things. What cannot be right closes the
// session; the device then serves the next front end as if nothing had been.
#include <array>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>

#include "core/prng.h"
#include "tests/unit/vhost_user_blk/session_fixture.h"

namespace remora::test {
namespace {

TEST_P(VhostSessionTest, Header_otherVersion_closes) {
    expect_closed([](VhostFrontEnd& front) {
        vu::Header header;
        header.request = 1;
        header.flags = 2;
        front.socket().send_bytes(core::as_bytes_of(header));
    });
}

TEST_P(VhostSessionTest, Header_replyFlag_closes) {
    expect_closed([](VhostFrontEnd& front) {
        vu::Header header;
        header.request = 1;
        header.flags = 1 | 4;
        front.socket().send_bytes(core::as_bytes_of(header));
    });
}

TEST_P(VhostSessionTest, Header_hugeSize_closesWithoutReadingIt) {
    expect_closed([](VhostFrontEnd& front) {
        vu::Header header;
        header.request = 1;
        header.flags = 1;
        header.size = 0xffff'ffff;
        front.socket().send_bytes(core::as_bytes_of(header));
    });
}

TEST_P(VhostSessionTest, EveryFixedSizeMessage_oneByteShort_closes) {
    for (const RequestType type :
         {RequestType::SetFeatures, RequestType::SetProtocolFeatures, RequestType::SetVringNum,
          RequestType::SetVringAddr, RequestType::SetVringBase, RequestType::GetVringBase,
          RequestType::SetVringKick, RequestType::SetVringCall, RequestType::SetVringErr,
          RequestType::SetVringEnable, RequestType::SetMemTable, RequestType::AddMemReg,
          RequestType::RemMemReg, RequestType::GetConfig, RequestType::GetInflightFd,
          RequestType::SetInflightFd}) {
        expect_closed([type](VhostFrontEnd& front) {
            const std::array<std::byte, 7> payload{};
            front.socket().send(type, payload);
        });
    }
}

TEST_P(VhostSessionTest, Message_splitByteByByte_isUnderstood) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    vu::Header header;
    header.request = static_cast<std::uint32_t>(RequestType::SetVringNum);
    header.flags = 1 | 8;
    header.size = sizeof(vu::VringState);
    const vu::VringState payload = state(0, 64);
    std::array<std::byte, sizeof(header) + sizeof(payload)> bytes{};
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::memcpy(bytes.data() + sizeof(header), &payload, sizeof(payload));
    for (const std::byte& byte : bytes) {
        ASSERT_TRUE(front.socket().send_bytes({&byte, 1}));
        // The device has seen everything so far before the next byte is sent.
        on_reactor([] {});
    }
    const auto reply = front.socket().receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->u64(), 0U);
}

TEST_P(VhostSessionTest, ManyMessages_inOneSend_areAllAnswered) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    constexpr int kCount = 100;
    std::vector<std::byte> bytes;
    vu::Header header;
    header.request = static_cast<std::uint32_t>(RequestType::GetFeatures);
    header.flags = 1;
    for (int i = 0; i < kCount; ++i) {
        const auto one = core::as_bytes_of(header);
        bytes.insert(bytes.end(), one.begin(), one.end());
    }
    ASSERT_TRUE(front.socket().send_bytes(bytes));
    for (int i = 0; i < kCount; ++i) {
        ASSERT_TRUE(front.socket().receive().has_value()) << i;
    }
}

TEST_P(VhostSessionTest, Disconnect_withinAMessage_nextFrontEndIsServed) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    const std::array<std::byte, 5> part{std::byte{1}};
    front.socket().send_bytes(part);
    front.disconnect();
    EXPECT_TRUE(still_serves());
}

TEST_P(VhostSessionTest, Descriptor_missing_closes) {
    expect_closed(
        [](VhostFrontEnd& front) { front.socket().send_u64(RequestType::SetVringKick, 0); });
    expect_closed([](VhostFrontEnd& front) {
        vu::MemoryTableMessage table;
        table.count = 1;
        table.regions[0] = front.ram().region();
        front.socket().send_struct(RequestType::SetMemTable, table);
    });
    expect_closed([](VhostFrontEnd& front) { front.socket().send(RequestType::SetBackendReqFd); });
}

TEST_P(VhostSessionTest, Descriptor_notWanted_closes) {
    expect_closed([](VhostFrontEnd& front) {
        const int fd = front.ram().fd();
        front.socket().send(RequestType::GetFeatures, {}, {&fd, 1});
    });
    expect_closed([](VhostFrontEnd& front) {
        const std::array<int, 20> fds = [&front] {
            std::array<int, 20> same{};
            same.fill(front.ram().fd());
            return same;
        }();
        front.socket().send_u64(RequestType::SetVringCall, 0, fds);
    });
    expect_closed([](VhostFrontEnd& front) {
        const int fd = front.ram().fd();
        front.socket().send_u64(RequestType::SetVringCall, 0x100, {&fd, 1});
    });
}

TEST_P(VhostSessionTest, Descriptor_ofAnotherKind_isRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    int ends[2];
    ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
    const Fd write_end(ends[1]);
    close(ends[0]);  // nobody reads: a write to the other end would raise SIGPIPE
    vu::U64 which;
    for (const int fd : {write_end.get(), front.ram().fd()}) {
        for (const RequestType type : {RequestType::SetVringKick, RequestType::SetVringCall}) {
            EXPECT_FALSE(front.set(type, core::as_bytes_of(which), {&fd, 1}));
        }
    }
    EXPECT_TRUE(front.read_config().has_value());
}

TEST_P(VhostSessionTest, VringIndex_outOfRange_isRefusedAndTheSessionLives) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    EXPECT_FALSE(front.set(RequestType::SetVringNum, core::as_bytes_of(state(2, 64))));
    EXPECT_FALSE(front.set(RequestType::SetVringBase, core::as_bytes_of(state(0xffff'ffff, 0))));
    EXPECT_FALSE(front.set(RequestType::SetVringEnable, core::as_bytes_of(state(99, 1))));
    vu::U64 kick;
    kick.value = 0xff;
    const Fd event = make_eventfd();
    const int fd = event.get();
    EXPECT_FALSE(front.set(RequestType::SetVringKick, core::as_bytes_of(kick), {&fd, 1}));
    EXPECT_TRUE(front.read_config().has_value());
}

TEST_P(VhostSessionTest, VringIndex_outOfRangeInGetBase_closes) {
    expect_closed([](VhostFrontEnd& front) {
        front.socket().send_struct(RequestType::GetVringBase, state(7, 0));
    });
}

TEST_P(VhostSessionTest, VringSize_impossible_isRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    for (const std::uint32_t size : {0U, 2048U, 0x1'0000U, 0xffff'ffffU}) {
        EXPECT_FALSE(front.set(RequestType::SetVringNum, core::as_bytes_of(state(0, size))));
    }
    // Only a split ring's is a power of two.
    EXPECT_EQ(front.set(RequestType::SetVringNum, core::as_bytes_of(state(0, 3))), packed());
}

TEST_P(VhostSessionTest, Features_notOffered_areRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    vu::U64 features;
    features.value = front.offered_features() | (std::uint64_t{1} << 40U);
    EXPECT_FALSE(front.set(RequestType::SetFeatures, core::as_bytes_of(features)));
    features.value = ~std::uint64_t{0};
    EXPECT_FALSE(front.set(RequestType::SetProtocolFeatures, core::as_bytes_of(features)));
}

// A guest keeps what it negotiated though the volume has changed: QEMU says it again on each
// reconnect, and must not be turned away for ever.
TEST_P(VhostSessionTest, Features_ofTheVolumeAsItWas_areAccepted) {
    block::Geometry bare = geometry();
    bare.can_discard = bare.can_write_zeroes = false;
    Disk& plain = make_disk(1, bare);
    VhostFrontEnd front(front_end_options(plain));
    ASSERT_TRUE(front.negotiate()) << front.error();
    const std::uint64_t was = virtio::bit(virtio::Feature::BlkDiscard) |
                              virtio::bit(virtio::Feature::BlkWriteZeroes) |
                              virtio::bit(virtio::Feature::BlkReadOnly);
    ASSERT_EQ(front.offered_features() & was, 0U);
    vu::U64 features;
    features.value = front.features() | was;
    EXPECT_TRUE(front.set(RequestType::SetFeatures, core::as_bytes_of(features)));
}

TEST_P(VhostSessionTest, UnknownMessage_withoutReplyFlag_closes) {
    expect_closed([](VhostFrontEnd& front) { front.socket().send(static_cast<RequestType>(200)); });
}

TEST_P(VhostSessionTest, UnknownMessage_withReplyFlag_isRefusedOnly) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    EXPECT_FALSE(front.set(static_cast<RequestType>(200), {}));
    EXPECT_TRUE(front.read_config().has_value());
}

TEST_P(VhostSessionTest, GetConfig_pastTheSpace_answersEmpty) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    std::array<std::byte, sizeof(vu::ConfigHeader) + 16> payload{};
    vu::ConfigHeader header;
    header.offset = 250;
    header.size = 16;
    std::memcpy(payload.data(), &header, sizeof(header));
    ASSERT_TRUE(front.socket().send(RequestType::GetConfig, payload));
    const auto reply = front.socket().receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_TRUE(reply->payload.empty());
}

TEST_P(VhostSessionTest, Inflight_sizesThatCannotBe_areRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    vu::InflightDescription description;
    description.mmap_size = 64;
    description.queue_count = 2;
    description.queue_size = 64;
    std::array<std::byte, vu::kInflightWireBytes> payload{};
    std::memcpy(payload.data(), &description, sizeof(description));
    const int fd = front.ram().fd();
    EXPECT_FALSE(front.set(RequestType::SetInflightFd, payload, {&fd, 1}));
    description.mmap_size = 1 << 20;
    description.queue_size = 0;
    std::memcpy(payload.data(), &description, sizeof(description));
    EXPECT_FALSE(front.set(RequestType::SetInflightFd, payload, {&fd, 1}));
}

TEST_P(VhostSessionTest, Inflight_refusedWhileQueuesRun_theyGoOn) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    vu::InflightDescription description;
    description.mmap_size = 64;
    description.queue_count = 1;
    description.queue_size = 64;
    std::array<std::byte, vu::kInflightWireBytes> payload{};
    std::memcpy(payload.data(), &description, sizeof(description));
    const int fd = front.ram().fd();
    EXPECT_FALSE(front.set(RequestType::SetInflightFd, payload, {&fd, 1}));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

// What completed before the ring had its real call descriptor was signalled to nobody.
TEST_P(VhostSessionTest, CallDescriptor_givenToARunningRing_isSignalledOnce) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    const Fd late = make_eventfd();
    const int fd = late.get();
    vu::U64 which;
    ASSERT_TRUE(front.set(RequestType::SetVringCall, core::as_bytes_of(which), {&fd, 1}));
    EXPECT_TRUE(wait_eventfd(late, 10'000));
}

TEST_P(VhostSessionTest, ResetDevice_stopsQueues_andTheyStartAgain) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_TRUE(front.set(RequestType::ResetDevice, {}));
    EXPECT_EQ(on_reactor([&] { return disk.controller->status().active_queues; }), 0U);
    vu::U64 features;
    features.value = front.features();
    ASSERT_TRUE(front.set(RequestType::SetFeatures, core::as_bytes_of(features)));
    ASSERT_TRUE(front.start_queue(0)) << front.error();
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

// Random messages with random descriptors: the session ends or answers, the device lives.
TEST_P(VhostSessionTest, RandomMessages_neverHurtTheDevice) {
    core::Prng prng(4242);
    for (int round = 0; round < 60; ++round) {
        VhostFrontEnd front = make_front();
        ASSERT_TRUE(front.connect()) << front.error();
        const int fd = front.ram().fd();
        const std::array<int, 3> fds{fd, fd, fd};
        for (int i = 0; i < 20; ++i) {
            std::array<std::byte, 64> payload{};
            for (std::size_t at = 0; at < payload.size(); at += 8) {
                const std::uint64_t word = prng.next() % 3 == 0 ? prng.next() : prng.next() % 4;
                std::memcpy(payload.data() + at, &word, sizeof(word));
            }
            constexpr std::array<std::size_t, 5> kSizes{0, 8, 24, 40, 64};
            const auto type = static_cast<RequestType>(prng.next() % 42);
            if (!front.socket().send(type, std::span(payload).first(kSizes[prng.next() % 5]),
                                     std::span(fds).first(prng.next() % 2), true)) {
                break;
            }
        }
    }
    EXPECT_TRUE(still_serves());
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostSessionTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
