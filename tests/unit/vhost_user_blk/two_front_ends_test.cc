// SPDX-License-Identifier: Apache-2.0
// Two front ends at a device, as when a guest migrates to another QEMU of this machine: queues run
// for one of them at a time.
#include <algorithm>
#include <thread>

#include "tests/unit/vhost_user_blk/session_fixture.h"

namespace remora::test {
namespace {

class TwoFrontEndsTest : public VhostSessionTest {
  public:
    TwoFrontEndsTest() : source(make_front()), destination(make_front()) {
        CHECK(source.connect());
        CHECK(perform(source, BlkType::In, 0, 512) == kOk);
    }
    bool stop_queues(VhostFrontEnd& front) {
        return front.stop_queue(0).has_value() && front.stop_queue(1).has_value();
    }
    std::uint32_t running() {
        return on_reactor([&] { return disk.controller->status().active_queues; });
    }
    /// The device is left alone with what it has long enough for it to do a wrong thing.
    static bool stays_unserved(VhostFrontEnd& front) {
        return !wait_eventfd(front.call(0), 50) || !front.ring(0).take_used().has_value();
    }

    VhostFrontEnd source;
    VhostFrontEnd destination;
};

TEST_P(TwoFrontEndsTest, Second_isServed_butItsQueuesWaitForTheFirst) {
    ASSERT_TRUE(destination.connect()) << destination.error();
    start_request(destination, 0, BlkType::In, 0, 512);
    EXPECT_TRUE(stays_unserved(destination));
    EXPECT_EQ(perform(source, BlkType::In, 0, 512), kOk);

    ASSERT_TRUE(stop_queues(source));

    EXPECT_TRUE(next_used(destination).has_value());
    EXPECT_EQ(perform(destination, BlkType::In, 1, 512, 1), kOk);
    EXPECT_EQ(running(), 2U);
}

TEST_P(TwoFrontEndsTest, First_withOneQueueLeft_keepsThemAll) {
    ASSERT_TRUE(destination.connect()) << destination.error();
    ASSERT_TRUE(source.stop_queue(0).has_value());
    start_request(destination, 0, BlkType::In, 0, 512);
    EXPECT_TRUE(stays_unserved(destination));
    ASSERT_TRUE(source.start_queue(0));
    EXPECT_EQ(perform(source, BlkType::In, 0, 512), kOk);
    ASSERT_TRUE(stop_queues(source));
    EXPECT_TRUE(next_used(destination).has_value());
}

// A migration that fails late: the guest goes on where it was.
TEST_P(TwoFrontEndsTest, First_hasTheQueuesAgain_whenTheSecondIsGone) {
    ASSERT_TRUE(destination.connect()) << destination.error();
    ASSERT_TRUE(stop_queues(source));
    EXPECT_EQ(perform(destination, BlkType::In, 0, 512), kOk);
    ASSERT_TRUE(source.start_queue(0) && source.start_queue(1));
    start_request(source, 0, BlkType::In, 0, 512);
    EXPECT_TRUE(stays_unserved(source));
    destination.disconnect();
    EXPECT_TRUE(next_used(source).has_value());
}

TEST_P(TwoFrontEndsTest, Second_goesWhileItsQueuesWait_leavesNothing) {
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(destination.connect()) << destination.error();
        start_request(destination, 0, BlkType::In, 0, 512);
        destination.disconnect();
    }
    EXPECT_EQ(perform(source, BlkType::In, 0, 512), kOk);
    EXPECT_EQ(running(), 2U);
}

// What a stop says must hold for the device that goes on, so it waits until the queue has run.
TEST_P(TwoFrontEndsTest, SecondStops_whileItsQueueWaits_isAnsweredWhenItHasRun) {
    ASSERT_TRUE(destination.connect()) << destination.error();
    ASSERT_TRUE(destination.socket().send_struct(RequestType::GetVringBase, state(0, 0)));
    EXPECT_FALSE(destination.socket().receive(50).has_value());
    ASSERT_TRUE(stop_queues(source));
    EXPECT_TRUE(destination.socket().receive().has_value());
    EXPECT_EQ(perform(destination, BlkType::In, 0, 512, 1), kOk);
}

TEST_P(TwoFrontEndsTest, SecondsRing_thatCannotStart_endsTheSecondAlone) {
    ASSERT_TRUE(stop_queues(source));
    ASSERT_TRUE(destination.connect()) << destination.error();
    ASSERT_TRUE(stop_queues(destination));
    ASSERT_TRUE(source.start_queue(0)) << source.error();
    // Its in-flight memory is by now that of a larger ring.
    ASSERT_TRUE(destination.set(RequestType::SetVringNum, core::as_bytes_of(state(0, 32))));
    vu::U64 none;
    none.value = vu::kVringNoDescriptor;
    ASSERT_TRUE(destination.set(RequestType::SetVringKick, core::as_bytes_of(none)));
    EXPECT_EQ(perform(source, BlkType::In, 0, 512), kOk);

    ASSERT_TRUE(source.stop_queue(0).has_value());

    EXPECT_TRUE(destination.socket().closed_by_peer());
    ASSERT_TRUE(source.start_queue(0)) << source.error();
    EXPECT_EQ(perform(source, BlkType::In, 0, 512), kOk);
}

TEST_P(TwoFrontEndsTest, Stop_withBothThere_endsBoth) {
    ASSERT_TRUE(destination.connect()) << destination.error();
    EXPECT_TRUE(try_stop(disk, std::chrono::seconds(10)).has_value());
    EXPECT_TRUE(source.socket().closed_by_peer());
    EXPECT_TRUE(destination.socket().closed_by_peer());
    on_reactor([&] { disk.controller.reset(); });
}

INSTANTIATE_TEST_SUITE_P(Rings, TwoFrontEndsTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
