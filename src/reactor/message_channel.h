// SPDX-License-Identifier: Apache-2.0
// MessageChannel: messages with a header of fixed size over a unix stream, with the descriptors
// that ride along; the serving side of vhost-user and vfio-user.
//
// It reads one message at a time, the header and the payload by receives of exactly their size:
// descriptors arrive with the first byte of their message, and the kernel would hand them out with
// an earlier message's bytes if a receive asked for more. A message may come in any number of
// pieces. A peer may have many under way; they are dealt with in order, each after the reply to the
// one before has been sent. The taker may hold a message back (it waits for requests to end);
// nothing is read before it says finish_message(). Owned by its session, on the session's reactor.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/result.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"

namespace remora::reactor {

/// A received message of the protocol `W`, which has
///   Header                             as it is on the wire
///   kMaxPayloadBytes, kMaxReplyBytes   what a message, and a reply, has besides its header
///   fault(header)                      what is wrong with it, or null
///   payload_bytes(header)              of one without a fault: at most kMaxPayloadBytes
/// Handles not taken are closed when the message is finished.
template <typename W>
struct ReceivedMessage {
    using Wire = W;
    typename Wire::Header header;
    std::array<std::byte, Wire::kMaxPayloadBytes> bytes{};
    HandleBox handles;

    [[nodiscard]] std::span<const std::byte> payload() const {
        return std::span(bytes).first(Wire::payload_bytes(header));
    }
    /// The first bytes of the payload as a T; `rest` is what follows. False when it is shorter.
    template <typename T>
    [[nodiscard]] bool read(T& out, std::span<const std::byte>& rest) const {
        core::ByteReader reader(payload());
        return reader.read(out) && reader.take(reader.remaining(), rest);
    }
    /// The whole payload as a T; false when its size is another.
    template <typename T>
    [[nodiscard]] bool read(T& out) const {
        std::span<const std::byte> rest;
        return read(out, rest) && rest.empty();
    }
    /// Hands one descriptor over to the caller.
    Handle take_handle(std::size_t index) {
        return std::exchange(handles.handles[index], kNoHandle);
    }
};

/// M: a ReceivedMessage.
template <typename M>
class MessageHandler {
  public:
    /// A whole message is there. Returns whether it is dealt with; if not, it is kept and nothing
    /// more is read until MessageChannel::finish_message().
    virtual bool on_message(M& message) = 0;
    /// The stream ended or the peer broke the framing. Called once, last.
    virtual void on_connection_lost(std::string reason) = 0;

  protected:
    ~MessageHandler() = default;
};

/// Of a channel on which nothing is under way: what has come of the next message.
struct ChannelState {
    std::vector<std::byte> received;
    std::vector<Handle> handles;
};

template <typename M>
class MessageChannel final : private ReadyHandler, private TimerHandler {
    using Wire = typename M::Wire;
    using Header = typename Wire::Header;

  public:
    MessageChannel(Io& io, std::unique_ptr<Stream> stream, MessageHandler<M>& handler)
        : io_(io), stream_(std::move(stream)), handler_(handler) {
        stream_->set_handler(this);
    }
    MessageChannel(const MessageChannel&) = delete;
    MessageChannel& operator=(const MessageChannel&) = delete;
    ~MessageChannel() { close(); }

    /// Where the payload of the next reply may be written, so that it needs no other place.
    std::span<std::byte> reply_payload() { return std::span(out_).subspan(sizeof(Header)); }
    /// Sends the header with the first `bytes` of reply_payload(), or queues what the socket does
    /// not take. `handle` (or kNoHandle) rides along and stays the caller's.
    void reply(const Header& header, std::size_t bytes, Handle handle = kNoHandle);

    /// The message that was kept back.
    M& message() { return message_; }
    /// The kept message is dealt with: reads on.
    void finish_message();

    /// No message is held back, and no reply waits to be sent.
    [[nodiscard]] bool quiet() const { return !held_ && out_begin_ == out_end_; }
    /// Of a quiet one, which does nothing any more from then on.
    ChannelState freeze();
    /// Before anything was read: takes the handles.
    void restore(const ChannelState& from);

    /// Closes the stream at once and the held message's handles. No handler is called after it.
    void close();
    [[nodiscard]] bool open() const { return stream_ != nullptr; }
    /// The peer has hung up, though messages may still be unread.
    [[nodiscard]] bool hung_up() const { return hung_up_; }

  private:
    enum class Step { Again, Blocked, Lost };

    void on_ready(Readiness readiness) override;
    void on_timer(Timer& /*timer*/) override { read_messages(); }
    void read_messages();
    Step receive(std::span<std::byte> into);
    void take_handles(const HandleBox& arrived);
    Step dispatch();
    void release_message();
    bool flush();
    void lose(std::string reason);

    /// Receives in one turn: a peer that never stops sending gets its share of the reactor.
    static constexpr int kStepsPerTurn = 256;
    /// The same in time, looked at between messages: what one asks for may take long.
    static constexpr Nanos kTimePerTurn{200'000};

    Io& io_;
    Timer next_turn_{*this};
    std::unique_ptr<Stream> stream_;
    MessageHandler<M>& handler_;
    M message_;
    std::size_t received_ = 0;  // bytes of the header and payload so far
    bool held_ = false;         // message_ is with the handler
    bool reading_ = false;      // read_messages() is on the stack
    bool hung_up_ = false;
    std::array<std::byte, sizeof(Header) + Wire::kMaxReplyBytes> out_{};
    std::size_t out_begin_ = 0;  // sent so far
    std::size_t out_end_ = 0;    // equal: nothing waits
};

template <typename M>
void MessageChannel<M>::close() {
    next_turn_.cancel();
    stream_.reset();
    release_message();
    out_begin_ = out_end_ = 0;
}

template <typename M>
void MessageChannel<M>::lose(std::string reason) {
    close();
    handler_.on_connection_lost(std::move(reason));
}

template <typename M>
void MessageChannel<M>::release_message() {
    HandleBox& box = message_.handles;
    for (std::size_t i = 0; i < box.count; ++i) {
        if (box.handles[i] != kNoHandle) {
            io_.close(box.handles[i]);
        }
    }
    box.count = 0;
    received_ = 0;
    held_ = false;
}

template <typename M>
void MessageChannel<M>::on_ready(Readiness readiness) {
    hung_up_ |= readiness.hangup;
    if (readiness.writable && !flush()) {
        return;
    }
    read_messages();
}

template <typename M>
void MessageChannel<M>::finish_message() {
    CHECK(held_);
    release_message();
    if (!reading_) {
        read_messages();
    }
}

// Reads until the stream would block, the handler holds a message back, a reply waits to be sent (a
// peer that does not read its replies is not read from either), or this turn's share is used up.
template <typename M>
void MessageChannel<M>::read_messages() {
    reading_ = true;
    Reactor& reactor = Reactor::current();
    const Nanos end = reactor.measure_now() + kTimePerTurn;
    Step step = Step::Again;
    int steps = 0;
    while (step == Step::Again && stream_ != nullptr && !held_ && out_begin_ == out_end_) {
        if (++steps > kStepsPerTurn || (received_ == 0 && reactor.measure_now() > end)) {
            reactor.arm(next_turn_, reactor.now());
            break;
        }
        if (received_ < sizeof(Header)) {
            step = receive(core::as_writable_bytes_of(message_.header).subspan(received_));
            continue;
        }
        const std::size_t got = received_ - sizeof(Header);
        const std::size_t size = Wire::payload_bytes(message_.header);
        step =
            got < size ? receive(std::span(message_.bytes).first(size).subspan(got)) : dispatch();
    }
    reading_ = false;
}

template <typename M>
void MessageChannel<M>::take_handles(const HandleBox& arrived) {
    HandleBox& box = message_.handles;
    for (std::size_t i = 0; i < arrived.count; ++i) {
        if (box.count < HandleBox::kMax) {
            box.handles[box.count++] = arrived.handles[i];
        } else {
            io_.close(arrived.handles[i]);
        }
    }
}

template <typename M>
typename MessageChannel<M>::Step MessageChannel<M>::receive(std::span<std::byte> into) {
    const core::Segment segment{into.data(), into.size()};
    HandleBox arrived;
    const std::ptrdiff_t got = stream_->recv({&segment, 1}, &arrived);
    const bool too_many = message_.handles.count + arrived.count > HandleBox::kMax;
    take_handles(arrived);
    if (too_many) {
        lose("more descriptors than any message has");
        return Step::Lost;
    }
    if (got == -EAGAIN || got == -EINTR) {
        return Step::Blocked;
    }
    if (got <= 0) {
        lose(got == 0 ? std::string(received_ == 0 ? "" : "closed within a message")
                      : std::string(core::errno_text(static_cast<int>(-got))));
        return Step::Lost;
    }
    received_ += static_cast<std::size_t>(got);
    if (received_ == sizeof(Header)) {
        // Nothing of the payload is read before the header is found sane.
        if (const char* fault = Wire::fault(message_.header); fault != nullptr) {
            lose(fault);
            return Step::Lost;
        }
    }
    return Step::Again;
}

template <typename M>
typename MessageChannel<M>::Step MessageChannel<M>::dispatch() {
    held_ = true;
    const bool done = handler_.on_message(message_);
    if (stream_ == nullptr) {
        return Step::Lost;
    }
    if (done) {
        release_message();
    }
    return Step::Again;
}

template <typename M>
void MessageChannel<M>::reply(const Header& header, std::size_t bytes, Handle handle) {
    if (stream_ == nullptr) {
        return;
    }
    // One reply a message and no message read before its reply is gone: there is always room.
    CHECK(out_begin_ == out_end_ && sizeof(Header) + bytes <= out_.size());
    std::memcpy(out_.data(), &header, sizeof(header));
    out_begin_ = 0;
    out_end_ = sizeof(Header) + bytes;
    if (handle != kNoHandle) {
        // The descriptor goes with the first byte. A socket that has not even room for a header is
        // that of a peer which does not read.
        const core::Segment segment{out_.data(), out_end_};
        const std::ptrdiff_t sent = stream_->send({&segment, 1}, {&handle, 1});
        if (sent <= 0) {
            lose("the reply's descriptor could not be sent");
            return;
        }
        out_begin_ += static_cast<std::size_t>(sent);
    }
    flush();
}

template <typename M>
bool MessageChannel<M>::flush() {
    while (out_begin_ < out_end_) {
        const core::Segment segment{out_.data() + out_begin_, out_end_ - out_begin_};
        const std::ptrdiff_t sent = stream_->send({&segment, 1});
        if (sent == -EAGAIN) {
            return true;
        }
        if (sent <= 0) {
            lose(std::string(core::errno_text(static_cast<int>(-sent))));
            return false;
        }
        out_begin_ += static_cast<std::size_t>(sent);
    }
    out_begin_ = out_end_ = 0;
    return true;
}

template <typename M>
ChannelState MessageChannel<M>::freeze() {
    CHECK(quiet() && open());
    next_turn_.cancel();
    stream_->set_handler(nullptr);
    ChannelState state;
    const std::size_t in_header = std::min(received_, sizeof(Header));
    const auto header = core::as_bytes_of(message_.header).first(in_header);
    const auto payload = std::span(message_.bytes).first(received_ - in_header);
    state.received.assign(header.begin(), header.end());
    state.received.insert(state.received.end(), payload.begin(), payload.end());
    const auto handles = std::span(message_.handles.handles).first(message_.handles.count);
    state.handles.assign(handles.begin(), handles.end());
    return state;
}

template <typename M>
void MessageChannel<M>::restore(const ChannelState& from) {
    CHECK(received_ == 0 && !held_ && message_.handles.count == 0);
    const std::span<const std::byte> bytes = from.received;
    const std::size_t in_header = std::min(bytes.size(), sizeof(Header));
    const std::size_t in_payload = std::min(bytes.size() - in_header, message_.bytes.size());
    std::ranges::copy(bytes.first(in_header), core::as_writable_bytes_of(message_.header).begin());
    std::ranges::copy(bytes.subspan(in_header, in_payload), message_.bytes.begin());
    received_ = in_header + in_payload;
    HandleBox box;
    for (const Handle handle : from.handles) {
        if (box.count == HandleBox::kMax) {
            io_.close(handle);
        } else {
            box.handles[box.count++] = handle;
        }
    }
    take_handles(box);
    const char* fault = received_ >= sizeof(Header) ? Wire::fault(message_.header) : nullptr;
    if (fault != nullptr) {
        lose(fault);
    } else if (received_ > 0) {
        // All of the message may be here: nothing that comes later would say so.
        Reactor& reactor = Reactor::current();
        reactor.arm(next_turn_, reactor.now());
    }
}

}  // namespace remora::reactor
