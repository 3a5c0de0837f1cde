// SPDX-License-Identifier: Apache-2.0
// Descriptors and memory of peers who hold up their ends: nobody waits for them.
#include "reactor/linux/foreign.h"

#include <chrono>
#include <cstddef>
#include <fcntl.h>
#include <netinet/in.h>
#include <span>
#include <string>
#include <sys/mman.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tests/support/peer_memory.h"
#include "tests/support/reactor_fixture.h"

namespace remora::reactor {
namespace {

class ForeignTest : public test::ReactorFixture {
  public:
    ForeignTest() : listener_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        address_.sin_family = AF_INET;
        address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address_;
        auto* at = reinterpret_cast<sockaddr*>(&address_);
        CHECK(bind(listener_, at, size) == 0 && listen(listener_, 128) == 0);
        CHECK(getsockname(listener_, at, &size) == 0);
    }
    ~ForeignTest() override {
        hear();
        ::close(listener_);
    }

    /// A socket whose close waits for a peer that does not read, until hear().
    Handle make_lingering() {
        const Handle sender = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(sender, reinterpret_cast<sockaddr*>(&address_), sizeof address_) == 0);
        deaf_.push_back(accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC));
        const std::vector<std::byte> data(std::size_t{1} << 20U);
        while (send(sender, data.data(), data.size(), MSG_DONTWAIT) > 0) {
        }
        const linger wait{.l_onoff = 1, .l_linger = 30};
        CHECK(setsockopt(sender, SOL_SOCKET, SO_LINGER, &wait, sizeof wait) == 0);
        return sender;
    }
    void hear() {
        for (const int other : std::exchange(deaf_, {})) {
            ::close(other);
        }
    }
    template <typename C>
    static bool soon(C condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!condition() && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::yield();
        }
        return condition();
    }

  private:
    int listener_;
    sockaddr_in address_{};
    std::vector<int> deaf_;
};

// A page of any other file may be as long in coming as whoever sent it likes.
TEST_F(ForeignTest, Map_ofWhatIsNoMemory_isRefused) {
    for (const char* path : {"/proc/self/maps", "/dev/zero", "/tmp"}) {
        const Handle other = ::open(path, O_RDONLY | O_CLOEXEC);
        ASSERT_GE(other, 0) << path;
        const auto mapping = reactor().io().map(other, 0, 4096);
        ASSERT_FALSE(mapping) << path;
        EXPECT_EQ(mapping.error().kind, core::ErrorKind::InvalidArgument);
        EXPECT_NE(mapping.error().message.find("is to be a memfd"), std::string::npos);
        reactor().io().close(other);
    }
}

TEST_F(ForeignTest, Close_ofASocketThatLingers_doesNotWait) {
    const Handle sender = make_lingering();
    const auto begin = std::chrono::steady_clock::now();
    reactor().io().close(sender);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
    EXPECT_EQ(closes_under_way(), 1U);
    hear();
    EXPECT_TRUE(soon([] { return closes_under_way() == 0; }));
}

TEST_F(ForeignTest, Close_ofMoreThanThereAreThreads_waitsForOne) {
    std::vector<Handle> ends;
    for (std::size_t i = 0; i < kMostClosers + 10; ++i) {
        ends.push_back(make_lingering());
    }
    for (const Handle sender : ends) {
        reactor().io().close(sender);
    }
    EXPECT_EQ(closes_under_way(), ends.size());
    hear();
    EXPECT_TRUE(soon([] { return closes_under_way() == 0; }));
}

TEST_F(ForeignTest, Close_ofWhatEndsAtOnce_isOver) {
    int pair[2] = {-1, -1};
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    for (const Handle handle : {pair[0], test::make_peer_memory(8192)}) {
        reactor().io().close(handle);
        EXPECT_EQ(fcntl(handle, F_GETFD), -1);
    }
    ::close(pair[1]);
}

TEST_F(ForeignTest, Unmap_ofMuchMemory_unmapsAllOfIt) {
    constexpr std::size_t kBytes = std::size_t{96} << 20U;
    const Handle memory = test::make_peer_memory(kBytes);
    auto mapping = reactor().io().map(memory, 0, kBytes);
    ASSERT_TRUE(mapping);
    const std::span<std::byte> bytes = (*mapping)->bytes();
    for (std::size_t i = 0; i < kBytes; i += 4096) {
        bytes[i] = std::byte{1};
    }
    mapping->reset();
    unsigned char resident = 0;
    EXPECT_TRUE(soon([&] { return mincore(bytes.data() + kBytes - 4096, 4096, &resident) != 0; }));
    reactor().io().close(memory);
}

}  // namespace
}  // namespace remora::reactor
