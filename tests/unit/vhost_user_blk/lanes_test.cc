// SPDX-License-Identifier: Apache-2.0
// A disk whose queues are on three reactors. Also run under ThreadSanitizer.
#include <future>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/unit/vhost_user_blk/gated_device.h"
#include "tests/unit/vhost_user_blk/lanes_fixture.h"

namespace remora::test {
namespace {

using namespace std::chrono_literals;
using virtio::vhost_user::RequestType;

TEST_P(LanesTest, EachQueue_isServedByItsOwnReactor) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        const std::uint64_t before = device().seen_by(queue % kLanes);
        fill(front, queue, static_cast<std::byte>(queue + 1));
        EXPECT_EQ(perform(front, BlkType::Out, queue, queue), kOk);
        EXPECT_EQ(device().seen_by(queue % kLanes), before + 1) << queue;
    }
    meet();
    // Each reads what another wrote.
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        const std::uint16_t other = (queue + 1) % kQueues;
        EXPECT_EQ(perform(front, BlkType::In, queue, other), kOk);
        EXPECT_EQ(first_byte(front, queue), static_cast<std::byte>(other + 1));
    }
    EXPECT_EQ(status().active_queues, kQueues);
    EXPECT_EQ(counters().io.write.ops, kQueues);
    EXPECT_EQ(counters().io.read.ops, kQueues);
}

TEST_P(LanesTest, MemoryAdded_whileAllQueuesHaveRequests_reachesEach) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    hold_one_of_each(front);
    // Right behind the memory that is there, so that it is reached by an offset.
    GuestRam more(std::size_t{1} << 20U);
    virtio::vhost_user::SingleRegion extra;
    extra.region = more.region();
    extra.region.guest_address = GuestRam::guest(front.ram().bytes().size());
    extra.region.user_address = GuestRam::user(front.ram().bytes().size());
    const int fd = more.fd();
    ASSERT_TRUE(front.set(RequestType::AddMemReg, core::as_bytes_of(extra), {&fd, 1}));
    EXPECT_EQ(device().held(), kQueues) << "nothing had to end for it";
    device().shut(false);
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        ASSERT_TRUE(finish(front, queue));
        BlkSlot at = slot(front, queue);
        at.data_offset = front.ram().bytes().size() + queue * kBytes;
        EXPECT_EQ(perform_at(front, at, BlkType::In, queue, queue), kOk) << queue;
    }
    // Taken away, it is out of reach for all at once.
    ASSERT_TRUE(front.set(RequestType::RemMemReg, core::as_bytes_of(extra)));
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        BlkSlot at = slot(front, queue);
        at.data_offset = front.ram().bytes().size();
        EXPECT_NE(perform_at(front, at, BlkType::In, queue, queue), kOk) << queue;
    }
}

TEST_P(LanesTest, Logging_isAnsweredWhenEachQueueDoesIt) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    const GuestRam log(kLogBytes);
    for (int round = 0; round < 20; ++round) {
        hold_one_of_each(front);
        ASSERT_TRUE(share_log(front, log) && set_logging(front, true));
        std::ranges::fill(log.bytes(), std::byte{0});
        device().shut(false);
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            ASSERT_TRUE(finish(front, queue));
            EXPECT_TRUE(marked(log, slot(front, queue).data_offset)) << queue;
            EXPECT_TRUE(marked(log, slot(front, queue).status_offset())) << queue;
        }
        ASSERT_TRUE(set_logging(front, false));
        std::ranges::fill(log.bytes(), std::byte{0});
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            ASSERT_EQ(perform(front, BlkType::In, queue, 0), kOk);
            EXPECT_FALSE(marked(log, slot(front, queue).data_offset)) << queue;
        }
    }
}

TEST_P(LanesTest, AnotherInterrupt_isTheOneThatComes) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        const Fd other(eventfd(0, EFD_NONBLOCK));
        virtio::vhost_user::U64 payload;
        payload.value = queue;
        const int fd = other.get();
        ASSERT_TRUE(front.set(RequestType::SetVringCall, core::as_bytes_of(payload), {&fd, 1}));
        EXPECT_TRUE(wait_eventfd(other, 10'000)) << "once, for what went to the old one";
        static_cast<void>(front.ring(queue).request_interrupt());
        start_request(front, slot(front, queue), BlkType::In, queue, 0);
        EXPECT_TRUE(wait_eventfd(other, 10'000)) << queue;
        EXPECT_TRUE(front.ring(queue).take_used().has_value());
    }
}

TEST_P(LanesTest, Stop_waitsForTheQueuesOwnRequests) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    hold_one_of_each(front);
    auto stopped = std::async(std::launch::async, [&] { return front.stop_queue(1); });
    EXPECT_EQ(stopped.wait_for(50ms), std::future_status::timeout);
    device().shut(false);
    EXPECT_TRUE(stopped.get().has_value());
    EXPECT_EQ(status().active_queues, kQueues - 1U);
    for (const std::uint16_t queue : {std::uint16_t{0}, std::uint16_t{2}, std::uint16_t{3}}) {
        EXPECT_TRUE(finish(front, queue));
        EXPECT_EQ(perform(front, BlkType::In, queue, 0), kOk);
    }
}

// The front end would take a guest along whose memory it has not copied as it is.
TEST_P(LanesTest, LogTooShort_whileAQueueStops_isNotAnswered) {
    for (int round = 0; round < 20; ++round) {
        VhostFrontEnd front(options());
        ASSERT_TRUE(front.connect()) << front.error();
        const GuestRam log(64);
        ASSERT_TRUE(share_log(front, log));
        hold_one_of_each(front);
        ASSERT_TRUE(set_logging(front, true));
        auto stopped = std::async(std::launch::async, [&] { return front.stop_queue(1); });
        static_cast<void>(stopped.wait_for(1ms));
        device().shut(false);
        EXPECT_FALSE(stopped.get().has_value());
        front.disconnect();
        while (status().connected || status().active_queues > 0) {
            std::this_thread::yield();  // the next one's queues wait for these
        }
    }
}

TEST_P(LanesTest, FrontEndGone_withRequestsEverywhere_theNextOneGetsThem) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    for (int round = 0; round < 5; ++round) {
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            fill(front, queue, static_cast<std::byte>(16 * round + queue));
        }
        hold_one_of_each(front, BlkType::Out);
        front.disconnect();
        while (status().connected) {
            std::this_thread::yield();
        }
        for (std::size_t i = 0; i < kLanes; ++i) {
            run_on(lane(i), [] {});  // it has heard that nobody is there any more
        }
        device().shut(false);
        ASSERT_TRUE(front.connect()) << front.error();
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            ASSERT_TRUE(finish(front, queue)) << queue;
        }
    }
    EXPECT_EQ(counters().resubmitted, 5U * kQueues);
}

TEST_P(LanesTest, RingBroken_onAnotherReactor_endsThatSessionAlone) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    hold_one_of_each(front);
    start_request(front, slot(front, 2), BlkType::In, 2, 0);  // a head that is in flight
    EXPECT_TRUE(front.socket().closed_by_peer());
    device().shut(false);
    VhostFrontEnd next(options());
    ASSERT_TRUE(next.connect()) << next.error();
    EXPECT_EQ(perform(next, BlkType::In, 2, 0), kOk);
}

TEST_P(LanesTest, RingThatCannotStart_onAnotherReactor_endsThatSessionAlone) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_TRUE(front.stop_queue(1).has_value());
    // Its in-flight memory is by now that of a larger ring.
    virtio::vhost_user::VringState size;
    size.index = 1;
    size.number = 32;
    ASSERT_TRUE(front.set(RequestType::SetVringNum, core::as_bytes_of(size)));
    virtio::vhost_user::U64 none;
    none.value = 1 | virtio::vhost_user::kVringNoDescriptor;
    front.socket().send_struct(RequestType::SetVringKick, none);
    EXPECT_TRUE(front.socket().closed_by_peer());
    VhostFrontEnd next(options());
    ASSERT_TRUE(next.connect()) << next.error();
    EXPECT_EQ(perform(next, BlkType::In, 1, 0), kOk);
}

// The guest may use what is new by any queue as soon as it is told.
TEST_P(LanesTest, Growth_isToldOnceEachReactorHasSeenIt) {
    VhostFrontEnd front(options());
    ASSERT_TRUE(front.connect()) << front.error();
    const std::uint64_t old_sectors = kBlocks * kBytes / 512;
    ASSERT_TRUE(run_on(home(), [&] { return device().grow(2 * kBlocks); }));
    for (std::size_t i = 0; i < kLanes; ++i) {
        ASSERT_EQ(front.read_config()->capacity, old_sectors) << i;
        run_on(lane(i), [&] { device().show_growth(); });
        run_on(home(), [] {});  // what the lane said of it has come
    }
    EXPECT_EQ(front.read_config()->capacity, 2 * old_sectors);
    for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
        EXPECT_EQ(perform(front, BlkType::Out, queue, kBlocks + queue), kOk) << queue;
    }
}

TEST_P(LanesTest, Removed_underLoad_nothingIsLeft) {
    auto front = std::make_unique<VhostFrontEnd>(options());
    ASSERT_TRUE(front->connect()) << front->error();
    for (int round = 0; round < 200; ++round) {
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            start_request(*front, slot(*front, queue), BlkType::Out, queue, queue);
        }
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            ASSERT_TRUE(finish(*front, queue));
        }
    }
    hold_one_of_each(*front);
    EXPECT_FALSE(stop(20ms)) << "the volume holds requests";
    device().shut(false);
    EXPECT_TRUE(stop(10s));
    EXPECT_TRUE(front->socket().closed_by_peer());
}

INSTANTIATE_TEST_SUITE_P(Rings, LanesTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
