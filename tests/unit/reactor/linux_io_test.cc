// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/linux_io.h"

#include <array>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
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
using core::ErrorKind;
using core::Segment;

class LinuxIoTest : public test::ReactorFixture, public AcceptHandler, public ReadyHandler {
  public:
    LinuxIoTest() {
        std::string pattern = (std::filesystem::temp_directory_path() / "remora-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
    }
    ~LinuxIoTest() override { std::filesystem::remove_all(directory_); }

    void on_accept(Handle connection) override { accepted_ = connection; }
    void on_ready(Readiness readiness) override {
        readable_ |= readiness.readable;
        hangup_ |= readiness.hangup;
    }

  protected:
    std::filesystem::path directory_;
    Handle accepted_ = kNoHandle;
    bool readable_ = false;
    bool hangup_ = false;
};

TEST_F(LinuxIoTest, Stream_tcpRoundTrip_deliversBytesAndEnd) {
    run([this]() -> Task<> {
        auto acceptor = reactor().io().listen(Endpoint::tcp("127.0.0.1", 0), *this);
        EXPECT_TRUE(acceptor);
        EXPECT_NE((*acceptor)->local().port, 0);
        auto client = co_await connect((*acceptor)->local(), reactor().now() + 5s);
        EXPECT_TRUE(client);
        std::string text = "hello";
        const Segment out{reinterpret_cast<std::byte*>(text.data()), text.size()};
        EXPECT_EQ((*client)->send(std::span(&out, 1)), 5);
        while (accepted_ == kNoHandle) {
            co_await sleep_for(50us);
        }
        auto server = reactor().io().adopt_stream(accepted_);
        EXPECT_TRUE(server);
        (*server)->set_handler(this);
        while (!readable_) {
            co_await sleep_for(50us);
        }
        std::array<std::byte, 16> buffer{};
        const Segment in{buffer.data(), buffer.size()};
        EXPECT_EQ((*server)->recv(std::span(&in, 1)), 5);
        EXPECT_EQ((*server)->recv(std::span(&in, 1)), -EAGAIN);
        client->reset();
        while (!hangup_) {
            co_await sleep_for(50us);
        }
        EXPECT_EQ((*server)->recv(std::span(&in, 1)), 0);
    });
}

TEST_F(LinuxIoTest, Connect_nobodyListens_isUnavailable) {
    run([this]() -> Task<> {
        const auto stream = co_await connect(Endpoint::tcp("127.0.0.1", 1), reactor().now() + 5s);
        EXPECT_FALSE(stream);
        EXPECT_EQ(stream.error().kind, ErrorKind::Unavailable);
    });
}

TEST_F(LinuxIoTest, Connect_missingUnixSocket_isNotFound) {
    run([this]() -> Task<> {
        const auto path = (directory_ / "none").string();
        const auto stream = co_await connect(Endpoint::unix_path(path), reactor().now() + 5s);
        EXPECT_FALSE(stream);
        EXPECT_EQ(stream.error().kind, ErrorKind::NotFound);
    });
}

TEST_F(LinuxIoTest, Stream_unixWithHandles_passesThem) {
    run([this]() -> Task<> {
        const auto path = (directory_ / "socket").string();
        auto acceptor = reactor().io().listen(Endpoint::unix_path(path), *this);
        EXPECT_TRUE(acceptor);
        auto client = co_await connect(Endpoint::unix_path(path), reactor().now() + 5s);
        EXPECT_TRUE(client);
        while (accepted_ == kNoHandle) {
            co_await sleep_for(50us);
        }
        auto server = reactor().io().adopt_stream(accepted_);
        const int event = eventfd(0, 0);
        std::byte letter{7};
        const Segment out{&letter, 1};
        EXPECT_EQ((*client)->send(std::span(&out, 1), std::span(&event, 1)), 1);
        (*server)->set_handler(this);
        while (!readable_) {
            co_await sleep_for(50us);
        }
        std::byte got{};
        const Segment in{&got, 1};
        HandleBox box;
        EXPECT_EQ((*server)->recv(std::span(&in, 1), &box), 1);
        EXPECT_EQ(got, letter);
        EXPECT_EQ(box.count, 1U);
        reactor().io().close(box.handles[0]);
        close(event);
    });
}

TEST_F(LinuxIoTest, Listen_livePath_isRefused) {
    const auto path = (directory_ / "socket").string();
    run([&]() -> Task<> {
        auto first = reactor().io().listen(Endpoint::unix_path(path), *this);
        EXPECT_TRUE(first);
        const auto second = reactor().io().listen(Endpoint::unix_path(path), *this);
        EXPECT_FALSE(second);
        EXPECT_EQ(second.error().kind, ErrorKind::FailedPrecondition);
        co_return;
    });
}

/// A unix socket that is bound, and listens with room for `backlog` when that is not negative.
int bound_socket(const std::string& path, int backlog) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    EXPECT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    if (backlog >= 0) {
        EXPECT_EQ(listen(fd, backlog), 0);
    }
    return fd;
}

TEST_F(LinuxIoTest, Listen_pathOfAProcessThatIsGone_isTaken) {
    const auto path = (directory_ / "socket").string();
    close(bound_socket(path, 1));
    ASSERT_TRUE(std::filesystem::exists(path));
    run([&]() -> Task<> {
        const auto acceptor = reactor().io().listen(Endpoint::unix_path(path), *this);
        EXPECT_TRUE(acceptor);
        co_return;
    });
}

// A listener whose backlog is full answers a probe with EAGAIN: busy is not gone.
TEST_F(LinuxIoTest, Listen_pathOfABusyListener_isRefusedAndLeft) {
    const auto path = (directory_ / "socket").string();
    const int listener = bound_socket(path, 0);
    sockaddr_un address{};
    socklen_t size = sizeof address;
    ASSERT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
    std::vector<int> waiting;
    int refused = 0;
    for (int i = 0; i < 10 && refused == 0; ++i) {
        waiting.push_back(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        if (::connect(waiting.back(), reinterpret_cast<const sockaddr*>(&address), size) != 0) {
            refused = errno;
        }
    }
    ASSERT_EQ(refused, EAGAIN);

    run([&]() -> Task<> {
        const auto acceptor = reactor().io().listen(Endpoint::unix_path(path), *this);
        EXPECT_FALSE(acceptor);
        co_return;
    });

    EXPECT_TRUE(std::filesystem::exists(path));
    for (const int fd : waiting) {
        close(fd);
    }
    close(listener);
}

class FileWaiter final : public FileHandler {
  public:
    void on_file_done(FileOp& op) override { result = op.result; }
    int result = 1;
};

TEST_F(LinuxIoTest, File_writeReadPunch_behavesAsADisk) {
    FileOptions options;
    options.create = true;
    options.size = core::kMiB;
    auto file = reactor().io().open_file((directory_ / "disk").string(), options);
    ASSERT_TRUE(file);
    EXPECT_EQ((*file)->size(), core::kMiB);
    auto* memory = static_cast<std::byte*>(std::aligned_alloc(4096, 8192));
    std::memset(memory, 0x5a, 8192);
    const Segment both[] = {{memory, 4096}, {memory + 4096, 4096}};
    const auto perform = [&](FileOp::Kind kind, std::uint64_t offset, std::uint64_t length) {
        FileWaiter waiter;
        FileOp op;
        op.kind = kind;
        op.offset = offset;
        op.length = length;
        op.segments = both;
        op.handler = &waiter;
        (*file)->submit(op);
        EXPECT_EQ(waiter.result, 1);  // never from within submit
        turn_until([&] { return waiter.result != 1; });
        return waiter.result;
    };
    EXPECT_EQ(perform(FileOp::Kind::Write, 4096, 8192), 0);
    EXPECT_EQ(perform(FileOp::Kind::Flush, 0, 0), 0);
    EXPECT_EQ(perform(FileOp::Kind::PunchHole, 8192, 4096), 0);
    std::memset(memory, 0xff, 8192);
    EXPECT_EQ(perform(FileOp::Kind::Read, 4096, 8192), 0);
    EXPECT_EQ(memory[0], std::byte{0x5a});
    EXPECT_EQ(memory[4096], std::byte{0});
    EXPECT_EQ(perform(FileOp::Kind::Read, core::kMiB - 4096, 8192), -EIO);  // past the end
    std::free(memory);
}

TEST_F(LinuxIoTest, File_openTwice_isRefused) {
    FileOptions options;
    options.create = true;
    options.size = 4096;
    const auto path = (directory_ / "disk").string();
    auto first = reactor().io().open_file(path, options);
    ASSERT_TRUE(first);
    const auto second = reactor().io().open_file(path, options);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::FailedPrecondition);
}

TEST_F(LinuxIoTest, File_zeroRangesAtOnceWhereThereAreNone_allPunch) {
    // Anonymous shared memory is a tmpfs file, and tmpfs has no ZERO_RANGE.
    const auto memory = reactor().io().create_shared_memory(16 * 4096);
    ASSERT_TRUE(memory);
    const std::vector<std::byte> full(std::size_t{16} * 4096, std::byte{0x5a});
    ASSERT_EQ(pwrite(*memory, full.data(), full.size(), 0), static_cast<ssize_t>(full.size()));
    FileOptions options;
    options.exclusive = false;
    auto file = reactor().io().open_file("/proc/self/fd/" + std::to_string(*memory), options);
    ASSERT_TRUE(file) << file.error().message;
    std::array<FileWaiter, 4> waiters;
    std::array<FileOp, 4> ops;
    for (std::size_t i = 0; i < ops.size(); ++i) {
        ops[i].kind = FileOp::Kind::ZeroRange;
        ops[i].offset = i * 4 * 4096;
        ops[i].length = 4096;
        ops[i].handler = &waiters[i];
        (*file)->submit(ops[i]);
    }
    for (const FileWaiter& waiter : waiters) {
        turn_until([&] { return waiter.result != 1; });
        EXPECT_EQ(waiter.result, 0);
    }
    std::vector<std::byte> now(full.size());
    ASSERT_EQ(pread(*memory, now.data(), now.size(), 0), static_cast<ssize_t>(now.size()));
    EXPECT_EQ(now[0], std::byte{0});
    EXPECT_EQ(now[4096], std::byte{0x5a});
    EXPECT_EQ(now[12 * 4096], std::byte{0});
    reactor().io().close(*memory);
}

TEST_F(LinuxIoTest, Map_regionPastTheEnd_isRefused) {
    const auto memory = reactor().io().create_shared_memory(8192);
    ASSERT_TRUE(memory);
    EXPECT_TRUE(reactor().io().map(*memory, 4096, 4096));
    EXPECT_FALSE(reactor().io().map(*memory, 4096, 4097));
    EXPECT_FALSE(reactor().io().map(*memory, ~0ULL, 4096));
    reactor().io().close(*memory);
}

TEST_F(LinuxIoTest, Map_peerTruncates_readsZerosAndIsPoisoned) {
    const Handle memory = test::make_peer_memory(8192);
    auto mapping = reactor().io().map(memory, 0, 8192);
    ASSERT_TRUE(mapping);
    auto* bytes = const_cast<volatile std::byte*>((*mapping)->bytes().data());
    bytes[5000] = std::byte{1};
    ASSERT_EQ(ftruncate(memory, 4096), 0);
    EXPECT_FALSE((*mapping)->poisoned());
    const std::byte lost = bytes[5000];
    EXPECT_EQ(lost, std::byte{0});
    EXPECT_TRUE((*mapping)->poisoned());
    reactor().io().close(memory);
}

TEST_F(LinuxIoTest, SharedMemory_ofOurs_cannotBeTruncatedByWhoGetsIt) {
    const auto memory = reactor().io().create_shared_memory(8192);
    ASSERT_TRUE(memory);
    EXPECT_EQ(ftruncate(*memory, 4096), -1);
    EXPECT_EQ(ftruncate(*memory, 16384), -1);
    reactor().io().close(*memory);
}

class EventCounter final : public EventHandler {
  public:
    void on_event() override { ++count; }
    int count = 0;
};

TEST_F(LinuxIoTest, Event_signalled_isDelivered) {
    auto event = reactor().io().adopt_event(eventfd(0, 0));
    ASSERT_TRUE(event);
    EventCounter counter;
    (*event)->set_handler(&counter);
    (*event)->signal();
    turn_until([&] { return counter.count == 1; });
    (*event)->signal();
    turn_until([&] { return counter.count == 2; });
}

// A poll whose event is on its way when its owner goes must not keep the socket for ever.
TEST_F(LinuxIoTest, Stream_closedWithEventsOnTheirWay_leavesNothingBehind) {
    turn(4);
    const std::size_t before = linux_io().live();
    for (int round = 0; round < 20; ++round) {
        int pair[2] = {-1, -1};
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        auto stream = reactor().io().adopt_stream(pair[0]);
        ASSERT_TRUE(stream);
        (*stream)->set_handler(this);
        turn(2);
        ASSERT_EQ(write(pair[1], "x", 1), 1);
        stream->reset();
        EXPECT_EQ(close(pair[1]), 0);
    }
    turn_until([&] { return linux_io().live() == before; });
}

// The descriptor's other holder may make it blocking and fill its counter.
TEST_F(LinuxIoTest, Event_counterFullAndBlocking_signalReturns) {
    const int theirs = eventfd(0, EFD_CLOEXEC);
    auto event = reactor().io().adopt_event(dup(theirs));
    ASSERT_TRUE(event);
    ASSERT_EQ(fcntl(theirs, F_SETFL, 0), 0);
    const std::uint64_t most = 0xffff'ffff'ffff'fffeULL;
    ASSERT_EQ(write(theirs, &most, sizeof most), 8);
    const std::size_t before = linux_io().live();

    for (int i = 0; i < 100; ++i) {
        (*event)->signal();
        turn();
    }

    EXPECT_EQ(linux_io().live(), before) << "one write at a time";
    event->reset();
    turn_until([&] { return linux_io().live() == before - 1; });
    EXPECT_EQ(close(theirs), 0);
}

}  // namespace
}  // namespace remora::reactor
