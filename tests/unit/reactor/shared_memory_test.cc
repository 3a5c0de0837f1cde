// SPDX-License-Identifier: Apache-2.0
// Streams from and into memory that a peer shares with us and takes away.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "reactor/call.h"
#include "reactor/connect.h"
#include "tests/support/peer_memory.h"
#include "tests/support/reactor_fixture.h"

namespace remora::reactor {
namespace {

using namespace std::chrono_literals;
using core::Segment;

/// Two ends of a TCP connection and memory that a peer shares with us.
class SharedMemoryStreamTest : public test::ReactorFixture, public AcceptHandler {
  public:
    static constexpr std::size_t kPage = 4096;
    static constexpr std::size_t kPages = 1024;

    SharedMemoryStreamTest()
        : memory_(test::make_peer_memory(kPages * kPage)),
          mapping_(std::move(*reactor().io().map(memory_, 0, kPages * kPage))) {
        std::memset(mapping_->bytes().data(), 0x5a, kPages * kPage);
    }
    ~SharedMemoryStreamTest() override { reactor().io().close(memory_); }

    void on_accept(Handle connection) override { accepted_ = connection; }

    template <typename F>
    void with_connection(F body) {
        run([&, this]() -> Task<> {
            auto acceptor = reactor().io().listen(Endpoint::tcp("127.0.0.1", 0), *this);
            auto client = co_await connect((*acceptor)->local(), reactor().now() + 5s);
            while (accepted_ == kNoHandle) {
                co_await sleep_for(50us);
            }
            auto server = reactor().io().adopt_stream(accepted_);
            body(**client, **server);
        });
    }
    [[nodiscard]] Segment pages(std::size_t first, std::size_t count) const {
        return {mapping_->bytes().data() + first * kPage, count * kPage};
    }
    /// All of `bytes`, however they come.
    static std::vector<std::byte> drain(Stream& from, std::size_t bytes) {
        std::vector<std::byte> all(bytes);
        std::size_t have = 0;
        while (have < bytes) {
            const Segment rest{all.data() + have, bytes - have};
            const std::ptrdiff_t got = from.recv(std::span(&rest, 1));
            CHECK(got > 0 || got == -EAGAIN);
            have += got > 0 ? static_cast<std::size_t>(got) : 0U;
        }
        return all;
    }

  protected:
    Handle accepted_ = kNoHandle;
    Handle memory_;
    std::unique_ptr<Mapping> mapping_;
};

TEST_F(SharedMemoryStreamTest, Send_fromMemoryTakenAway_sendsZerosAndPoisonsItOnly) {
    auto other = reactor().io().map(memory_, 0, kPage);
    std::vector<std::byte> good(100, std::byte{0x33});
    ASSERT_EQ(ftruncate(memory_, kPage), 0);
    with_connection([&, this](Stream& client, Stream& server) {
        const Segment from[] = {{good.data(), good.size()}, pages(0, 4)};
        std::size_t sent = 0;
        core::SegmentCursor cursor(from);
        while (sent < 100 + 4 * kPage) {
            const Segment rest = cursor.peek(4 * kPage);
            const std::ptrdiff_t now = sent == 0 ? client.send(from) : client.send({&rest, 1});
            ASSERT_GT(now, 0);
            cursor.advance(static_cast<std::size_t>(now));
            sent += static_cast<std::size_t>(now);
        }
        const auto all = drain(server, sent);
        EXPECT_EQ(all[99], std::byte{0x33});
        EXPECT_EQ(all[100 + kPage], std::byte{0});
    });
    with_connection([this](Stream& client, Stream& server) {
        // The whole mapping has gone, or many lost pages would use up the process's mappings.
        const Segment from = pages(0, 1);
        ASSERT_EQ(client.send({&from, 1}), static_cast<std::ptrdiff_t>(kPage));
        const auto all = drain(server, kPage);
        EXPECT_EQ(all, std::vector<std::byte>(kPage));
    });
    EXPECT_TRUE(mapping_->poisoned());
    EXPECT_FALSE((*other)->poisoned());
}

TEST_F(SharedMemoryStreamTest, Recv_intoMemoryTakenAway_receivesAllAndPoisonsIt) {
    std::vector<std::byte> out(8 * kPage, std::byte{0x77});
    ASSERT_EQ(ftruncate(memory_, kPage), 0);
    with_connection([&, this](Stream& client, Stream& server) {
        const Segment from{out.data(), out.size()};
        ASSERT_EQ(client.send(std::span(&from, 1)), static_cast<std::ptrdiff_t>(out.size()));
        std::size_t have = 0;
        while (have < out.size()) {
            const Segment rest{mapping_->bytes().data() + have, out.size() - have};
            const std::ptrdiff_t got = server.recv(std::span(&rest, 1));
            ASSERT_TRUE(got > 0 || got == -EAGAIN) << got;
            have += got > 0 ? static_cast<std::size_t>(got) : 0U;
        }
        // What was received before the fault has gone with the mapping.
        EXPECT_EQ(mapping_->bytes()[out.size() - 1], std::byte{0x77});
    });
    EXPECT_TRUE(mapping_->poisoned());
}

TEST_F(SharedMemoryStreamTest, Send_fromMemoryThatComesAndGoes_neverFaults) {
    std::atomic<bool> stop = false;
    std::thread peer([&, this] {
        while (!stop) {
            EXPECT_EQ(ftruncate(memory_, 0), 0);
            EXPECT_EQ(ftruncate(memory_, kPages * kPage), 0);
        }
    });
    with_connection([this](Stream& client, Stream& server) {
        // So many that the first has time to go again while the last is looked at.
        constexpr std::size_t kAtOnce = 64;
        for (std::size_t page = 0; page < kPages; page += kAtOnce) {
            std::array<Segment, kAtOnce> from;
            for (std::size_t i = 0; i < kAtOnce; ++i) {
                from[i] = pages(page + i, 1);
            }
            const std::ptrdiff_t sent = client.send(from);
            EXPECT_GT(sent, 0);
            drain(server, static_cast<std::size_t>(std::max<std::ptrdiff_t>(sent, 0)));
        }
    });
    stop = true;
    peer.join();
}

}  // namespace
}  // namespace remora::reactor
