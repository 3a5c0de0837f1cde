// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/connection.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "reactor/reactor.h"

namespace remora::virtio::vhost_user {

Connection::Connection(reactor::Io& io,
                       std::unique_ptr<reactor::Stream> stream,
                       ConnectionHandler& handler)
    : io_(io), stream_(std::move(stream)), handler_(handler) {
    stream_->set_handler(this);
}

void Connection::close() {
    next_turn_.cancel();
    stream_.reset();
    release_message();
    out_size_ = 0;
}

void Connection::lose(std::string reason) {
    close();
    handler_.on_connection_lost(std::move(reason));
}

void Connection::release_message() {
    reactor::HandleBox& box = message_.handles;
    for (std::size_t i = 0; i < box.count; ++i) {
        if (box.handles[i] != reactor::kNoHandle) {
            io_.close(box.handles[i]);
        }
    }
    box.count = 0;
    received_ = 0;
    held_ = false;
}

void Connection::on_ready(reactor::Readiness readiness) {
    hung_up_ |= readiness.hangup;
    if (readiness.writable && !flush()) {
        return;
    }
    read_messages();
}

void Connection::finish_message() {
    CHECK(held_);
    release_message();
    if (!reading_) {
        read_messages();
    }
}

void Connection::on_timer(reactor::Timer& /*timer*/) {
    read_messages();
}

// Reads until the stream would block, the handler holds a message back, replies wait to be sent (a
// peer that does not read its replies is not read from either), or this turn's share is used up.
void Connection::read_messages() {
    reading_ = true;
    Step step = Step::Again;
    int steps = 0;
    while (step == Step::Again && stream_ != nullptr && !held_ && out_size_ == 0) {
        if (++steps > kStepsPerTurn) {
            reactor::Reactor& reactor = reactor::Reactor::current();
            reactor.arm(next_turn_, reactor.now());
            break;
        }
        if (received_ < sizeof(Header)) {
            step = receive(core::as_writable_bytes_of(message_.header).subspan(received_));
        } else if (received_ < sizeof(Header) + message_.header.size) {
            const std::size_t at = received_ - sizeof(Header);
            step = receive(std::span(message_.bytes).first(message_.header.size).subspan(at));
        } else {
            step = dispatch();
        }
    }
    reading_ = false;
}

Connection::Step Connection::receive(std::span<std::byte> into) {
    const core::Segment segment{into.data(), into.size()};
    reactor::HandleBox arrived;
    const std::ptrdiff_t got = stream_->recv({&segment, 1}, &arrived);
    reactor::HandleBox& box = message_.handles;
    bool too_many = false;
    for (std::size_t i = 0; i < arrived.count; ++i) {
        if (box.count < reactor::HandleBox::kMax) {
            box.handles[box.count++] = arrived.handles[i];
        } else {
            io_.close(arrived.handles[i]);
            too_many = true;
        }
    }
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
        // The whole header is here: nothing of the payload is read before it is found sane.
        const std::uint32_t flags = message_.header.flags;
        if ((flags & header_flags::kVersionMask) != header_flags::kVersion) {
            lose("a header of another protocol version");
            return Step::Lost;
        }
        if ((flags & header_flags::kReply) != 0 || message_.header.size > kMaxPayloadBytes) {
            lose("a header that no front end sends");
            return Step::Lost;
        }
    }
    return Step::Again;
}

Connection::Step Connection::dispatch() {
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

void Connection::reply(std::uint32_t request,
                       std::span<const std::byte> payload,
                       reactor::Handle handle) {
    if (stream_ == nullptr) {
        return;
    }
    // One reply a message and no message read before its reply is gone: there is always room.
    CHECK(out_size_ == 0 && sizeof(Header) + payload.size() <= kMaxOutBytes);
    Header header;
    header.request = request;
    header.flags = header_flags::kVersion | header_flags::kReply;
    header.size = static_cast<std::uint32_t>(payload.size());
    std::memcpy(out_.data(), &header, sizeof(header));
    if (!payload.empty()) {
        std::memcpy(out_.data() + sizeof(header), payload.data(), payload.size());
    }
    out_size_ = sizeof(header) + payload.size();
    if (handle == reactor::kNoHandle) {
        flush();
        return;
    }
    // The descriptor goes with the first byte; the socket of a peer that waits for this reply is
    // empty, so a refusal means that the peer is gone or does not play by the rules.
    const core::Segment segment{out_.data(), out_size_};
    const std::ptrdiff_t sent = stream_->send({&segment, 1}, {&handle, 1});
    if (sent <= 0) {
        lose("the reply's descriptor could not be sent");
        return;
    }
    const auto taken = static_cast<std::size_t>(sent);
    std::memmove(out_.data(), out_.data() + taken, out_size_ - taken);
    out_size_ -= taken;
    flush();
}

bool Connection::flush() {
    while (out_size_ > 0) {
        const core::Segment segment{out_.data(), out_size_};
        const std::ptrdiff_t sent = stream_->send({&segment, 1});
        if (sent == -EAGAIN) {
            return true;
        }
        if (sent <= 0) {
            lose(std::string(core::errno_text(static_cast<int>(-sent))));
            return false;
        }
        const auto taken = static_cast<std::size_t>(sent);
        std::memmove(out_.data(), out_.data() + taken, out_size_ - taken);
        out_size_ -= taken;
    }
    return true;
}

}  // namespace remora::virtio::vhost_user
