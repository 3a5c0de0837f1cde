// SPDX-License-Identifier: Apache-2.0
// Io: the only door to the world. Sockets, files, events, shared memory; nothing above this
// folder touches the operating system.
//
// Contract, the same in every implementation (Linux, simulation):
//  - Every object belongs to the reactor whose Io made it and is used on that reactor only.
//  - No handler is called from within a call of the caller's: always from Io::poll().
//  - Readiness is edge-triggered: after on_ready(readable) receive until the stream would block
//    (or a receive came back shorter than asked, without handles); there is no further event before
//    that. The end of the stream may hide behind the last bytes: then the event says `hangup`.
//  - File operations complete whole or fail. Each completes exactly once.
//  - Destroying an object ends its events at once; operations in flight must have ended before.
//  - Results are byte counts, or the negated errno. Nothing throws.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/result.h"
#include "core/segment.h"
#include "reactor/clock.h"
#include "reactor/endpoint.h"

namespace remora::reactor {

/// A descriptor that can be passed between processes: an OS descriptor, or the simulator's.
using Handle = int;
constexpr Handle kNoHandle = -1;

/// Handles that came with a receive. The taker owns them and closes those it does not keep.
struct HandleBox {
    static constexpr std::size_t kMax = 16;
    std::array<Handle, kMax> handles{};
    std::size_t count = 0;
};

struct Readiness {
    bool readable = false;
    bool writable = false;
    bool hangup = false;  ///< The peer closed or the stream failed; recv tells which.
};

class ReadyHandler {
  public:
    virtual void on_ready(Readiness readiness) = 0;

  protected:
    ~ReadyHandler() = default;
};

/// A connected non-blocking byte stream (TCP or unix). Destroying it closes it.
class Stream {
  public:
    virtual ~Stream() = default;
    /// Starts readiness events (null stops them). Already waiting bytes make an event.
    virtual void set_handler(ReadyHandler* handler) = 0;
    /// Bytes received, 0 at the end of the stream, -EAGAIN when it would block, or -errno.
    /// Handles that came along are put into `box` (closed when it is null or full).
    virtual std::ptrdiff_t recv(std::span<const core::Segment> into, HandleBox* box) = 0;
    std::ptrdiff_t recv(std::span<const core::Segment> into) { return recv(into, nullptr); }
    /// Bytes taken, possibly fewer than given. After -EAGAIN a `writable` event follows.
    virtual std::ptrdiff_t send(std::span<const core::Segment> from,
                                std::span<const Handle> handles) = 0;
    std::ptrdiff_t send(std::span<const core::Segment> from) { return send(from, {}); }
    /// Ends our direction once what was sent is delivered.
    virtual void shutdown_send() = 0;
    /// The other side, for logs.
    [[nodiscard]] virtual std::string peer() const = 0;
};

class AcceptHandler {
  public:
    /// The taker owns the connection: gives it to some reactor's Io::adopt_stream, or closes it.
    virtual void on_accept(Handle connection) = 0;

  protected:
    ~AcceptHandler() = default;
};

/// A listening socket. Destroying it stops listening (and unlinks a unix path).
class Acceptor {
  public:
    virtual ~Acceptor() = default;
    /// Where it listens, with the port that was picked.
    [[nodiscard]] virtual Endpoint local() const = 0;
};

class ConnectHandler {
  public:
    virtual void on_connected(core::Result<std::unique_ptr<Stream>> stream) = 0;

  protected:
    ~ConnectHandler() = default;
};

/// A connect under way. Destroying it gives up; then no handler is called.
class Connecting {
  public:
    virtual ~Connecting() = default;
};

struct FileOp;

class FileHandler {
  public:
    virtual void on_file_done(FileOp& op) = 0;

  protected:
    ~FileHandler() = default;
};

/// One file operation, embedded in its owner; owner and segments outlive the completion.
struct FileOp {
    enum class Kind : std::uint8_t {
        Read,
        Write,
        Flush,      ///< Everything written so far is durable.
        PunchHole,  ///< The range reads as zeros and its space is given back.
        ZeroRange,  ///< The range reads as zeros and stays allocated.
    };
    Kind kind = Kind::Read;
    std::uint64_t offset = 0;                 ///< Bytes.
    std::uint64_t length = 0;                 ///< Bytes; for Read and Write the segments' sum.
    std::span<const core::Segment> segments;  ///< Read and Write.
    FileHandler* handler = nullptr;
    int result = 0;          ///< 0 or -errno, valid in on_file_done.
    std::uint64_t done = 0;  ///< For the implementation.
};

/// An open file. All operations have completed before it is destroyed.
class File {
  public:
    virtual ~File() = default;
    virtual void submit(FileOp& op) = 0;
    [[nodiscard]] virtual std::uint64_t size() const = 0;
    /// Makes it so many bytes long, sparse and durably. It blocks: not for a data reactor. Errors:
    /// ResourceExhausted (no space, or over a limit), Internal.
    virtual core::Result<void> grow(std::uint64_t size) = 0;
    /// What memory addresses and file offsets of reads and writes must be multiples of; 1 if free.
    [[nodiscard]] virtual std::size_t memory_alignment() const = 0;
    [[nodiscard]] virtual std::size_t offset_alignment() const = 0;
};

struct FileOptions {
    bool exclusive =
        true;  ///< Refuse (FailedPrecondition) when another open holds it so; and hold it.
    bool create = false;     ///< Make it, sparse, of `size`, when it is not there.
    std::uint64_t size = 0;  ///< Bytes, for create.
    bool direct = true;      ///< Bypass the page cache where the file system can.
};

class EventHandler {
  public:
    virtual void on_event() = 0;

  protected:
    ~EventHandler() = default;
};

/// A counter another process can wait for or signal (eventfd), before a reactor has it. Any
/// thread; the last who holds it closes it.
class EventSource {
  public:
    virtual ~EventSource() = default;
};

/// Such a counter on its reactor: a virtqueue's kick or call.
class Event {
  public:
    virtual ~Event() = default;
    virtual void signal() = 0;
    /// Starts events: on_event once per burst of signals, which it clears.
    virtual void set_handler(EventHandler* handler) = 0;
};

/// Memory shared with another process. Its bytes may change at any time, or vanish: then they
/// read as zeros and `poisoned` tells (a peer that truncates its file must not kill us).
class Mapping {
  public:
    virtual ~Mapping() = default;
    [[nodiscard]] virtual std::span<std::byte> bytes() const = 0;
    [[nodiscard]] virtual bool poisoned() const = 0;
};

class Io {
  public:
    virtual ~Io() = default;

    virtual core::Result<std::unique_ptr<Acceptor>> listen(const Endpoint& at,
                                                           AcceptHandler& handler) = 0;
    virtual std::unique_ptr<Connecting> connect(const Endpoint& to, ConnectHandler& handler) = 0;
    virtual core::Result<std::unique_ptr<Stream>> adopt_stream(Handle connection) = 0;
    virtual core::Result<std::unique_ptr<File>> open_file(const std::string& path,
                                                          const FileOptions& options) = 0;
    /// Takes `handle`, also on an error.
    virtual core::Result<std::shared_ptr<EventSource>> take_event(Handle handle) = 0;
    /// `source`, of any Io of this process, for this reactor.
    virtual std::unique_ptr<Event> open_event(std::shared_ptr<EventSource> source) = 0;
    core::Result<std::unique_ptr<Event>> adopt_event(Handle handle) {
        auto source = take_event(handle);
        if (!source) {
            return std::unexpected(source.error());
        }
        return open_event(std::move(*source));
    }
    /// Maps `size` bytes at `offset` of a shared memory handle (which the caller keeps and may
    /// close afterwards). Refused when the memory is smaller.
    virtual core::Result<std::unique_ptr<Mapping>> map(Handle handle,
                                                       std::uint64_t offset,
                                                       std::uint64_t size) = 0;
    /// New shared memory of `size` zero bytes.
    virtual core::Result<Handle> create_shared_memory(std::uint64_t size) = 0;
    virtual void close(Handle handle) = 0;

    /// Calls the handlers of what is ready. Returns whether there was anything.
    virtual bool poll() = 0;
    /// Blocks until something is ready, wake() is called or `timeout` has passed. False: nothing is
    /// ready, it was the time.
    virtual bool wait(Nanos timeout) = 0;
    /// Ends a wait(). The one call that any thread may make.
    virtual void wake() = 0;
};

}  // namespace remora::reactor
