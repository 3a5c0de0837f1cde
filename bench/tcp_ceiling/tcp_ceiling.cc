// SPDX-License-Identifier: Apache-2.0
// tcp_ceiling: what plain sockets can do with NVMe/TCP-shaped messages, fully batched, and nothing
// else. Two processes, each pinned to a core, over loopback: the client keeps `--qd` requests
// outstanding, every receive takes all there is, every send gathers all that is ready.
//
//   read:  72-byte capsule  ─►   ◄─ 24-byte header + payload
//   write: 72-byte capsule + payload ─►   ◄─ 24-byte response
//
// Prints one JSON line: messages a second, the mean round trip and the batch sizes.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <string>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>

namespace {

constexpr std::size_t kCapsuleBytes = 72;
constexpr std::size_t kHeaderBytes = 24;
constexpr std::size_t kReceiveBytes = std::size_t{128} * 1024;
constexpr std::size_t kMessagesPerSend = 64;

struct Options {
    std::size_t queue_depth = 32;
    std::size_t payload = 4096;
    bool write = false;
    int seconds = 3;
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

/// One end: counts whole messages in and sends whole messages out, both batched.
class End {
  public:
    End(int fd, std::size_t bytes_in, std::vector<std::size_t> parts_out)
        : fd_(fd), bytes_in_(bytes_in), parts_out_(std::move(parts_out)), buffer_(kReceiveBytes) {
        for (const std::size_t part : parts_out_) {
            bytes_out_ += part;
        }
        payload_.resize(bytes_out_);
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        constexpr int kSocketBuffer = 4 << 20;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
    }

    /// Whole messages that have arrived; spins; -1 at the end of the stream.
    long receive() {
        const ssize_t got = recv(fd_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
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
            const ssize_t sent = sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0) {
                return errno == EAGAIN;
            }
            ++sends;
            owed_bytes_ -= static_cast<std::size_t>(sent);
        }
        return true;
    }

    void owe(std::size_t messages) { owed_bytes_ += messages * bytes_out_; }

    std::uint64_t receives = 0;
    std::uint64_t sends = 0;

  private:
    /// Vectors for up to kMessagesPerSend messages, the first perhaps begun before.
    std::size_t gather() {
        std::size_t skip = (bytes_out_ - owed_bytes_ % bytes_out_) % bytes_out_;
        const std::size_t messages =
            std::min((owed_bytes_ + bytes_out_ - 1) / bytes_out_, kMessagesPerSend);
        std::size_t count = 0;
        for (std::size_t i = 0; i < messages; ++i) {
            std::size_t at = 0;
            for (const std::size_t part : parts_out_) {
                const std::size_t skipped = std::min(skip, part);
                skip -= skipped;
                if (skipped < part) {
                    vectors_[count++] = {payload_.data() + at + skipped, part - skipped};
                }
                at += part;
            }
        }
        return count;
    }

    int fd_;
    std::size_t bytes_in_;
    std::vector<std::size_t> parts_out_;
    std::size_t bytes_out_ = 0;
    std::size_t owed_bytes_ = 0;
    std::size_t partial_ = 0;
    std::vector<char> buffer_;
    std::vector<char> payload_;
    iovec vectors_[2 * kMessagesPerSend] = {};
};

void serve(int fd, const Options& options) {
    pin(options.server_core);
    const std::size_t in = kCapsuleBytes + (options.write ? options.payload : 0);
    End end(fd, in,
            options.write ? std::vector<std::size_t>{kHeaderBytes}
                          : std::vector<std::size_t>{kHeaderBytes, options.payload});
    while (true) {
        const long messages = end.receive();
        if (messages < 0) {
            return;
        }
        end.owe(static_cast<std::size_t>(messages));
        if (!end.send_owed()) {
            return;
        }
    }
}

void drive(int fd, const Options& options) {
    using Clock = std::chrono::steady_clock;
    pin(options.client_core);
    const std::size_t in = kHeaderBytes + (options.write ? 0 : options.payload);
    End end(fd, in,
            options.write ? std::vector<std::size_t>{kCapsuleBytes, options.payload}
                          : std::vector<std::size_t>{kCapsuleBytes});
    end.owe(options.queue_depth);
    std::uint64_t completed = 0;
    const auto start = Clock::now();
    const auto stop = start + std::chrono::seconds(options.seconds);
    for (unsigned loop = 0; (loop & 255U) != 0 || Clock::now() < stop; ++loop) {
        const long messages = end.receive();
        if (messages < 0) {
            die("the server went away");
        }
        completed += static_cast<std::uint64_t>(messages);
        end.owe(static_cast<std::size_t>(messages));
        if (!end.send_owed()) {
            die("send");
        }
    }
    const double elapsed = std::chrono::duration<double>(Clock::now() - start).count();
    const double rate = static_cast<double>(completed) / elapsed;
    const auto per = [completed](std::uint64_t calls) {
        return static_cast<double>(completed) /
               static_cast<double>(std::max<std::uint64_t>(calls, 1));
    };
    std::printf(
        "{\"rw\":\"%s\",\"bytes\":%zu,\"qd\":%zu,\"iops\":%.0f,\"mean_us\":%.2f,"
        "\"per_recv\":%.1f,\"per_send\":%.1f}\n",
        options.write ? "write" : "read", options.payload, options.queue_depth, rate,
        1e6 * static_cast<double>(options.queue_depth) / rate, per(end.receives), per(end.sends));
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
    app.add_option("--qd", options.queue_depth, "requests outstanding")->check(CLI::Range(1, 4096));
    app.add_option("--bs", options.payload, "payload bytes")->check(CLI::Range(512, 1 << 20));
    app.add_option("--rw", rw, "read or write")->check(CLI::IsMember({"read", "write"}));
    app.add_option("--time", options.seconds, "seconds")->check(CLI::Range(1, 600));
    app.add_option("--client-core", options.client_core, "core of the client");
    app.add_option("--server-core", options.server_core, "core of the server");
    CLI11_PARSE(app, argc, argv);
    options.write = rw == "write";

    int server = -1;
    const int client = connected_pair(server);
    const pid_t child = fork();
    if (child < 0) {
        die("fork");
    }
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(client);
        serve(server, options);
        _exit(0);
    }
    close(server);
    drive(client, options);
    close(client);
    waitpid(child, nullptr, 0);
    return 0;
}
