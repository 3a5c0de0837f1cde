// SPDX-License-Identifier: Apache-2.0
// Connections in use are looked at by receiving, a few at most; the ring has all others, and all
// of them before a sleep.
#include "reactor/linux/busy_poll.h"

#include <array>
#include <cerrno>
#include <memory>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include "reactor/call.h"
#include "reactor/connect.h"
#include "tests/support/reactor_fixture.h"

namespace remora::reactor {
namespace {

using namespace std::chrono_literals;
using core::Segment;

/// Receives all there is whenever it is told to.
class Reader final : public ReadyHandler {
  public:
    explicit Reader(std::unique_ptr<Stream> stream) : stream_(std::move(stream)) {
        stream_->set_handler(this);
    }
    void on_ready(Readiness readiness) override {
        hangup |= readiness.hangup;
        if (deaf) {
            return;
        }
        std::array<std::byte, 4096> buffer;
        const Segment into{buffer.data(), buffer.size()};
        const std::ptrdiff_t got = stream_->recv(std::span(&into, 1));
        if (got > 0) {
            received += static_cast<std::size_t>(got);
        } else if (got == 0) {
            ended = true;
        }
    }
    std::size_t received = 0;
    bool ended = false;
    bool hangup = false;
    bool deaf = false;  ///< Does not receive.

  private:
    std::unique_ptr<Stream> stream_;
};

class BusyPollTest : public test::ReactorFixture, public AcceptHandler {
  public:
    ~BusyPollTest() override {
        for (const int peer : peers_) {
            ::close(peer);
        }
    }
    void on_accept(Handle connection) override { accepted_ = connection; }

    /// A connection to us; `peers_` has its other end.
    std::unique_ptr<Reader> connected() {
        std::unique_ptr<Reader> reader;
        accepted_ = kNoHandle;
        run([&]() -> Task<> {
            auto acceptor = reactor().io().listen(Endpoint::tcp("127.0.0.1", 0), *this);
            auto ours = co_await connect((*acceptor)->local(), reactor().now() + 5s);
            CHECK(ours.has_value());
            while (accepted_ == kNoHandle) {
                co_await sleep_for(50us);
            }
            reader = std::make_unique<Reader>(std::move(*ours));
        });
        peers_.push_back(accepted_);
        settle();
        return reader;
    }
    void send(std::size_t peer, std::size_t bytes) {
        const std::vector<char> data(bytes, 'x');
        ASSERT_EQ(::send(peers_[peer], data.data(), bytes, 0), static_cast<ssize_t>(bytes));
    }
    void send_and_wait(std::size_t peer, Reader& reader) {
        const std::size_t before = reader.received;
        send(peer, 10);
        turn_until([&] { return reader.received == before + 10; });
    }
    /// What was cancelled or asked of the ring is through.
    void settle() { turn(20); }

  protected:
    Handle accepted_ = kNoHandle;
    std::vector<int> peers_;
};

TEST_F(BusyPollTest, Receive_once_endsTheRingsWatchUntilNothingComesForLong) {
    const auto reader = connected();
    const std::size_t watched = linux_io().live();
    EXPECT_EQ(linux_io().looked_at(), 0U);
    send_and_wait(0, *reader);
    EXPECT_EQ(linux_io().looked_at(), 1U);
    send_and_wait(0, *reader);
    turn(1100);  // kEmptyLooks, and some
    EXPECT_EQ(linux_io().looked_at(), 0U);
    EXPECT_EQ(linux_io().live(), watched);
    send_and_wait(0, *reader);
}

TEST_F(BusyPollTest, ManyConnections_fewAreLookedAtAndAllAreServed) {
    constexpr std::size_t kCount = 7;
    constexpr std::size_t kMost = 4;
    std::vector<std::unique_ptr<Reader>> readers;
    for (std::size_t i = 0; i < kCount; ++i) {
        readers.push_back(connected());
    }
    for (int round = 0; round < 3; ++round) {
        for (std::size_t i = 0; i < kCount; ++i) {
            send_and_wait(i, *readers[i]);
        }
    }
    EXPECT_EQ(linux_io().looked_at(), kMost);
}

TEST_F(BusyPollTest, Sleep_whileLookedAt_endsWithData) {
    const auto reader = connected();
    send_and_wait(0, *reader);
    settle();
    send(0, 10);  // nobody has looked since
    const core::Nanos before = reactor().measure_now();
    if (reactor().begin_sleep()) {
        reactor().io().wait(20s);
    }
    reactor().end_sleep();
    EXPECT_LT(reactor().measure_now() - before, 10s);
    turn_until([&] { return reader->received == 20; });
}

TEST_F(BusyPollTest, EndOfStream_whileLookedAt_isSeen) {
    const auto reader = connected();
    const auto other = connected();
    send_and_wait(0, *reader);
    send_and_wait(1, *other);
    settle();
    ::shutdown(peers_[0], SHUT_WR);
    turn_until([&] { return reader->ended; });
    send_and_wait(1, *other);
}

// Who waits for a departed host's I/O counts on it (frontends/nvme_tcp/shard_departures.cc).
TEST_F(BusyPollTest, EndOfStream_handlerDoesNotReceive_isToldInTheNextTurns) {
    const auto reader = connected();
    send_and_wait(0, *reader);
    settle();
    reader->deaf = true;
    send(0, 10);
    turn(2);
    EXPECT_FALSE(reader->hangup);
    ::shutdown(peers_[0], SHUT_WR);
    turn(2);
    EXPECT_TRUE(reader->hangup);
    EXPECT_EQ(linux_io().looked_at(), 1U);
}

/// Counts the looks at it, and gives so many bytes each time.
class Counted final : public BusyPolled {
  public:
    explicit Counted(BusyPoll& poll) : poll_(poll) { poll_.add(*this); }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    virtual ~Counted() { poll_.remove(*this); }
    void look() override {
        ++looks;
        if (bytes > 0) {
            poll_.received(*this, bytes);
        }
    }
    void rest() override {
        rested = true;
        poll_.remove(*this);
    }
    std::ptrdiff_t bytes = 0;
    int looks = 0;
    bool rested = false;

  private:
    BusyPoll& poll_;
};

TEST(BusyPollPauseTest, SmallReceiveAfterLargeOnes_leavesTimeToGather) {
    BusyPoll poll;
    Counted stream(poll);
    stream.bytes = 60'000;
    for (int i = 0; i < 50; ++i) {
        EXPECT_TRUE(poll.look());
    }
    EXPECT_EQ(stream.looks, 50);  // large ones are taken as they come
    stream.bytes = 4'000;
    EXPECT_TRUE(poll.look());
    for (int i = 0; i < 6; ++i) {
        EXPECT_FALSE(poll.look());
    }
    EXPECT_EQ(stream.looks, 51);
    EXPECT_TRUE(poll.look());
    EXPECT_EQ(stream.looks, 52);
}

TEST(BusyPollPauseTest, ReceivesOfOneSize_areNeverHeldUp) {
    BusyPoll poll;
    Counted stream(poll);
    stream.bytes = 24;
    for (int i = 0; i < 100; ++i) {
        EXPECT_TRUE(poll.look());
    }
    EXPECT_EQ(stream.looks, 100);
    stream.bytes = 0;
    for (int i = 0; i < 1001; ++i) {
        EXPECT_FALSE(poll.look());
    }
    EXPECT_TRUE(stream.rested);
}

}  // namespace
}  // namespace remora::reactor
