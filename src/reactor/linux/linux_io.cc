// SPDX-License-Identifier: Apache-2.0
#include "reactor/linux/linux_io.h"

#include <cerrno>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "reactor/linux/file.h"
#include "reactor/linux/foreign.h"
#include "reactor/linux/shared_memory.h"
#include "reactor/linux/socket.h"
#include "reactor/linux/stream.h"

namespace remora::reactor {

namespace {

void drain_counter(int fd) {
    std::uint64_t count = 0;
    const iovec into{&count, sizeof count};
    // Whatever the descriptor's other holder has made of its flags, this never waits.
    const ssize_t got = preadv2(fd, &into, 1, -1, RWF_NOWAIT);
    static_cast<void>(got);  // EAGAIN: somebody else took it; nothing to do
}

void add_to_counter(int fd) {
    const std::uint64_t one = 1;
    const ssize_t put = write(fd, &one, sizeof one);
    static_cast<void>(put);  // EAGAIN: the counter is full, so the other side is woken already
}

class LinuxEventSource final : public EventSource {
  public:
    explicit LinuxEventSource(int fd) : fd_(fd) {}
    LinuxEventSource(const LinuxEventSource&) = delete;
    LinuxEventSource& operator=(const LinuxEventSource&) = delete;
    ~LinuxEventSource() override { close(fd_); }
    [[nodiscard]] int fd() const { return fd_; }

  private:
    int fd_;
};

class LinuxEvent final : public Event, private WatchOwner {
  public:
    LinuxEvent(Ring& ring, std::shared_ptr<LinuxEventSource> source)
        : ring_(ring), source_(std::move(source)), doorbell_(ring.doorbell(source_->fd())) {}
    LinuxEvent(const LinuxEvent&) = delete;
    LinuxEvent& operator=(const LinuxEvent&) = delete;
    ~LinuxEvent() override {
        set_handler(nullptr);
        doorbell_->drop();
    }
    void signal() override { doorbell_->signal(); }
    void set_handler(EventHandler* handler) override {
        handler_ = handler;
        if (handler == nullptr && watch_ != nullptr) {
            watch_->drop();
            watch_ = nullptr;
        } else if (handler != nullptr && watch_ == nullptr) {
            watch_ = ring_.watch(*this, 0, source_->fd(), POLLIN, true);
        }
    }

  private:
    void on_poll(unsigned /*tag*/, unsigned /*events*/) override {
        drain_counter(source_->fd());
        if (handler_ != nullptr) {
            handler_->on_event();
        }
    }
    Ring& ring_;
    std::shared_ptr<LinuxEventSource> source_;
    Doorbell* doorbell_;
    EventHandler* handler_ = nullptr;
    Watch* watch_ = nullptr;
};

}  // namespace

core::Result<std::unique_ptr<LinuxIo>> LinuxIo::create() {
    auto ring = Ring::create();
    if (!ring) {
        return std::unexpected(ring.error());
    }
    const int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake_fd < 0) {
        return core::fail_errno("eventfd", errno);
    }
    return std::unique_ptr<LinuxIo>(new LinuxIo(std::move(*ring), wake_fd));
}

LinuxIo::LinuxIo(std::unique_ptr<Ring> ring, int wake_fd)
    : ring_(std::move(ring)),
      wake_fd_(wake_fd),
      wake_watch_(ring_->watch(*this, 0, wake_fd, POLLIN, true)) {}

LinuxIo::~LinuxIo() {
    wake_watch_->drop();
    ::close(wake_fd_);
}

void LinuxIo::on_poll(unsigned /*tag*/, unsigned /*events*/) {
    drain_counter(wake_fd_);
}

core::Result<std::unique_ptr<Acceptor>> LinuxIo::listen(const Endpoint& at,
                                                        AcceptHandler& handler) {
    return make_acceptor(*ring_, at, handler);
}

std::unique_ptr<Connecting> LinuxIo::connect(const Endpoint& to, ConnectHandler& handler) {
    return make_connecting(*ring_, busy_, to, handler);
}

core::Result<std::unique_ptr<Stream>> LinuxIo::adopt_stream(Handle connection) {
    return make_stream(*ring_, busy_, connection);
}

core::Result<std::unique_ptr<File>> LinuxIo::open_file(const std::string& path,
                                                       const FileOptions& options) {
    return open_linux_file(*ring_, path, options);
}

core::Result<std::shared_ptr<EventSource>> LinuxIo::take_event(Handle handle) {
    // The handle is a peer's: signalling a pipe nobody reads would raise SIGPIPE, and a regular
    // file is always readable.
    if (!is_eventfd(handle)) {
        close_foreign(handle);
        return core::fail(core::ErrorKind::InvalidArgument, "adopt event: not an eventfd");
    }
    const int flags = fcntl(handle, F_GETFL);
    if (flags < 0 || fcntl(handle, F_SETFL, flags | O_NONBLOCK) != 0) {
        const int error = errno;
        ::close(handle);
        return core::fail_errno("adopt event", error);
    }
    return std::make_shared<LinuxEventSource>(handle);
}

std::unique_ptr<Event> LinuxIo::open_event(std::shared_ptr<EventSource> source) {
    // Of this process there is no other kind.
    return std::make_unique<LinuxEvent>(
        *ring_, std::static_pointer_cast<LinuxEventSource>(std::move(source)));
}

core::Result<std::unique_ptr<Mapping>> LinuxIo::map(Handle handle,
                                                    std::uint64_t offset,
                                                    std::uint64_t size) {
    return map_shared_memory(handle, offset, size);
}

core::Result<Handle> LinuxIo::create_shared_memory(std::uint64_t size) {
    return create_memfd(size);
}

void LinuxIo::close(Handle handle) {
    close_foreign(handle);
}

bool LinuxIo::poll() {
    const bool completed = ring_->reap();
    return busy_.look() || completed;
}

bool LinuxIo::wait(Nanos timeout) {
    busy_.rest();
    return ring_->wait(timeout);
}

void LinuxIo::wake() {
    add_to_counter(wake_fd_);
}

}  // namespace remora::reactor
