// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/socket.h"

#include <cerrno>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "core/log.h"
#include "reactor/linux/address.h"
#include "reactor/linux/stream.h"

namespace remora::reactor {

namespace {

constexpr unsigned kTag = 0;

class SocketAcceptor final : public Acceptor, private WatchOwner {
  public:
    SocketAcceptor(Ring& ring, int fd, Endpoint local, AcceptHandler& handler)
        : fd_(fd),
          spare_(open("/dev/null", O_RDONLY | O_CLOEXEC)),
          local_(std::move(local)),
          handler_(handler),
          watch_(ring.watch(*this, kTag, fd, POLLIN, true)) {}
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
    SocketConnecting(Ring& ring, BusyPoll& busy, ConnectHandler& handler)
        : ring_(ring), busy_(busy), handler_(handler) {}
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
        watch_ = ring_.watch(*this, kTag, fd_, POLLOUT, false);
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
        watch_ = ring_.watch(*this, kTag, fd_, POLLOUT, false);
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
        handler_.on_connected(make_stream(ring_, busy_, std::exchange(fd_, -1)));
    }

    Ring& ring_;
    BusyPoll& busy_;
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
                                            BusyPoll& busy,
                                            const Endpoint& to,
                                            ConnectHandler& handler) {
    auto connecting = std::make_unique<SocketConnecting>(ring, busy, handler);
    connecting->start(to);
    return connecting;
}

}  // namespace remora::reactor
