// SPDX-License-Identifier: Apache-2.0
// A driver that keeps the rules does I/O through a real socket.
#include <algorithm>
#include <cstring>
#include <memory>
#include <set>
#include <sys/socket.h>

#include "core/prng.h"
#include "tests/unit/vhost_user_blk/vhost_fixture.h"

namespace remora::test {
namespace {

namespace vu = virtio::vhost_user;
using virtio::Feature;

using VhostIoTest = VhostTest;

void fill(std::span<std::byte> bytes, std::uint64_t seed) {
    core::Prng prng(seed);
    for (std::byte& byte : bytes) {
        byte = static_cast<std::byte>(prng.next() & 0xffU);
    }
}

TEST_P(VhostIoTest, WriteThenRead_sameSector_givesTheData) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    fill(data_of(front, 0, 4096), 7);
    const std::vector<std::byte> written(data_of(front, 0, 4096).begin(),
                                         data_of(front, 0, 4096).end());
    EXPECT_EQ(perform(front, BlkType::Out, 8, 4096), kOk);
    fill(data_of(front, 0, 4096), 8);
    EXPECT_EQ(perform(front, BlkType::In, 8, 4096), kOk);
    EXPECT_TRUE(std::ranges::equal(data_of(front, 0, 4096), written));
    EXPECT_TRUE(std::ranges::equal(stored(disk, 4096, 4096), written));
}

TEST_P(VhostIoTest, Used_length_countsWhatTheDeviceWrote) {
    VhostFrontEnd front(front_end_options(make_disk()));
    ASSERT_TRUE(front.connect()) << front.error();
    start_request(front, 0, BlkType::In, 0, 1024);
    EXPECT_EQ(next_used(front)->length, 1025U);
    start_request(front, 0, BlkType::Out, 0, 1024);
    EXPECT_EQ(next_used(front)->length, 1U);
    start_request(front, 0, BlkType::In, kSectors, 512);
    EXPECT_EQ(next_used(front)->length, 1U);
    EXPECT_EQ(status_of(front, 0), kIoError);
}

TEST_P(VhostIoTest, GetId_givesTwentyDigitsOfTheUuid) {
    VhostFrontEnd front(front_end_options(make_disk()));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(perform(front, BlkType::GetId, 0, 20), kOk);
    EXPECT_EQ(std::memcmp(data_of(front, 0, 20).data(), "0123456789ab4cde8f01", 20), 0);
}

TEST_P(VhostIoTest, FlushDiscardWriteZeroes_reachTheVolume) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(perform(front, BlkType::Flush, 0, 0), kOk);
    std::ranges::fill(data_of(front, 0, 4096), std::byte{0xaa});
    ASSERT_EQ(perform(front, BlkType::Out, 0, 4096), kOk);

    // The range is readable data: describe it by hand, for both commands.
    for (const BlkType type : {BlkType::Discard, BlkType::WriteZeroes}) {
        virtio::BlkRange range;
        range.sector = type == BlkType::Discard ? 0 : 4;
        range.num_sectors = 2;
        std::memcpy(data_of(front, 0, 16).data(), &range, sizeof(range));
        EXPECT_EQ(perform(front, type, 0, 16), kOk);
    }
    EXPECT_EQ(perform(front, BlkType::In, 0, 4096), kOk);
    const auto data = data_of(front, 0, 4096);
    EXPECT_EQ(data[0], std::byte{0});
    EXPECT_EQ(data[1024], std::byte{0xaa});
    EXPECT_EQ(data[2048], std::byte{0});
    EXPECT_EQ(data[3072], std::byte{0xaa});
    const block::DeviceStats stats = counters(disk).io;
    EXPECT_EQ(stats.flush.ops, 1U);
    EXPECT_EQ(stats.unmap.ops, 2U);
    EXPECT_EQ(stats.write.bytes, 4096U);
}

TEST_P(VhostIoTest, Ranges_pastTheLimitOrTheEnd_areRefused) {
    VhostFrontEnd front(front_end_options(make_disk()));
    ASSERT_TRUE(front.connect()) << front.error();
    virtio::BlkRange range;
    for (const std::uint32_t sectors :
         {0U, 0xffff'ffffU, static_cast<std::uint32_t>(kSectors) + 1}) {
        range.num_sectors = sectors;
        std::memcpy(data_of(front, 0, 16).data(), &range, sizeof(range));
        EXPECT_EQ(perform(front, BlkType::Discard, 0, 16), kIoError) << sectors;
    }
    range.sector = ~std::uint64_t{0};
    range.num_sectors = 8;
    std::memcpy(data_of(front, 0, 16).data(), &range, sizeof(range));
    EXPECT_EQ(perform(front, BlkType::WriteZeroes, 0, 16), kIoError);
}

TEST_P(VhostIoTest, UnknownRequest_isUnsupported) {
    VhostFrontEnd front(front_end_options(make_disk()));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(perform(front, static_cast<BlkType>(77), 0, 0), kUnsupported);
}

TEST_P(VhostIoTest, FourKBlocks_unalignedRequestFails_alignedWorks) {
    VhostFrontEnd front(front_end_options(make_disk(1, geometry(4096))));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(perform(front, BlkType::In, 1, 4096), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, 8, 4096), kOk);
    EXPECT_EQ(perform(front, BlkType::In, kSectors - 8, 4096), kOk);
    EXPECT_EQ(perform(front, BlkType::In, kSectors, 4096), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, ~std::uint64_t{7}, 4096), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, 0, 0), kIoError);
}

TEST_P(VhostIoTest, ReadOnlyVolume_writesFail_readsWork) {
    block::Geometry with = geometry();
    with.read_only = true;
    VhostFrontEnd front(front_end_options(make_disk(1, with)));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_TRUE(virtio::has(front.offered_features(), Feature::BlkReadOnly));
    EXPECT_EQ(perform(front, BlkType::Out, 0, 512), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostIoTest, VolumeFails_guestGetsIoError_andGoesOn) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    on_reactor([&] { disk.device->fail_next(block::Status::PathError); });
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kIoError);
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostIoTest, Config_tellsTheVolumesGeometry) {
    VhostFrontEnd front(front_end_options(make_disk(3, geometry(4096))));
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(front.device_queues(), 3U);
    const auto config = front.read_config();
    ASSERT_TRUE(config.has_value());
    EXPECT_EQ(config->capacity, kSectors);
    EXPECT_EQ(config->blk_size, 4096U);
    EXPECT_EQ(config->seg_max, 126U);
    EXPECT_EQ(config->num_queues, 3U);
    EXPECT_EQ(config->max_discard_seg, 1U);
    EXPECT_EQ(config->discard_sector_alignment, 8U);
}

TEST_P(VhostIoTest, DeepQueue_completionsInAnyOrder_eachOnce) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    on_reactor([&] { disk.device->hold(true); });
    constexpr std::uint16_t kDeep = 21;
    for (std::uint16_t n = 0; n < kDeep; ++n) {
        std::ranges::fill(data_of(front, n, 512), static_cast<std::byte>(n));
        start_request(front, n, BlkType::Out, n, 512);
    }
    ASSERT_TRUE(eventually([&] { return disk.device->held() == kDeep; }));
    on_reactor([&] { disk.device->hold(false); });  // newest first
    std::set<std::uint32_t> seen;
    for (std::uint16_t n = 0; n < kDeep; ++n) {
        const auto used = next_used(front);
        ASSERT_TRUE(used.has_value());
        EXPECT_TRUE(seen.insert(used->id).second);
        EXPECT_EQ(status_of(front, static_cast<std::uint16_t>(used->id / 3)), kOk);
    }
    for (std::uint16_t n = 0; n < kDeep; ++n) {
        EXPECT_EQ(stored(disk, n * 512U), static_cast<std::byte>(n));
    }
    EXPECT_LT(counters(disk).interrupts, 5U);  // the batch came back with one signal
}

TEST_P(VhostIoTest, MultiQueue_eachQueueServed) {
    Disk& disk = make_disk(4);
    FrontEndOptions options = front_end_options(disk);
    options.queues = 4;
    VhostFrontEnd front(options);
    ASSERT_TRUE(front.connect()) << front.error();
    EXPECT_EQ(on_reactor([&] { return disk.controller->status().active_queues; }), 4U);
    for (std::uint16_t queue = 0; queue < 4; ++queue) {
        std::ranges::fill(data_of(front, 0, 512), static_cast<std::byte>(queue + 1));
        EXPECT_EQ(perform(front, BlkType::Out, queue, 512, queue), kOk);
        EXPECT_EQ(stored(disk, queue * 512U), static_cast<std::byte>(queue + 1));
    }
}

TEST_P(VhostIoTest, EveryRingForm_works) {
    Disk& disk = make_disk();
    for (const bool event_index : {true, false}) {
        for (const bool inflight : {true, false}) {
            FrontEndOptions options = front_end_options(disk);
            options.event_index = event_index;
            options.indirect = event_index;
            options.inflight = inflight;
            VhostFrontEnd front(options);
            ASSERT_TRUE(front.connect()) << front.error();
            for (int i = 0; i < 200; ++i) {
                ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
            }
            ASSERT_TRUE(front.stop_queue(0).has_value());
        }
    }
}

// The device asks for a kick when it is about to sleep, which it does after 100 us without work.
TEST_P(VhostIoTest, SleepingReactor_isWokenByTheKick) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    for (int i = 0; i < 20; ++i) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!front.ring(0).wants_kick()) {
            ASSERT_LT(std::chrono::steady_clock::now(), deadline);
            std::this_thread::yield();
        }
        ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    }
    EXPECT_GT(counters(disk).kicks, 0U);
}

TEST_P(VhostIoTest, TwoDisks_doNotMix) {
    Disk& one = make_disk();
    Disk& two = make_disk();
    VhostFrontEnd first(front_end_options(one));
    VhostFrontEnd second(front_end_options(two));
    ASSERT_TRUE(first.connect()) << first.error();
    ASSERT_TRUE(second.connect()) << second.error();
    std::ranges::fill(data_of(first, 0, 512), std::byte{1});
    std::ranges::fill(data_of(second, 0, 512), std::byte{2});
    EXPECT_EQ(perform(first, BlkType::Out, 0, 512), kOk);
    EXPECT_EQ(perform(second, BlkType::Out, 0, 512), kOk);
    EXPECT_EQ(stored(one, 0), std::byte{1});
    EXPECT_EQ(stored(two, 0), std::byte{2});
}

TEST_P(VhostIoTest, GeometryChanges_frontEndIsToldAndReadsIt) {
    Disk& disk = make_disk();
    VhostFrontEnd front(front_end_options(disk));
    ASSERT_TRUE(front.connect()) << front.error();
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    const Fd ours(pair[0]);
    const Fd theirs(pair[1]);
    const int sent = theirs.get();
    ASSERT_TRUE(front.set(RequestType::SetBackendReqFd, {}, {&sent, 1})) << front.error();
    on_reactor([&] {
        block::Geometry shrunk = geometry();
        shrunk.block_count = kSectors / 2;
        disk.device->set_geometry(shrunk);
    });
    vu::Header header;
    ASSERT_EQ(recv(ours.get(), &header, sizeof(header), MSG_WAITALL),
              static_cast<ssize_t>(sizeof(header)));
    EXPECT_EQ(header.request, 2U);
    EXPECT_EQ(header.size, 0U);
    EXPECT_EQ(front.read_config()->capacity, kSectors / 2);
    EXPECT_EQ(perform(front, BlkType::In, kSectors / 2, 512), kIoError);
}

/// Many requests of a driver that publishes them all at once, on a longer queue.
class VhostOfferTest : public VhostTest {
  public:
    static constexpr std::uint16_t kOffered = 32;

    VhostOfferTest() : disk(make_disk()) {
        FrontEndOptions options = front_end_options(disk);
        options.queue_size = 128;
        front = std::make_unique<VhostFrontEnd>(options);
    }

    /// Offers them; how many batches the device made of it.
    std::uint64_t batches_of_an_offer() {
        const std::uint64_t before = counters(disk).batches;
        // While its reactor is busy with this, all of it is published.
        on_reactor([&] {
            for (std::uint16_t n = 0; n < kOffered; ++n) {
                offer_request(front->ram(), front->ring(0), slot(*front, n), BlkType::In, n, 512);
            }
            if (front->ring(0).publish()) {
                front->kick(0);
            }
        });
        for (std::uint16_t n = 0; n < kOffered; ++n) {
            EXPECT_TRUE(next_used(*front).has_value());
        }
        return counters(disk).batches - before;
    }

    Disk& disk;
    std::unique_ptr<VhostFrontEnd> front;
};

TEST_P(VhostOfferTest, VolumeAnswersAtOnce_offerIsTakenInHalves) {
    ASSERT_TRUE(front->connect()) << front->error();
    ASSERT_EQ(perform(*front, BlkType::In, 0, 512), kOk);
    EXPECT_EQ(batches_of_an_offer(), 2U);
}

TEST_P(VhostOfferTest, VolumeTakesItsTime_offerIsTakenAsAWhole) {
    ASSERT_TRUE(front->connect()) << front->error();
    on_reactor([&] { disk.device->hold(true); });
    start_request(*front, 0, BlkType::In, 0, 512);
    ASSERT_TRUE(eventually([&] { return disk.device->held() == 1; }));
    on_reactor([&] { disk.device->hold(false); });
    ASSERT_TRUE(next_used(*front).has_value());
    EXPECT_EQ(batches_of_an_offer(), 1U);
}

INSTANTIATE_TEST_SUITE_P(Rings, VhostIoTest, both_rings(), ring_name);
INSTANTIATE_TEST_SUITE_P(Rings, VhostOfferTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
