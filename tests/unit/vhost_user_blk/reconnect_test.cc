// SPDX-License-Identifier: Apache-2.0
// Front ends that go and come back, and a device that does.
#include <algorithm>
#include <filesystem>
#include <set>
#include <thread>

#include "tests/unit/vhost_user_blk/vhost_fixture.h"

namespace remora::test {
namespace {

class VhostReconnectTest : public VhostTest {
  public:
    VhostReconnectTest() : disk(make_disk()) {}

    /// Starts `count` writes that the volume keeps.
    void start_held_writes(VhostFrontEnd& front, std::uint16_t count) {
        on_reactor([&] { disk.device->hold(true); });
        for (std::uint16_t n = 0; n < count; ++n) {
            std::ranges::fill(data_of(front, n, 512), static_cast<std::byte>(n + 1));
            start_request(front, n, BlkType::Out, n, 512);
        }
        ASSERT_TRUE(eventually([&] { return disk.device->held() == count; }));
    }
    /// Where a ring stops after so many requests: by heads, or by descriptors at both ends.
    static std::uint32_t base_after(std::uint16_t requests) {
        const virtio::PackedPlace place{static_cast<std::uint16_t>(3 * requests), true};
        return packed() ? virtio::PackedBase{place, place}.encoded() : std::uint32_t{requests};
    }
    std::set<std::uint32_t> collect(VhostFrontEnd& front, std::size_t count) {
        std::set<std::uint32_t> heads;
        for (std::size_t i = 0; i < count; ++i) {
            const auto used = next_used(front);
            if (!used) {
                break;
            }
            EXPECT_TRUE(heads.insert(used->id).second) << "twice: " << used->id;
        }
        return heads;
    }

    Disk& disk;
};

TEST_P(VhostReconnectTest, ThirdFrontEnd_whileTwoLive_isRefused) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    VhostFrontEnd second(front_end_options(disk));
    ASSERT_TRUE(second.connect()) << second.error();
    auto third = VhostSocket::connect(disk.path);
    ASSERT_TRUE(third.has_value());
    EXPECT_TRUE(third->closed_by_peer());
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostReconnectTest, Disconnect_thenConnect_ioGoesOn) {
    VhostFrontEnd front(front_end_options(disk));
    for (int i = 0; i < 10; ++i) {
        ASSERT_TRUE(front.connect()) << front.error();
        ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
        front.disconnect();
    }
}

TEST_P(VhostReconnectTest, ManyFrontEnds_midIo_leakNoDescriptors) {
    const auto open_descriptors = [] {
        const std::filesystem::directory_iterator all("/proc/self/fd");
        return std::distance(begin(all), end(all));
    };
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    const auto before = open_descriptors();
    for (int i = 0; i < 30; ++i) {
        start_request(front, 0, BlkType::In, 0, 512);
        front.disconnect();
        ASSERT_TRUE(front.connect()) << front.error();
        ASSERT_TRUE(next_used(front).has_value());
    }
    // The last session but one may still be giving its own back when this one already serves.
    EXPECT_TRUE(eventually([&] { return open_descriptors() == before; }))
        << open_descriptors() << " open, " << before << " before";
}

TEST_P(VhostReconnectTest, QueueStopped_midIo_repliesAfterTheLastCompletion) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    start_held_writes(front, 5);
    virtio::vhost_user::VringState state;
    ASSERT_TRUE(front.socket().send_struct(RequestType::GetVringBase, state));
    EXPECT_FALSE(front.socket().receive(50).has_value());
    on_reactor([&] { disk.device->hold(false); });
    const auto reply = front.socket().receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->as<virtio::vhost_user::VringState>()->number, base_after(5));
    EXPECT_EQ(collect(front, 5).size(), 5U);
}

TEST_P(VhostReconnectTest, Disconnect_midIo_inFlightIsRunAgainInOrder) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_TRUE(front.has_inflight());
    start_held_writes(front, 6);
    on_reactor([&] { disk.device->release(2); });  // numbers 5 and 4 complete
    EXPECT_EQ(collect(front, 2), (std::set<std::uint32_t>{12, 15}));
    front.disconnect();
    ASSERT_TRUE(eventually([&] { return !disk.controller->status().connected; }));
    // The device drains before it serves the front end again.
    on_reactor([&] { disk.device->hold(false); });
    const auto seen = on_reactor([&] { return disk.device->lbas().size(); });
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(collect(front, 4), (std::set<std::uint32_t>{0, 3, 6, 9}));
    const auto lbas = on_reactor([&] { return disk.device->lbas(); });
    EXPECT_EQ(std::vector(lbas.begin() + static_cast<std::ptrdiff_t>(seen), lbas.end()),
              (std::vector<std::uint64_t>{0, 1, 2, 3}));
    EXPECT_EQ(counters(disk).resubmitted, 4U);
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

// Where it says that it stopped, another device may go on: nothing before that may be left over.
TEST_P(VhostReconnectTest, QueueStopped_asSoonAsItRunsAgain_whatWasLeftIsRunFirst) {
    namespace vu = virtio::vhost_user;
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    start_held_writes(front, 6);
    front.disconnect();
    ASSERT_TRUE(eventually([&] { return !disk.controller->status().connected; }));
    on_reactor([&] { disk.device->hold(false); });
    ASSERT_TRUE(front.negotiate() && front.share_inflight() && front.share_memory())
        << front.error();
    const Fd kick = make_eventfd();
    const int handle = kick.get();
    bool sent = false;
    // While its reactor is busy with this, all of it arrives: the queue starts and stops in a turn.
    on_reactor([&] {
        VhostSocket& socket = front.socket();
        vu::VringState state;
        state.number = front_end_options(disk).queue_size;
        vu::VringState base;
        base.number = front.ring(0).base();
        vu::VringState enable;
        enable.number = 1;
        sent = socket.send_struct(RequestType::SetVringNum, state) &&
               socket.send_struct(RequestType::SetVringBase, base) &&
               socket.send_struct(RequestType::SetVringAddr, front.ring(0).addresses(0)) &&
               socket.send_struct(RequestType::SetVringKick, vu::U64{}, {&handle, 1}) &&
               socket.send_struct(RequestType::SetVringEnable, enable) &&
               socket.send_struct(RequestType::GetVringBase, vu::VringState{});
    });
    ASSERT_TRUE(sent);

    const auto reply = front.socket().receive();

    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->as<vu::VringState>()->number, base_after(6));
    EXPECT_EQ(front.ring(0).used_index(), 6U);
    EXPECT_EQ(collect(front, 6).size(), 6U);
}

TEST_P(VhostReconnectTest, FrontEndReturns_beforeTheDrainEnds_itsQueuesWaitForIt) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    start_held_writes(front, 3);
    front.disconnect();
    // It is answered at once: a QEMU that waits for an answer has its guest stand still.
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(on_reactor([&] { return disk.device->held(); }), 3U);
    EXPECT_FALSE(front.ring(0).take_used().has_value());
    on_reactor([&] { disk.device->hold(false); });
    EXPECT_EQ(collect(front, 3).size(), 3U);  // run again by what the in-flight region says
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

// A new controller stands for the restarted process: it knows nothing but the in-flight memory.
TEST_P(VhostReconnectTest, ProcessRestarts_withWorkInFlight_nothingIsLost) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    start_held_writes(front, 8);
    // What a kill leaves: the volume's requests vanish with the process, the rings stay.
    front.disconnect();
    ASSERT_TRUE(eventually([&] { return !disk.controller->status().connected; }));
    stop_disk(disk);
    on_reactor([&] { std::ranges::fill(disk.device->bytes(), std::byte{0}); });
    start_disk(disk);
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(collect(front, 8).size(), 8U);
    for (std::uint16_t n = 0; n < 8; ++n) {
        EXPECT_EQ(stored(disk, n * 512U), static_cast<std::byte>(n + 1));
        EXPECT_EQ(status_of(front, n), kOk);
    }
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostReconnectTest, RequestsOfferedWhileGone_areServedOnReturn) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    front.disconnect();
    for (std::uint16_t n = 0; n < 4; ++n) {
        start_request(front, n, BlkType::In, n, 512);
    }
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(collect(front, 4).size(), 4U);
}

TEST_P(VhostReconnectTest, Stop_withLiveFrontEnd_answersWhatWasTakenThenCloses) {
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    start_held_writes(front, 3);
    EXPECT_FALSE(try_stop(disk, std::chrono::milliseconds(50)).has_value());
    on_reactor([&] { disk.device->hold(false); });
    EXPECT_TRUE(try_stop(disk, std::chrono::seconds(10)).has_value());
    EXPECT_TRUE(front.socket().closed_by_peer());
    EXPECT_EQ(collect(front, 3).size(), 3U);
    EXPECT_FALSE(VhostSocket::connect(disk.path).has_value());
    on_reactor([&] { disk.controller.reset(); });
}

TEST_P(VhostReconnectTest, Stop_withoutFrontEnd_isQuick_andThePathIsFree) {
    ASSERT_TRUE(try_stop(disk, std::chrono::seconds(10)).has_value());
    EXPECT_NE(access(disk.path.c_str(), F_OK), 0);
    on_reactor([&] { disk.controller.reset(); });
}

TEST_P(VhostReconnectTest, Create_pathTakenByALiveDevice_isRefused) {
    SlowDevice device(geometry());
    const auto second = await_on_reactor([&] {
        return Controller::create({.name = "other", .socket_path = disk.path}, device, {context()});
    });
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().kind, core::ErrorKind::FailedPrecondition);
}

TEST_P(VhostReconnectTest, Create_queueCountOutOfRange_isRefused) {
    SlowDevice device(geometry());
    for (const std::uint16_t queues : std::array<std::uint16_t, 2>{0, 65}) {
        const auto made = await_on_reactor([&] {
            return Controller::create(
                {.name = "bad", .socket_path = folder() + "/bad", .queues = queues}, device,
                {context()});
        });
        EXPECT_FALSE(made.has_value()) << queues;
    }
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostReconnectTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
