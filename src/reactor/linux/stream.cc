// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/stream.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include "reactor/linux/address.h"
#include "reactor/linux/foreign.h"
#include "reactor/linux/shared_memory.h"

namespace remora::reactor {

namespace {

using core::Segment;

// A list of Segments is handed to the kernel as it is.
static_assert(sizeof(Segment) == sizeof(iovec) &&
              offsetof(Segment, data) == offsetof(iovec, iov_base) &&
              offsetof(Segment, size) == offsetof(iovec, iov_len));

iovec* as_iovec(std::span<const Segment> segments) {
    return reinterpret_cast<iovec*>(const_cast<Segment*>(segments.data()));
}

constexpr unsigned kReadTag = 0;
constexpr unsigned kWriteTag = 1;

class SocketStream final : public Stream, private WatchOwner, private BusyPolled {
  public:
    SocketStream(Ring& ring, BusyPoll& busy, int fd, bool unix_socket)
        : ring_(ring), busy_(busy), fd_(fd), unix_socket_(unix_socket) {}
    SocketStream(const SocketStream&) = delete;
    SocketStream& operator=(const SocketStream&) = delete;
    ~SocketStream() override {
        // The ring holds a reference while a poll is armed, so close() alone would keep the
        // connection up until the cancel is through.
        stop_watching();
        shutdown(fd_, SHUT_RDWR);
        close(fd_);
    }

    void set_handler(ReadyHandler* handler) override {
        handler_ = handler;
        if (handler == nullptr) {
            stop_watching();
        } else if (read_watch_ == nullptr) {
            watch(POLLIN | POLLRDHUP);
        }
    }

    std::ptrdiff_t recv(std::span<const Segment> into, HandleBox* box) override {
        msghdr message{};
        message.msg_iov = as_iovec(into);
        message.msg_iovlen = into.size();
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * HandleBox::kMax)];
        if (unix_socket_) {
            message.msg_control = control;
            message.msg_controllen = sizeof control;
        }
        const ssize_t received = receive_message(fd_, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        const int error = received < 0 ? errno : 0;
        if (error != EAGAIN && !unix_socket_) {
            in_use(received);
        }
        if (error != 0) {
            return -error;
        }
        if (unix_socket_) {
            take_handles(message, box);
        }
        return received;
    }

    std::ptrdiff_t send(std::span<const Segment> from, std::span<const Handle> handles) override {
        msghdr message{};
        message.msg_iov = as_iovec(from);
        message.msg_iovlen = std::min(from.size(), kMaxSegments);
        alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * HandleBox::kMax)] = {};
        if (!handles.empty()) {
            const std::size_t bytes = handles.size_bytes();
            message.msg_control = control;
            message.msg_controllen = CMSG_SPACE(bytes);
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(bytes);
            std::memcpy(CMSG_DATA(header), handles.data(), bytes);
        }
        const ssize_t sent = send_message(fd_, message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent >= 0) {
            return sent;
        }
        const int error = errno;
        if (error == EAGAIN && write_watch_ == nullptr && handler_ != nullptr) {
            write_watch_ = ring_.watch(*this, kWriteTag, fd_, POLLOUT, false);
        }
        return -error;
    }

    void shutdown_send() override { shutdown(fd_, SHUT_WR); }

    [[nodiscard]] std::string peer() const override {
        Address address;
        address.size = sizeof address.storage;
        if (unix_socket_ || getpeername(fd_, address.get(), &address.size) != 0) {
            return unix_socket_ ? "unix" : "gone";
        }
        return to_endpoint(address).text();
    }

  private:
    static constexpr std::size_t kMaxSegments = 1024;  // UIO_MAXIOV

    void on_poll(unsigned tag, unsigned events) override {
        Readiness readiness;
        if (tag == kWriteTag) {
            std::exchange(write_watch_, nullptr)->drop();
            readiness.writable = true;
        } else {
            readiness.readable = true;
        }
        readiness.hangup = (events & (POLLHUP | POLLERR | POLLRDHUP)) != 0;
        if (handler_ != nullptr) {
            handler_->on_ready(readiness);
        }
    }

    void look() override {
        if (handler_ != nullptr) {
            handler_->on_ready({.readable = true});
        }
    }
    void rest() override {
        busy_.remove(*this);
        watch(POLLIN | POLLRDHUP);
    }
    /// Something was received: from now on the reactor looks for more itself. The end of the stream
    /// is still told at once, also to a handler that does not receive for now.
    void in_use(std::ptrdiff_t bytes) {
        busy_.received(*this, bytes);
        if (read_watch_ != nullptr && !BusyPolled::linked() && busy_.has_room()) {
            watch(POLLRDHUP);
            busy_.add(*this);
        }
    }
    /// What is the case already is told at once.
    void watch(unsigned events) {
        if (read_watch_ != nullptr) {
            std::exchange(read_watch_, nullptr)->drop();
        }
        read_watch_ = ring_.watch(*this, kReadTag, fd_, events, true);
    }
    void stop_watching() {
        busy_.remove(*this);
        if (read_watch_ != nullptr) {
            std::exchange(read_watch_, nullptr)->drop();
        }
        if (write_watch_ != nullptr) {
            std::exchange(write_watch_, nullptr)->drop();
        }
    }

    static void take_handles(msghdr& message, HandleBox* box) {
        for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
             header = CMSG_NXTHDR(&message, header)) {
            if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
                continue;
            }
            const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t i = 0; i < count; ++i) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof fd);
                if (box != nullptr && box->count < HandleBox::kMax) {
                    box->handles[box->count++] = fd;
                } else {
                    close_foreign(fd);
                }
            }
        }
    }

    Ring& ring_;
    BusyPoll& busy_;
    int fd_;
    bool unix_socket_;
    ReadyHandler* handler_ = nullptr;
    Watch* read_watch_ = nullptr;
    Watch* write_watch_ = nullptr;
};

}  // namespace

core::Result<std::unique_ptr<Stream>> make_stream(Ring& ring, BusyPoll& busy, int fd) {
    int domain = 0;
    socklen_t size = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) {
        const int error = errno;
        close(fd);
        return core::fail_errno("adopt stream", error);
    }
    if (domain != AF_UNIX) {
        // Answers are gathered into one send already; waiting for more would only add latency.
        const int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        constexpr int kSocketBuffer = 4 << 20;
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSocketBuffer, sizeof kSocketBuffer);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBuffer, sizeof kSocketBuffer);
    }
    return std::make_unique<SocketStream>(ring, busy, fd, domain == AF_UNIX);
}

}  // namespace remora::reactor
