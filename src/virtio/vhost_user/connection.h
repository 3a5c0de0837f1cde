// SPDX-License-Identifier: Apache-2.0
// Connection: vhost-user messages over a unix stream, with the descriptors that ride along.
//
// It reads one message at a time, the header and the payload by receives of exactly their size:
// descriptors arrive with the first byte of their message, and the kernel would hand them out with
// an earlier message's bytes if a receive asked for more. A message may come in any number of
// pieces. The taker may hold a message back (it waits for queues to drain); nothing is read before
// it says resume(). Owned by its session, on the session's reactor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "core/byte_reader.h"
#include "reactor/io.h"
#include "reactor/timer.h"
#include "virtio/vhost_user/message.h"

namespace remora::virtio::vhost_user {

/// A received message. Handles not taken are closed when the message is finished.
struct Message {
    Header header;
    std::array<std::byte, kMaxPayloadBytes> bytes{};
    reactor::HandleBox handles;

    [[nodiscard]] RequestType type() const {
        return static_cast<RequestType>(header.request.get());
    }
    [[nodiscard]] bool needs_reply() const {
        return (header.flags & header_flags::kNeedReply) != 0;
    }
    [[nodiscard]] std::span<const std::byte> payload() const {
        return std::span(bytes).first(header.size);
    }
    /// The payload as a T; false when its size is another.
    template <typename T>
    [[nodiscard]] bool read(T& out) const {
        core::ByteReader reader(payload());
        return header.size == sizeof(T) && reader.read(out);
    }
    /// Hands one descriptor over to the caller.
    reactor::Handle take_handle(std::size_t index) {
        return std::exchange(handles.handles[index], reactor::kNoHandle);
    }
};

class ConnectionHandler {
  public:
    /// A whole message is there. Returns whether it is dealt with; if not, it is kept and nothing
    /// more is read until Connection::finish_message().
    virtual bool on_message(Message& message) = 0;
    /// The stream ended or the peer broke the framing. Called once, last.
    virtual void on_connection_lost(std::string reason) = 0;

  protected:
    ~ConnectionHandler() = default;
};

class Connection final : private reactor::ReadyHandler, private reactor::TimerHandler {
  public:
    Connection(reactor::Io& io,
               std::unique_ptr<reactor::Stream> stream,
               ConnectionHandler& handler);
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() { close(); }

    /// Queues a reply to `request` and sends what can be sent. `handle` (or kNoHandle) rides along
    /// and stays the caller's.
    void reply(std::uint32_t request, std::span<const std::byte> payload, reactor::Handle handle);

    /// The message that was kept back.
    Message& message() { return message_; }
    /// The kept message is dealt with: reads on.
    void finish_message();

    /// Closes the stream at once and the held message's handles. No handler is called after it.
    void close();
    [[nodiscard]] bool open() const { return stream_ != nullptr; }
    /// The peer has hung up, though messages may still be unread.
    [[nodiscard]] bool hung_up() const { return hung_up_; }

  private:
    enum class Step { Again, Blocked, Lost };

    void on_ready(reactor::Readiness readiness) override;
    void on_timer(reactor::Timer& timer) override;
    void read_messages();
    Step receive(std::span<std::byte> into);
    Step dispatch();
    void release_message();
    bool flush();
    void lose(std::string reason);

    static constexpr std::size_t kMaxOutBytes = 1024;
    /// Receives in one turn: a peer that never stops sending gets its share of the reactor.
    static constexpr int kStepsPerTurn = 256;

    reactor::Io& io_;
    reactor::Timer next_turn_{*this};
    std::unique_ptr<reactor::Stream> stream_;
    ConnectionHandler& handler_;
    Message message_;
    std::size_t received_ = 0;  // bytes of the header and payload so far
    bool held_ = false;         // message_ is with the handler
    bool reading_ = false;      // read_messages() is on the stack
    bool hung_up_ = false;
    std::array<std::byte, kMaxOutBytes> out_{};
    std::size_t out_size_ = 0;
};

}  // namespace remora::virtio::vhost_user
