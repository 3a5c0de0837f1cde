// SPDX-License-Identifier: Apache-2.0
// Memory tables and ring addresses: what the front end shares, changes and takes back.
#include <array>
#include <chrono>
#include <unistd.h>

#include "tests/unit/vhost_user_blk/session_fixture.h"

namespace remora::test {
namespace {

TEST_P(VhostSessionTest, VringAddress_outsideMemory_isRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate() && front.share_memory()) << front.error();
    ASSERT_TRUE(front.set(RequestType::SetVringNum, core::as_bytes_of(state(0, 64))));
    vu::VringAddress address = front.ring(0).addresses(0);
    address.used = GuestRam::user(front.ram().bytes().size() - (packed() ? 2 : 8));
    EXPECT_FALSE(front.set(RequestType::SetVringAddr, core::as_bytes_of(address)));
    address = front.ring(0).addresses(0);
    address.descriptors = ~std::uint64_t{0} - 15;
    EXPECT_FALSE(front.set(RequestType::SetVringAddr, core::as_bytes_of(address)));
    EXPECT_TRUE(front.start_queue(0)) << front.error();
}

TEST_P(VhostSessionTest, VringAddress_misaligned_isRefusedWhenTheRingStarts) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate() && front.share_memory()) << front.error();
    ASSERT_TRUE(front.set(RequestType::SetVringNum, core::as_bytes_of(state(0, 64))));
    vu::VringAddress address = front.ring(0).addresses(0);
    address.descriptors = address.descriptors + 8;
    ASSERT_TRUE(front.set(RequestType::SetVringAddr, core::as_bytes_of(address)));
    vu::U64 none;
    none.value = vu::kVringNoDescriptor;
    ASSERT_TRUE(front.set(RequestType::SetVringKick, core::as_bytes_of(none)));
    EXPECT_FALSE(front.set(RequestType::SetVringEnable, core::as_bytes_of(state(0, 1))));
}

TEST_P(VhostSessionTest, Memory_regionsThatCannotBe_areRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.negotiate()) << front.error();
    const int fd = front.ram().fd();
    const std::array<int, 2> fds{fd, fd};
    vu::MemoryTableMessage table;
    const auto send = [&](std::size_t count) {
        table.count = static_cast<std::uint32_t>(count);
        return front.set(RequestType::SetMemTable,
                         core::as_bytes_of(table).first(8 + count * sizeof(vu::MemoryRegion)),
                         std::span(fds).first(count));
    };
    table.regions[0] = front.ram().region();
    table.regions[0].size = front.ram().bytes().size() + 4096;  // past the file
    EXPECT_FALSE(send(1));
    table.regions[0] = front.ram().region();
    table.regions[0].mmap_offset = ~std::uint64_t{0} - 4095;  // wraps
    EXPECT_FALSE(send(1));
    table.regions[0] = front.ram().region();
    table.regions[0].size = 0;
    EXPECT_FALSE(send(1));
    table.regions[0] = front.ram().region();
    table.regions[1] = front.ram().region();  // overlaps
    EXPECT_FALSE(send(2));
    EXPECT_TRUE(front.share_memory()) << front.error();
}

TEST_P(VhostSessionTest, Memory_moreRegionsThanTheMessageHolds_closes) {
    expect_closed([](VhostFrontEnd& front) {
        vu::MemoryTableMessage table;
        table.count = 9;
        front.socket().send_struct(RequestType::SetMemTable, table);
    });
}

/// All of it, at addresses that no other region has.
vu::SingleRegion beside_the_others(const GuestRam& ram) {
    vu::SingleRegion extra;
    extra.region = ram.region();
    extra.region.guest_address = 0x9'0000'0000;
    extra.region.user_address = 0x1'0000'0000;
    return extra;
}

TEST_P(VhostSessionTest, Memory_slotsAddedAndRemoved_ioGoesOn) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    GuestRam more(std::size_t{1} << 20U);
    const vu::SingleRegion extra = beside_the_others(more);
    const int fd = more.fd();
    ASSERT_TRUE(front.set(RequestType::AddMemReg, core::as_bytes_of(extra), {&fd, 1}));
    EXPECT_FALSE(front.set(RequestType::AddMemReg, core::as_bytes_of(extra), {&fd, 1}));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    ASSERT_TRUE(front.set(RequestType::RemMemReg, core::as_bytes_of(extra)));
    EXPECT_FALSE(front.set(RequestType::RemMemReg, core::as_bytes_of(extra)));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

// What the guest asks for meanwhile may lie in what is on its way back: it is not looked at.
TEST_P(VhostSessionTest, Memory_regionRemoved_queuesRestUntilItCanBeBack) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    GuestRam more(std::size_t{1} << 20U);
    const vu::SingleRegion extra = beside_the_others(more);
    const int fd = more.fd();
    ASSERT_TRUE(front.set(RequestType::AddMemReg, core::as_bytes_of(extra), {&fd, 1}));
    ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    const auto began = std::chrono::steady_clock::now();
    ASSERT_TRUE(front.set(RequestType::RemMemReg, core::as_bytes_of(extra)));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(4));
}

// How QEMU changes a region: it removes it and adds it anew, rings or no rings in it.
TEST_P(VhostSessionTest, Memory_regionOfARunningRing_removedAndAddedAnew_ioGoesOn) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    vu::SingleRegion region;
    region.region = front.ram().region();
    const int fd = front.ram().fd();
    ASSERT_TRUE(front.set(RequestType::RemMemReg, core::as_bytes_of(region))) << front.error();
    ASSERT_TRUE(front.set(RequestType::AddMemReg, core::as_bytes_of(region), {&fd, 1}));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostSessionTest, Memory_moreThanOneDeviceMayMap_isRefused) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    GuestRam sparse(4096);
    ASSERT_EQ(ftruncate(sparse.fd(), off_t{1} << 42), 0);
    vu::SingleRegion region;
    region.region.guest_address = 0x9'0000'0000;
    region.region.user_address = 0x1'0000'0000;
    region.region.size = (std::uint64_t{1} << 40U) + 4096;
    const int fd = sparse.fd();
    EXPECT_FALSE(front.set(RequestType::AddMemReg, core::as_bytes_of(region), {&fd, 1}));
    // A page far into the file costs a page of addresses, not all that is before it.
    region.region.size = 4096;
    region.region.mmap_offset = (std::uint64_t{1} << 42U) - 4096;
    EXPECT_TRUE(front.set(RequestType::AddMemReg, core::as_bytes_of(region), {&fd, 1}));
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostSessionTest, Memory_replacedWhileRequestsRun_waitsForThem) {
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    on_reactor([&] { disk.device->hold(true); });
    start_request(front, 0, BlkType::In, 0, 512);
    ASSERT_TRUE(eventually([&] { return disk.device->held() == 1; }));
    vu::MemoryTableMessage table;
    table.count = 1;
    table.regions[0] = front.ram().region();
    const int fd = front.ram().fd();
    ASSERT_TRUE(front.socket().send_struct(RequestType::SetMemTable, table, {&fd, 1}, true));
    EXPECT_FALSE(front.socket().receive(50).has_value());
    on_reactor([&] { disk.device->hold(false); });
    const auto reply = front.socket().receive();
    ASSERT_TRUE(reply.has_value());
    EXPECT_EQ(reply->u64(), 0U);
    EXPECT_EQ(next_used(front)->id, 0U);
    EXPECT_EQ(perform(front, BlkType::In, 0, 512), kOk);
}

TEST_P(VhostSessionTest, Memory_truncatedByTheFrontEnd_endsItsSessionOnly) {
    Disk& other = make_disk();
    VhostFrontEnd neighbour(front_end_options(other));
    ASSERT_TRUE(neighbour.connect()) << neighbour.error();
    VhostFrontEnd front = make_front();
    ASSERT_TRUE(front.connect()) << front.error();
    ASSERT_EQ(perform(front, BlkType::In, 0, 512), kOk);
    // Keep the rings, take the data away, then ask for data.
    offer_request(front.ram(), front.ring(0), slot(front, 0), BlkType::In, 0, 512);
    const auto keep = static_cast<off_t>(front.data_offset());
    const auto whole = static_cast<off_t>(front.ram().bytes().size());
    ASSERT_EQ(ftruncate(front.ram().fd(), keep), 0);
    if (front.ring(0).publish()) {
        front.kick(0);
    }
    EXPECT_TRUE(front.socket().closed_by_peer());
    ASSERT_EQ(ftruncate(front.ram().fd(), whole), 0);  // for our own mapping's sake
    EXPECT_EQ(perform(neighbour, BlkType::In, 0, 512), kOk);
    front.disconnect();
    EXPECT_TRUE(still_serves());
}

}  // namespace
}  // namespace remora::test
