// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/socket.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

#include "core/log.h"
#include "reactor/linux/address.h"
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

class SocketStream final : public Stream, private WatchOwner {
  public:
    SocketStream(Ring& ring, int fd, bool unix_socket)
        : ring_(ring), fd_(fd), unix_socket_(unix_socket) {}
    SocketStream(const SocketStream&) = delete;
    SocketStream& operator=(const SocketStream&) = delete;
    ~SocketStream() override {
        // The ring holds a reference while a poll is armed, so close() alone would keep the
        // connection up until the cancel is through.
        drop_watches();
        shutdown(fd_, SHUT_RDWR);
        close(fd_);
    }

    void set_handler(ReadyHandler* handler) override {
        handler_ = handler;
        if (handler == nullptr) {
            drop_watches();
        } else if (read_watch_ == nullptr) {
            read_watch_ = ring_.watch(*this, kReadTag, fd_, POLLIN | POLLRDHUP, true);
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
        if (received < 0) {
            return -errno;
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

    void drop_watches() {
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
                    close(fd);
                }
            }
        }
    }

    Ring& ring_;
    int fd_;
    bool unix_socket_;
    ReadyHandler* handler_ = nullptr;
    Watch* read_watch_ = nullptr;
    Watch* write_watch_ = nullptr;
};

class SocketAcceptor final : public Acceptor, private WatchOwner {
  public:
    SocketAcceptor(Ring& ring, int fd, Endpoint local, AcceptHandler& handler)
        : fd_(fd),
          spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)),
          local_(std::move(local)),
          handler_(handler),
          watch_(ring.watch(*this, kReadTag, fd, POLLIN, true)) {}
    SocketAcceptor(const SocketAcceptor&) = delete;
    SocketAcceptor& operator=(const SocketAcceptor&) = delete;
    ~SocketAcceptor() override {
        watch_->drop();
        shutdown(fd_, SHUT_RDWR);  // stops listening though the ring still holds a reference
        close(fd_);
        if (spare_ >= 0) {
            close(spare_);
        }
        if (local_.family == Endpoint::Family::Unix) {
            unlink(local_.address.c_str());
        }
    }

    [[nodiscard]] Endpoint local() const override { return local_; }

  private:
    void on_poll(unsigned /*tag*/, unsigned /*events*/) override {
        constexpr int kAcceptsPerEvent = 1024;
        for (int i = 0; i < kAcceptsPerEvent; ++i) {
            const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                handler_.on_accept(fd);
            } else if (errno == EMFILE || errno == ENFILE) {
                if (!refuse_one()) {
                    return;
                }
            } else if (errno != ECONNABORTED && errno != EINTR) {
                return;
            }
        }
    }

    /// Out of descriptors: the connection at the head is taken with the spare one and closed, so
    /// that its peer learns of it instead of waiting. False when even that failed.
    bool refuse_one() {
        log::warn("connection refused: out of file descriptors", log::kv("at", local_.text()));
        if (spare_ < 0) {
            return false;
        }
        close(spare_);
        const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
        }
        spare_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
        return fd >= 0;
    }

    int fd_;
    int spare_;
    Endpoint local_;
    AcceptHandler& handler_;
    Watch* watch_;
};

class SocketConnecting final : public Connecting, private WatchOwner {
  public:
    SocketConnecting(Ring& ring, ConnectHandler& handler) : ring_(ring), handler_(handler) {}
    SocketConnecting(const SocketConnecting&) = delete;
    SocketConnecting& operator=(const SocketConnecting&) = delete;
    ~SocketConnecting() override {
        if (watch_ != nullptr) {
            watch_->drop();
        }
        if (fd_ >= 0) {
            close(fd_);
        }
    }

    void start(const Endpoint& to) {
        context_ = "connect to " + to.text();
        core::Result<Address> address = to_address(to);
        if (!address) {
            fail_early(address.error());
            return;
        }
        fd_ = socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd_ < 0) {
            fail_early(core::fail_errno(context_, errno).error());
            return;
        }
        const int result = ::connect(fd_, address->get(), address->size);
        if (result != 0 && errno != EINPROGRESS) {
            fail_early(core::fail_errno(context_, errno).error());
            return;
        }
        // Also when connected at once: a connected socket is writable, so the event comes from
        // poll.
        watch_ = ring_.watch(*this, kWriteTag, fd_, POLLOUT, false);
    }

  private:
    /// A failure known at once is reported from poll() all the same: through a socket that is
    /// always writable.
    static int open_wake() { return socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); }
    void fail_early(core::Error error) {
        early_ = std::unexpected(std::move(error));
        if (fd_ >= 0) {
            close(fd_);
        }
        fd_ = open_wake();
        watch_ = ring_.watch(*this, kWriteTag, fd_, POLLOUT, false);
    }
    void on_poll(unsigned /*tag*/, unsigned /*events*/) override {
        std::exchange(watch_, nullptr)->drop();
        if (!early_) {
            handler_.on_connected(std::unexpected(early_.error()));
            return;
        }
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error != 0) {
            handler_.on_connected(core::fail_errno(context_, error));
            return;
        }
        handler_.on_connected(make_stream(ring_, std::exchange(fd_, -1)));
    }

    Ring& ring_;
    ConnectHandler& handler_;
    std::string context_;
    core::Result<void> early_;
    int fd_ = -1;
    Watch* watch_ = nullptr;
};

/// Removes the socket file of a process that is gone; a live listener's is left.
core::Result<void> clear_stale_socket(const Endpoint& at, const Address& address) {
    struct stat info{};
    if (lstat(at.address.c_str(), &info) != 0) {
        return {};
    }
    if (!S_ISSOCK(info.st_mode)) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          "'" + at.address + "' exists and is not a socket");
    }
    const int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // Only a refusal proves that nobody listens: a busy listener (EAGAIN), one of another user or
    // no descriptor left for asking do not.
    const bool stale =
        probe >= 0 && ::connect(probe, address.get(), address.size) != 0 && errno == ECONNREFUSED;
    if (probe >= 0) {
        close(probe);
    }
    if (!stale) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          "another process listens on '" + at.address + "'");
    }
    unlink(at.address.c_str());
    return {};
}

}  // namespace

core::Result<std::unique_ptr<Stream>> make_stream(Ring& ring, int fd) {
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
    return std::make_unique<SocketStream>(ring, fd, domain == AF_UNIX);
}

core::Result<std::unique_ptr<Acceptor>> make_acceptor(Ring& ring,
                                                      const Endpoint& at,
                                                      AcceptHandler& handler) {
    const std::string context = "listen on " + at.text();
    core::Result<Address> address = to_address(at);
    if (!address) {
        return core::fail(context, address.error());
    }
    const bool unix_socket = at.family == Endpoint::Family::Unix;
    if (unix_socket) {
        if (auto cleared = clear_stale_socket(at, *address); !cleared) {
            return core::fail(context, cleared.error());
        }
    }
    const int fd =
        socket(address->storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return core::fail_errno(context, errno);
    }
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    constexpr int kBacklog = 1024;
    if (bind(fd, address->get(), address->size) != 0 || listen(fd, kBacklog) != 0) {
        const int error = errno;
        close(fd);
        return core::fail_errno(context, error);
    }
    Endpoint local = at;
    if (!unix_socket) {
        Address bound;
        bound.size = sizeof bound.storage;
        getsockname(fd, bound.get(), &bound.size);
        local = to_endpoint(bound);
    }
    return std::make_unique<SocketAcceptor>(ring, fd, std::move(local), handler);
}

std::unique_ptr<Connecting> make_connecting(Ring& ring,
                                            const Endpoint& to,
                                            ConnectHandler& handler) {
    auto connecting = std::make_unique<SocketConnecting>(ring, handler);
    connecting->start(to);
    return connecting;
}

}  // namespace remora::reactor
