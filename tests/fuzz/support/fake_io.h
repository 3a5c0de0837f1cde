// SPDX-License-Identifier: Apache-2.0
// FakeIo: a world of memory behind the seam reactor/io.h, for fuzzers. Streams are pairs of byte
// queues, events are counters, shared memory is plain memory of exactly its size, and a handle is a
// number in a table. Nothing happens but in poll(), in one order, so a run depends on its input
// alone.
//
// What one send() gave arrives in one poll() as a whole, and the next one a poll later: whoever
// sends decides how the stream is cut. As in the kernel, a receive ends where handles begin.
//
// It checks its user: closing or using a handle that is not open, and leaving one open, abort.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "reactor/io.h"

namespace remora::fuzz {

using reactor::Handle;
using reactor::Nanos;

namespace detail {
struct End;
struct Counter;
struct Memory;
class FakeStream;
class FakeEvent;
class FakeAcceptor;
class FakeConnecting;
}  // namespace detail

class FakeIo final : public reactor::Io {
  public:
    FakeIo();
    FakeIo(const FakeIo&) = delete;
    FakeIo& operator=(const FakeIo&) = delete;
    ~FakeIo() override;

    core::Result<std::unique_ptr<reactor::Acceptor>> listen(
        const reactor::Endpoint& at, reactor::AcceptHandler& handler) override;
    std::unique_ptr<reactor::Connecting> connect(const reactor::Endpoint& to,
                                                 reactor::ConnectHandler& handler) override;
    core::Result<std::unique_ptr<reactor::Stream>> adopt_stream(Handle connection) override;
    core::Result<std::unique_ptr<reactor::File>> open_file(
        const std::string& path, const reactor::FileOptions& options) override;
    core::Result<std::shared_ptr<reactor::EventSource>> take_event(Handle handle) override;
    std::unique_ptr<reactor::Event> open_event(
        std::shared_ptr<reactor::EventSource> source) override;
    core::Result<std::unique_ptr<reactor::Mapping>> map(Handle handle,
                                                        std::uint64_t offset,
                                                        std::uint64_t size) override;
    core::Result<Handle> create_shared_memory(std::uint64_t size) override;
    void close(Handle handle) override;
    bool poll() override;
    bool wait(Nanos timeout) override;
    void wake() override {}

    // --- For the one who plays the world ---
    /// A stream to whoever listens at `to`; it is accepted in the next poll(). Null: nobody does.
    std::unique_ptr<reactor::Stream> dial(const reactor::Endpoint& to);
    /// A new handle to a counter, and what it counts.
    Handle create_event();
    /// A handle to a socket whose other side is gone.
    Handle create_socket();
    void signal(Handle event);
    std::uint64_t count(Handle event) const;
    /// The memory behind a handle; empty when it is none.
    std::span<std::byte> memory(Handle handle) const;
    /// All mappings of it are as if the other side had cut it off.
    void poison(Handle memory);
    /// The other side of this stream gets a reset instead of what it has not read.
    static void break_stream(reactor::Stream& stream);

    /// Something will happen in the next poll() without time passing.
    [[nodiscard]] bool busy() const;
    /// Handles, streams, events, mappings and acceptors that exist.
    [[nodiscard]] std::size_t open_objects() const { return handles_.size() + objects_; }

    std::size_t window = std::size_t{1} << 20U;  ///< Bytes a stream takes before it blocks.

  private:
    friend class detail::FakeStream;
    friend class detail::FakeEvent;
    friend class detail::FakeAcceptor;
    friend class detail::FakeConnecting;
    friend class FakeMapping;

    struct Object {
        std::shared_ptr<detail::End> end;
        std::shared_ptr<detail::Counter> counter;
        std::shared_ptr<detail::Memory> memory;
    };
    struct Dialled {
        reactor::Endpoint to;
        Handle connection;
    };
    Handle add(Object object);
    const Object& at(Handle handle) const;
    std::unique_ptr<reactor::Stream> stream_of(std::shared_ptr<detail::End> end);
    std::unique_ptr<reactor::Stream> connect_pair(Handle& other);
    bool poll_accepts();
    bool poll_connects();
    bool poll_streams();
    bool poll_events();

    std::map<Handle, Object> handles_;
    Handle next_handle_ = 100;
    std::uint16_t next_port_ = 4420;
    std::uint64_t next_id_ = 1;
    std::size_t objects_ = 0;
    // By number, in the order they were made: a handler may end any of them.
    std::map<std::uint64_t, detail::FakeStream*> streams_;
    std::map<std::uint64_t, detail::FakeEvent*> events_;
    std::map<std::uint64_t, detail::FakeConnecting*> connecting_;
    std::map<reactor::Endpoint, reactor::AcceptHandler*> listeners_;
    std::deque<Dialled> dialled_;
};

}  // namespace remora::fuzz
