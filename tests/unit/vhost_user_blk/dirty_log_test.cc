// SPDX-License-Identifier: Apache-2.0
// The dirty log, as a front end that moves its guest uses it: every page that the device has
// written is marked by the time the driver can see it, and no other; it may begin and end at any
// moment, with requests in flight.
#include <algorithm>
#include <memory>
#include <set>
#include <unistd.h>

#include "tests/unit/vhost_user_blk/session_fixture.h"

namespace remora::test {
namespace {

using virtio::Feature;

class DirtyLogTest : public VhostSessionTest {
  public:
    static constexpr std::uint64_t kPage = 4096;

    DirtyLogTest() : front(make_front()) { CHECK(front.connect()); }

    /// Shares a bitmap of `bytes` and asks for everything to be logged.
    bool log_all(std::size_t bytes = (GuestRam::kGuestBase / kPage + 4096) / 8) {
        log = std::make_unique<GuestRam>(bytes);
        return share_log(bytes) && log_rings(true) && set_features(true);
    }
    bool share_log(std::size_t bytes) {
        vu::LogDescription description;
        description.mmap_size = bytes;
        const int fd = log->fd();
        if (!front.socket().send(RequestType::SetLogBase, core::as_bytes_of(description),
                                 {&fd, 1})) {
            return false;
        }
        const auto reply = front.socket().receive();
        return reply && reply->payload.empty();
    }
    bool set_features(bool logged) {
        vu::U64 features;
        features.value = front.features() | (logged ? virtio::bit(Feature::LogAll) : 0);
        return front.set(RequestType::SetFeatures, core::as_bytes_of(features));
    }
    bool log_rings(bool on) {
        vu::VringAddress address = front.ring(0).addresses(0);
        address.flags = on ? vu::kVringLogsUsed : 0;
        address.log = address.used - GuestRam::kUserBase + GuestRam::kGuestBase;
        return front.set(RequestType::SetVringAddr, core::as_bytes_of(address));
    }
    /// Pages of the guest's memory that are marked, by number.
    [[nodiscard]] std::set<std::uint64_t> dirty() const {
        std::set<std::uint64_t> pages;
        for (std::uint64_t at = 0; at < log->bytes().size(); ++at) {
            const auto bits = std::to_integer<unsigned>(*log->at(at));
            for (unsigned bit = 0; bit < 8; ++bit) {
                if ((bits >> bit & 1U) != 0) {
                    pages.insert(at * 8 + bit - GuestRam::kGuestBase / kPage);
                }
            }
        }
        return pages;
    }
    void clear() const { std::ranges::fill(log->bytes(), std::byte{0}); }
    /// Those of the ring: of a split one where used elements go; of a packed one all of it.
    [[nodiscard]] std::set<std::uint64_t> ring_pages() const {
        const vu::VringAddress at = ring->addresses(0);
        const std::uint64_t used = at.used - GuestRam::kUserBase;
        std::set<std::uint64_t> pages{used / kPage};
        if (packed()) {
            pages.insert((at.descriptors - GuestRam::kUserBase) / kPage);
        }
        return pages;
    }
    [[nodiscard]] std::set<std::uint64_t> with_ring(std::set<std::uint64_t> pages) const {
        pages.merge(ring_pages());
        return pages;
    }
    std::uint64_t data_page(std::uint16_t n) { return slot(front, n).data_offset / kPage; }
    std::uint64_t status_page(std::uint16_t n) { return slot(front, n).status_offset() / kPage; }

    VhostFrontEnd front;
    DriverRing* ring = &front.ring(0);
    std::unique_ptr<GuestRam> log;
};

TEST_P(DirtyLogTest, Features_areOffered) {
    EXPECT_TRUE(virtio::has(front.offered_features(), Feature::LogAll));
}

TEST_P(DirtyLogTest, Read_marksDataStatusAndRing_andNothingElse) {
    ASSERT_TRUE(log_all());
    EXPECT_EQ(perform(front, BlkType::In, 0, 3 * kPage), kOk);
    const std::uint64_t data = data_page(0);
    EXPECT_EQ(dirty(), with_ring({data, data + 1, data + 2, status_page(0)}));
}

TEST_P(DirtyLogTest, Write_marksStatusAndRingOnly) {
    ASSERT_TRUE(log_all());
    EXPECT_EQ(perform(front, BlkType::Out, 0, 8192), kOk);
    EXPECT_EQ(dirty(), with_ring({status_page(0)}));
    clear();
    EXPECT_EQ(perform(front, BlkType::Flush, 0, 0), kOk);
    EXPECT_EQ(dirty(), with_ring({status_page(0)}));
}

TEST_P(DirtyLogTest, GetIdAndErrors_markWhatWasWritten) {
    ASSERT_TRUE(log_all());
    EXPECT_EQ(perform(front, BlkType::GetId, 0, 20), kOk);
    EXPECT_EQ(dirty(), with_ring({data_page(0), status_page(0)}));
    on_reactor([&] { disk.device->fail_next(block::Status::PathError); });
    clear();
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kIoError);  // some of it may have come
    EXPECT_EQ(dirty(), with_ring({data_page(0), status_page(0)}));
    clear();
    EXPECT_EQ(perform(front, static_cast<BlkType>(77), 0, 0), kUnsupported);
    EXPECT_EQ(dirty(), with_ring({status_page(0)}));
}

// What is in flight when logging begins is written after that. Nobody waits for it.
TEST_P(DirtyLogTest, Begins_withReadsInFlight_doesNotWait_andMarksThem) {
    on_reactor([&] { disk.device->hold(true); });
    start_request(front, 0, BlkType::In, 0, kPage);
    start_request(front, 1, BlkType::In, 0, kPage);
    ASSERT_TRUE(eventually([&] { return disk.device->held() == 2; }));
    ASSERT_TRUE(log_all());
    EXPECT_EQ(on_reactor([&] { return disk.device->held(); }), 2U);
    clear();
    on_reactor([&] { disk.device->hold(false); });
    ASSERT_TRUE(next_used(front).has_value() && next_used(front).has_value());
    const auto pages = dirty();
    for (const std::uint16_t n : {std::uint16_t{0}, std::uint16_t{1}}) {
        EXPECT_TRUE(pages.contains(data_page(n)) && pages.contains(status_page(n)));
    }
}

TEST_P(DirtyLogTest, Ends_nothingIsMarkedAnyMore) {
    ASSERT_TRUE(log_all());
    ASSERT_TRUE(log_rings(false));
    clear();
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    EXPECT_EQ(dirty(), (std::set<std::uint64_t>{data_page(0), status_page(0)}));
    ASSERT_TRUE(set_features(false));
    clear();
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    EXPECT_TRUE(dirty().empty());
}

TEST_P(DirtyLogTest, AnotherBitmap_takesOverAtOnce) {
    ASSERT_TRUE(log_all());
    const std::unique_ptr<GuestRam> old = std::move(log);
    ASSERT_TRUE(log_all());
    std::ranges::fill(old->bytes(), std::byte{0});
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    EXPECT_TRUE(dirty().contains(data_page(0)));
    EXPECT_TRUE(std::ranges::all_of(old->bytes(), [](std::byte b) { return b == std::byte{0}; }));
}

// A guest that was moved with memory that is not marked is a broken guest: better none.
TEST_P(DirtyLogTest, BitmapTooShort_endsTheSession) {
    ASSERT_TRUE(log_all(64));
    start_request(front, 0, BlkType::In, 0, 512);
    EXPECT_TRUE(front.socket().closed_by_peer());
    EXPECT_TRUE(still_serves());
}

TEST_P(DirtyLogTest, BitmapTruncated_endsTheSession) {
    ASSERT_TRUE(log_all());
    ASSERT_EQ(ftruncate(log->fd(), 0), 0);
    start_request(front, 0, BlkType::In, 0, 512);
    EXPECT_TRUE(front.socket().closed_by_peer());
    EXPECT_TRUE(still_serves());
}

TEST_P(DirtyLogTest, SetLogBase_thatCannotBe_isRefused) {
    vu::LogDescription description;
    log = std::make_unique<GuestRam>(kPage);
    const int fd = log->fd();
    for (const std::uint64_t size : {std::uint64_t{0}, 2 * kPage, ~std::uint64_t{0}}) {
        description.mmap_size = size;
        EXPECT_FALSE(front.set(RequestType::SetLogBase, core::as_bytes_of(description), {&fd, 1}));
    }
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    EXPECT_FALSE(front.set(RequestType::SetLogBase, core::as_bytes_of(description)));
    EXPECT_TRUE(front.socket().closed_by_peer());  // there was no bitmap
    front.disconnect();
    EXPECT_TRUE(still_serves());
}

INSTANTIATE_TEST_SUITE_P(Rings, DirtyLogTest, both_rings(), ring_name);

}  // namespace
}  // namespace remora::test
