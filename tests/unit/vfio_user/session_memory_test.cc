// SPDX-License-Identifier: Apache-2.0
// Memory for DMA over a real socket.
#include <cerrno>

#include "tests/unit/vfio_user/session_fixture.h"

namespace remora::test {
namespace {

using namespace vfio_user;

constexpr std::uint64_t kAddress = 0x4000'0000;
constexpr std::uint64_t kSize = 0x10'0000;

class SessionMemoryTest : public SessionTest {
  public:
    /// Whether the device reaches `size` bytes at `address`.
    bool reaches(std::uint64_t address, std::uint64_t size) {
        return on_reactor(
            [&] { return !session->memory().guest().whole_at(address, size).empty(); });
    }
    SharedRam ram{kSize};
};

TEST_F(SessionMemoryTest, Map_withHandle_isReached) {
    negotiate();
    *ram.at(0x1234) = std::byte{0x5a};
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    EXPECT_EQ(
        on_reactor([this] { return session->memory().guest().whole_at(kAddress + 0x1234, 1)[0]; }),
        std::byte{0x5a});
    EXPECT_EQ(device.memory_changes, 1);
}

TEST_F(SessionMemoryTest, Map_withoutHandleOrReadOnly_isKeptOutOfReach) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, -1), 0);
    EXPECT_EQ(client->map(kAddress + kSize, kSize, ram.fd(), 0, kDmaReadable), 0);
    EXPECT_FALSE(reaches(kAddress, 1));
    EXPECT_FALSE(reaches(kAddress + kSize, 1));
    EXPECT_EQ(client->unmap(kAddress, kSize), 0);
    EXPECT_EQ(client->unmap(kAddress + kSize, kSize), 0);
    EXPECT_EQ(client->unmap(kAddress, kSize), ENOENT);
}

TEST_F(SessionMemoryTest, Map_thatOverlaps_isRefused) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    EXPECT_EQ(client->map(kAddress + kSize - 1, 1, ram.fd()), EEXIST);
    EXPECT_EQ(client->map(kAddress, kSize, -1), EEXIST);
    EXPECT_EQ(client->map(kAddress + kSize, kSize, ram.fd()), 0);
}

TEST_F(SessionMemoryTest, Map_thatCannotBe_isRefused) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, 0, ram.fd()), EINVAL);
    EXPECT_EQ(client->map(kAddress, kSize + 4096, ram.fd()), EINVAL);  // larger than the file
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd(), 4096), EINVAL);
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd(), ~std::uint64_t{0} - 4095), EINVAL);
    EXPECT_EQ(client->map(~std::uint64_t{0} - 10, kSize, ram.fd()), EINVAL);
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd(), 0, 0x10), EINVAL);
    EXPECT_EQ(client->map(kAddress, std::uint64_t{1} << 41U, ram.fd()), ENOSPC);
    DmaMapRequest request;
    request.argsz = 4U;
    EXPECT_EQ(client->call_with(Command::DmaMap, request)->error(), EINVAL);
    const std::array<int, 2> two{ram.fd(), ram.fd()};
    request.argsz = 32U;
    EXPECT_EQ(client->call_with(Command::DmaMap, request, two)->error(), EINVAL);
    EXPECT_EQ(on_reactor([this] { return session->memory().size(); }), 0U);
}

TEST_F(SessionMemoryTest, Map_pastTheLimit_isRefusedAndTheRestLives) {
    negotiate();
    for (std::uint64_t i = 0; i < memory::GuestMemory::kMaxRegions; ++i) {
        ASSERT_EQ(client->map(kAddress + i * 4096, 4096, ram.fd(), i * 4096), 0);
    }
    EXPECT_EQ(client->map(0, 4096, ram.fd()), ENOSPC);
    EXPECT_EQ(client->map(0, 4096, -1), 0);
    EXPECT_TRUE(reaches(kAddress, 4096));
}

TEST_F(SessionMemoryTest, Unmap_answersWithItsRequest) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    EXPECT_EQ(client->unmap(kAddress, kSize / 2), ENOENT);
    DmaUnmapRequest request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.address = kAddress;
    request.size = kSize;
    const auto reply = client->call_with(Command::DmaUnmap, request);
    EXPECT_EQ(reply->as<DmaUnmapRequest>()->address, kAddress);
    EXPECT_FALSE(reaches(kAddress, 1));
}

TEST_F(SessionMemoryTest, Unmap_underRequests_waitsForThemAndHidesItAtOnce) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    on_reactor([this] { return device.idle = false; });
    DmaUnmapRequest request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.address = kAddress;
    request.size = kSize;
    client->send(Command::DmaUnmap, core::as_bytes_of(request));
    EXPECT_TRUE(
        eventually([this] { return device.asked_idle == std::vector<std::size_t>{kSize}; }));
    EXPECT_FALSE(reaches(kAddress, 1));
    EXPECT_FALSE(client->receive(50).has_value());
    on_reactor([this] {
        device.idle = true;
        session->on_memory_idle();
        return 0;
    });
    EXPECT_EQ(client->receive()->as<DmaUnmapRequest>()->size, kSize);
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
}

TEST_F(SessionMemoryTest, UnmapAll_takesOneAfterTheOther) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    EXPECT_EQ(client->map(kAddress + kSize, kSize, ram.fd()), 0);
    EXPECT_EQ(client->map(0, 4096, -1), 0);
    on_reactor([this] { return device.idle = false; });
    DmaUnmapRequest request;
    request.argsz = static_cast<std::uint32_t>(sizeof(request));
    request.flags = kDmaUnmapAll;
    client->send(Command::DmaUnmap, core::as_bytes_of(request));
    EXPECT_TRUE(eventually([this] { return device.asked_idle.size() == 1; }));
    on_reactor([this] { return session->on_memory_idle(), 0; });
    EXPECT_TRUE(eventually([this] { return device.asked_idle.size() == 2; }));
    on_reactor([this] {
        device.idle = true;
        session->on_memory_idle();
        return 0;
    });
    EXPECT_EQ(client->receive()->error(), 0);
    EXPECT_EQ(on_reactor([this] { return session->memory().size(); }), 0U);
}

TEST_F(SessionMemoryTest, MemoryTruncatedByTheClient_isPoisonedAndKillsNobody) {
    negotiate();
    EXPECT_EQ(client->map(kAddress, kSize, ram.fd()), 0);
    ASSERT_EQ(ftruncate(ram.fd(), 0), 0);
    EXPECT_TRUE(on_reactor([this] {
        const auto bytes = session->memory().guest().whole_at(kAddress, 8);
        return bytes[0] == std::byte{0} && session->memory().poisoned();
    }));
}

}  // namespace
}  // namespace remora::test
