// SPDX-License-Identifier: Apache-2.0
// LinuxIo: the real world behind reactor::Io.
//
// Made, used and destroyed by the reactor's thread (the ring has a single issuer); wake() alone may
// come from any thread. Objects it made are destroyed before it.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/linux/busy_poll.h"
#include "reactor/linux/ring.h"

namespace remora::reactor {

class LinuxIo final : public Io, private WatchOwner {
  public:
    /// Errors: what io_uring or eventfd says, in words.
    static core::Result<std::unique_ptr<LinuxIo>> create();
    LinuxIo(const LinuxIo&) = delete;
    LinuxIo& operator=(const LinuxIo&) = delete;
    ~LinuxIo() override;

    core::Result<std::unique_ptr<Acceptor>> listen(const Endpoint& at,
                                                   AcceptHandler& handler) override;
    std::unique_ptr<Connecting> connect(const Endpoint& to, ConnectHandler& handler) override;
    core::Result<std::unique_ptr<Stream>> adopt_stream(Handle connection) override;
    core::Result<std::unique_ptr<File>> open_file(const std::string& path,
                                                  const FileOptions& options) override;
    core::Result<std::shared_ptr<EventSource>> take_event(Handle handle) override;
    std::unique_ptr<Event> open_event(std::shared_ptr<EventSource> source) override;
    core::Result<std::unique_ptr<Mapping>> map(Handle handle,
                                               std::uint64_t offset,
                                               std::uint64_t size) override;
    core::Result<Handle> create_shared_memory(std::uint64_t size) override;
    void close(Handle handle) override;

    bool poll() override;
    bool wait(Nanos timeout) override;
    void wake() override;

    /// What the kernel still holds for us: polls and event writes. For tests.
    [[nodiscard]] std::size_t live() const { return ring_->live(); }
    /// Streams whose input is looked for by receiving. For tests.
    [[nodiscard]] std::size_t looked_at() const { return busy_.count(); }

  private:
    LinuxIo(std::unique_ptr<Ring> ring, int wake_fd);
    void on_poll(unsigned tag, unsigned events) override;

    std::unique_ptr<Ring> ring_;
    BusyPoll busy_;
    int wake_fd_;
    Watch* wake_watch_;
};

}  // namespace remora::reactor
