// SPDX-License-Identifier: Apache-2.0
// tcp_ceiling: what plain sockets can do with NVMe/TCP-shaped messages, fully batched, and nothing
// else. Two processes, each pinned to a core, over loopback: on each of `--connections` sockets the
// client keeps `--qd` requests outstanding, every receive takes all there is, every send gathers
// all that is ready. A process looks at one socket by recv alone, at several by one epoll_wait.
//
//   read:  72-byte capsule  ─►   ◄─ 24-byte header + payload
//   write: 72-byte capsule + payload ─►   ◄─ 24-byte response
//
// From 32 KiB of payload on other sizes are best (large mode): a receive takes up to 512 KiB, and
// a send gathers no more than that.
//
// All payloads are sent from one buffer, which stays in the first cache, unless `--buffers` gives
// each of so many messages its own, as the requests of a real load have: few that stay in some
// cache, or, as reads of a volume do, so many at scattered places that none does.
//
// Prints one JSON line: messages a second, the mean round trip, batch sizes, system calls.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>

#include "memory/zeroed_memory.h"

namespace {

constexpr std::size_t kCapsuleBytes = 72;
constexpr std::size_t kHeaderBytes = 24;
constexpr std::size_t kMessagesPerSend = 64;
constexpr std::size_t kLargePayload = std::size_t{32} * 1024;

/// How much one call moves, by the size of a payload.
struct Sizes {
    std::size_t receive_bytes = std::size_t{128} * 1024;
    std::size_t messages_per_send = kMessagesPerSend;
};

Sizes sizes_for(std::size_t payload) {
    if (payload < kLargePayload) {
        return {};
    }
    constexpr std::size_t kLargeBytes = std::size_t{512} * 1024;
    return {.receive_bytes = kLargeBytes,
            .messages_per_send = std::max<std::size_t>(kLargeBytes / payload, 1)};
}

/// From a payload's buffer to the next one's. A prime, so that all are used, and far enough for no
/// prefetcher to follow.
constexpr std::size_t kScatter = 40'009;

constexpr std::chrono::seconds kLongestStart{30};
constexpr std::size_t kMostPayloads = std::size_t{4} << 30;  ///< Bytes, of all connections.

struct Options {
    std::size_t queue_depth = 32;  ///< of each connection
    std::size_t connections = 1;
    std::size_t payload = 4096;
    std::size_t buffers = 1;  ///< that the payloads are sent from
    bool write = false;
    double seconds = 3;
    int client_core = 0;
    int server_core = 1;
};

[[noreturn]] void die(const char* what) {
    std::fprintf(stderr, "tcp_ceiling: %s: %s\n", what, std::strerror(errno));
    std::exit(1);
}

void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<std::size_t>(core), &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0) {
        die("pin to core");
    }
}

/// A message that an end sends.
struct Out {
    std::size_t header = 0;
    std::size_t payload = 0;
    std::size_t buffers = 1;  ///< Of payloads.

    [[nodiscard]] std::size_t bytes() const { return header + payload; }
};

/// One end of a connection: counts whole messages in and sends whole messages out, both batched.
/// What is received goes into `staging`, which all ends of a process share.
class End {
  public:
    End(int fd, std::size_t bytes_in, Out out, Sizes sizes, std::vector<char>& staging)
        : fd_(fd),
          bytes_in_(bytes_in),
          out_(out),
          sizes_(sizes),
          staging_(staging),
          header_(out.header),
          payloads_(remora::memory::allocate_zeroed(
              std::max<std::size_t>(out.payload * out.buffers, 1))) {
        if (payloads_ == nullptr) {
            die("memory for payloads");
        }
        // Memory that was never written is the kernel's one page of zeros, which stays in a cache.
        std::memset(payloads_.get(), 'p', out.payload * out.buffers);
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        constexpr int kSocketBuffer = 4 << 20;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
    }

    [[nodiscard]] int fd() const { return fd_; }
    [[nodiscard]] bool owes() const { return owed_bytes_ > 0; }

    /// Whole messages that have arrived, without waiting; -1 at the end of the stream.
    long receive() {
        ++calls;
        const ssize_t got = recv(fd_, staging_.data(), staging_.size(), MSG_DONTWAIT);
        if (got == 0) {
            return -1;
        }
        if (got < 0) {
            return errno == EAGAIN ? 0 : -1;
        }
        ++receives;
        partial_ += static_cast<std::size_t>(got);
        const std::size_t whole = partial_ / bytes_in_;
        partial_ %= bytes_in_;
        return static_cast<long>(whole);
    }

    /// Sends what is owed as far as the socket takes it. False when the stream is gone.
    bool send_owed() {
        while (owed_bytes_ > 0) {
            const std::size_t count = gather();
            msghdr message{};
            message.msg_iov = vectors_;
            message.msg_iovlen = count;
            ++calls;
            const ssize_t sent = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0) {
                return errno == EAGAIN;
            }
            ++sends;
            owed_bytes_ -= static_cast<std::size_t>(sent);
            sent_bytes_ += static_cast<std::size_t>(sent);
        }
        return true;
    }

    void owe(std::size_t messages) { owed_bytes_ += messages * out_.bytes(); }

    std::uint64_t receives = 0;
    std::uint64_t sends = 0;
    std::uint64_t calls = 0;  ///< system calls, those that found nothing too

  private:
    /// Vectors for up to kMessagesPerSend messages, the first perhaps begun before.
    std::size_t gather() {
        const std::size_t bytes = out_.bytes();
        const std::size_t messages =
            std::min((owed_bytes_ + bytes - 1) / bytes, sizes_.messages_per_send);
        std::size_t skip = sent_bytes_ % bytes;
        std::size_t message = sent_bytes_ / bytes;
        std::size_t count = 0;
        const auto add = [&](char* part, std::size_t size) {
            const std::size_t skipped = std::min(skip, size);
            skip -= skipped;
            if (skipped < size) {
                vectors_[count++] = {part + skipped, size - skipped};
            }
        };
        for (std::size_t i = 0; i < messages; ++i) {
            add(header_.data(), header_.size());
            const std::size_t number = message++ * kScatter % out_.buffers;
            add(reinterpret_cast<char*>(payloads_.get()) + number * out_.payload, out_.payload);
        }
        return count;
    }

    int fd_;
    std::size_t bytes_in_;
    Out out_;
    Sizes sizes_;
    std::vector<char>& staging_;
    std::size_t owed_bytes_ = 0;
    std::size_t sent_bytes_ = 0;
    std::size_t partial_ = 0;
    std::vector<char> header_;
    remora::memory::ZeroedMemory payloads_;
    iovec vectors_[2 * kMessagesPerSend] = {};
};

/// All ends of one process.
class Group {
  public:
    Group(const std::vector<int>& sockets,
          std::size_t bytes_in,
          const Out& out,
          std::size_t payload)
        : staging_(sizes_for(payload).receive_bytes) {
        epoll_ = epoll_create1(EPOLL_CLOEXEC);
        if (epoll_ < 0) {
            die("epoll");
        }
        for (const int fd : sockets) {
            ends_.push_back(std::make_unique<End>(fd, bytes_in, out, sizes_for(payload), staging_));
            epoll_event event{.events = EPOLLIN, .data = {.ptr = ends_.back().get()}};
            if (epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
                die("epoll_ctl");
            }
        }
    }

    /// Takes what has arrived and answers each message with one. Returns how many; -1 at the end
    /// of a stream.
    long turn() {
        if (ends_.size() == 1) {
            return serve(*ends_.front());
        }
        ++waits_;
        const int ready = epoll_wait(epoll_, events_, kEvents, 0);
        long messages = 0;
        for (int i = 0; i < ready; ++i) {
            const long some = serve(*static_cast<End*>(events_[i].data.ptr));
            if (some < 0) {
                return -1;
            }
            messages += some;
        }
        for (const auto& end : ends_) {  // those whose socket was full
            if (end->owes() && !end->send_owed()) {
                return -1;
            }
        }
        return messages;
    }

    void start(std::size_t queue_depth) {
        for (const auto& end : ends_) {
            end->owe(queue_depth);
            if (!end->send_owed()) {
                die("send");
            }
        }
    }

    [[nodiscard]] std::uint64_t sum(std::uint64_t End::* counter) const {
        std::uint64_t total = 0;
        for (const auto& end : ends_) {
            total += (*end).*counter;
        }
        return total;
    }

    /// System calls so far, those that found nothing too.
    [[nodiscard]] std::uint64_t calls() const { return sum(&End::calls) + waits_; }

  private:
    static constexpr int kEvents = 64;

    static long serve(End& end) {
        const long messages = end.receive();
        if (messages > 0) {
            end.owe(static_cast<std::size_t>(messages));
        }
        return messages >= 0 && !end.send_owed() ? -1 : messages;
    }

    std::vector<char> staging_;
    std::vector<std::unique_ptr<End>> ends_;
    int epoll_ = -1;
    std::uint64_t waits_ = 0;
    epoll_event events_[kEvents] = {};
};

void serve(const std::vector<int>& sockets, const Options& options) {
    pin(options.server_core);
    const std::size_t in = kCapsuleBytes + (options.write ? options.payload : 0);
    Group group(sockets, in,
                options.write ? Out{.header = kHeaderBytes}
                              : Out{kHeaderBytes, options.payload, options.buffers},
                options.payload);
    while (group.turn() >= 0) {
    }
}

void drive(const std::vector<int>& sockets, const Options& options) {
    using Clock = std::chrono::steady_clock;
    pin(options.client_core);
    const std::size_t in = kHeaderBytes + (options.write ? 0 : options.payload);
    Group group(sockets, in,
                options.write ? Out{kCapsuleBytes, options.payload, options.buffers}
                              : Out{.header = kCapsuleBytes},
                options.payload);
    group.start(options.queue_depth);
    // The server may still be filling its payloads: time and calls count from its first answers.
    const auto latest = Clock::now() + kLongestStart;
    while (group.turn() == 0) {
        if (Clock::now() > latest) {
            errno = ETIMEDOUT;
            die("the server's first answer");
        }
    }
    std::uint64_t completed = 0;
    const std::uint64_t calls_before = group.calls();
    const auto start = Clock::now();
    const auto stop = start + std::chrono::duration_cast<Clock::duration>(
                                  std::chrono::duration<double>(options.seconds));
    for (unsigned loop = 0; (loop & 255U) != 0 || Clock::now() < stop; ++loop) {
        const long messages = group.turn();
        if (messages < 0) {
            die("the server went away");
        }
        completed += static_cast<std::uint64_t>(messages);
    }
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    const double rate = static_cast<double>(completed) / elapsed;
    const auto per = [completed](std::uint64_t calls) {
        return static_cast<double>(completed) /
               static_cast<double>(std::max<std::uint64_t>(calls, 1));
    };
    const std::uint64_t calls = group.calls() - calls_before;
    std::printf(
        "{\"rw\":\"%s\",\"bytes\":%zu,\"qd\":%zu,\"connections\":%zu,\"iops\":%.0f,"
        "\"mean_us\":%.2f,\"per_recv\":%.1f,\"per_send\":%.1f,\"calls_per_io\":%.3f}\n",
        options.write ? "write" : "read", options.payload, options.queue_depth, options.connections,
        rate, 1e6 * static_cast<double>(options.queue_depth * options.connections) / rate,
        per(group.sum(&End::receives)), per(group.sum(&End::sends)), 1 / per(calls));
}

int connected_pair(int& server) {
    const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    if (listener < 0 || bind(listener, generic, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, generic, &size) != 0) {
        die("listen on loopback");
    }
    const int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client < 0 || connect(client, generic, size) != 0) {
        die("connect on loopback");
    }
    server = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (server < 0) {
        die("accept");
    }
    close(listener);
    return client;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    std::string rw = "read";
    CLI::App app{
        "Messages a second of plain, fully batched sockets: the ceiling for NVMe/TCP.\n"
        "Example: tcp_ceiling --qd 128 --bs 4096 --rw read --time 3"};
    app.add_option("--qd", options.queue_depth, "requests outstanding on each connection")
        ->check(CLI::Range(1, 4096));
    app.add_option("--connections", options.connections, "connections, each with --qd requests")
        ->check(CLI::Range(1, 1024));
    app.add_option("--bs", options.payload, "payload bytes")->check(CLI::Range(512, 1 << 20));
    app.add_option("--buffers", options.buffers,
                   "buffers that each end sends payloads from, in turn, at scattered places")
        ->check(CLI::Range(1, 1 << 18));
    app.add_option("--rw", rw, "read or write")->check(CLI::IsMember({"read", "write"}));
    app.add_option("--time", options.seconds, "seconds")->check(CLI::Range(0.01, 600.0));
    app.add_option("--client-core", options.client_core, "core of the client");
    app.add_option("--server-core", options.server_core, "core of the server");
    CLI11_PARSE(app, argc, argv);
    options.write = rw == "write";
    if (options.connections * options.buffers * options.payload > kMostPayloads) {
        std::fprintf(
            stderr,
            "tcp_ceiling: --connections x --buffers x --bs is more than 4 GiB of payloads; "
            "take fewer buffers\n");
        return 1;
    }

    std::vector<int> clients;
    std::vector<int> servers;
    for (std::size_t i = 0; i < options.connections; ++i) {
        int server = -1;
        clients.push_back(connected_pair(server));
        servers.push_back(server);
    }
    const pid_t child = fork();
    if (child < 0) {
        die("fork");
    }
    const auto close_all = [](const std::vector<int>& sockets) {
        for (const int fd : sockets) {
            close(fd);
        }
    };
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close_all(clients);
        serve(servers, options);
        _exit(0);
    }
    close_all(servers);
    drive(clients, options);
    close_all(clients);
    waitpid(child, nullptr, 0);
    return 0;
}
