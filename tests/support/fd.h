// SPDX-License-Identifier: Apache-2.0
// Descriptors as tests use them: owned, signalled, sent and received over unix sockets. Blocking,
// with time-outs.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <poll.h>
#include <span>
#include <string>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "core/check.h"

namespace remora::test {

/// A file descriptor that closes itself.
class Fd {
  public:
    Fd() = default;
    explicit Fd(int fd) : fd_(fd) {}
    Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Fd& operator=(Fd&& other) noexcept {
        std::swap(fd_, other.fd_);
        return *this;
    }
    ~Fd() {
        if (fd_ >= 0) {
            close(fd_);
        }
    }
    [[nodiscard]] int get() const { return fd_; }
    [[nodiscard]] bool valid() const { return fd_ >= 0; }
    int release() { return std::exchange(fd_, -1); }

  private:
    int fd_ = -1;
};

inline Fd make_eventfd() {
    return Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

inline void signal_eventfd(const Fd& event) {
    const std::uint64_t one = 1;
    const ssize_t put = write(event.get(), &one, sizeof(one));
    CHECK(put == sizeof(one));
}

inline bool wait_readable(int fd, int timeout_ms) {
    pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&waited, 1, timeout_ms) == 1;
}

/// Whether it was signalled within the time; clears it.
inline bool wait_eventfd(const Fd& event, int timeout_ms) {
    std::uint64_t count = 0;
    return wait_readable(event.get(), timeout_ms) &&
           read(event.get(), &count, sizeof(count)) == sizeof(count);
}

/// Not valid when nobody listens there.
inline Fd connect_unix(const std::string& path) {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (!fd.valid() || path.size() >= sizeof(address.sun_path)) {
        return Fd();
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return Fd();
    }
    return fd;
}

/// Sends all bytes, with descriptors on the first.
inline bool send_with_fds(int socket, std::span<const std::byte> bytes, std::span<const int> fds) {
    constexpr std::size_t kMax = 32;
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        iovec part{.iov_base = const_cast<std::byte*>(bytes.data() + sent),
                   .iov_len = bytes.size() - sent};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        std::array<std::byte, CMSG_SPACE(sizeof(int) * kMax)> control{};
        if (sent == 0 && !fds.empty()) {
            CHECK(fds.size() <= kMax);
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
        }
        const ssize_t done = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (done <= 0) {
            return false;
        }
        sent += static_cast<std::size_t>(done);
    }
    return true;
}

/// Fills `into`; descriptors that came along are appended to `fds`.
inline bool receive_with_fds(int socket,
                             std::span<std::byte> into,
                             std::vector<Fd>& fds,
                             int timeout_ms) {
    while (!into.empty()) {
        if (!wait_readable(socket, timeout_ms)) {
            return false;
        }
        iovec part{.iov_base = into.data(), .iov_len = into.size()};
        std::array<std::byte, CMSG_SPACE(sizeof(int) * 8)> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (got <= 0) {
            return false;
        }
        for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
             header = CMSG_NXTHDR(&message, header)) {
            const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t i = 0; i < count; ++i) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
                fds.emplace_back(fd);
            }
        }
        into = into.subspan(static_cast<std::size_t>(got));
    }
    return true;
}

/// Whether the other side closes within the time (anything it still says is skipped).
inline bool closes(int socket, int timeout_ms) {
    std::array<std::byte, 256> skipped{};
    while (wait_readable(socket, timeout_ms)) {
        if (recv(socket, skipped.data(), skipped.size(), 0) <= 0) {
            return true;
        }
    }
    return false;
}

}  // namespace remora::test
