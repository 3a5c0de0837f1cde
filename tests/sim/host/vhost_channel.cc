// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/vhost_channel.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "core/check.h"
#include "reactor/connect.h"

namespace remora::sim {

namespace vu = virtio::vhost_user;
using reactor::Nanos;
using reactor::Task;

Task<core::Result<void>> VhostChannel::open(std::string path, Nanos deadline) {
    CHECK(!open_ && stream_ == nullptr);
    auto stream =
        co_await reactor::connect(reactor::Endpoint::unix_path(std::move(path)), deadline);
    if (!stream) {
        co_return std::unexpected(stream.error());
    }
    stream_ = std::move(*stream);
    open_ = true;
    awaited_ = 0;
    changed_.reset();
    stream_->set_handler(this);
    co_return core::Result<void>();
}

void VhostChannel::close() {
    open_ = false;
    stream_.reset();
    outgoing_.clear();
    incoming_.clear();
    replies_.clear();
    for (const reactor::Handle handle : incoming_handles_) {
        reactor_.io().close(handle);
    }
    incoming_handles_.clear();
    changed_.notify();
}

void VhostChannel::lose() {
    if (!open_) {
        return;
    }
    open_ = false;
    stream_->set_handler(nullptr);
    changed_.notify();
    if (on_lost_) {
        on_lost_();
    }
}

std::vector<std::byte> VhostChannel::encode(std::uint32_t request,
                                            std::uint32_t flags,
                                            std::span<const std::byte> payload) {
    vu::Header header;
    header.request = request;
    header.flags = flags;
    header.size = static_cast<std::uint32_t>(payload.size());
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::ranges::copy(payload, bytes.begin() + sizeof(header));
    return bytes;
}

void VhostChannel::send_bytes(std::vector<std::byte> bytes,
                              std::vector<reactor::Handle> handles,
                              std::size_t piece) {
    if (open_ && !bytes.empty()) {
        outgoing_.push_back({std::move(bytes), std::move(handles), piece, 0});
        flush();
    }
}

void VhostChannel::send(RequestType type,
                        std::span<const std::byte> payload,
                        std::span<const reactor::Handle> handles,
                        bool need_reply,
                        bool answered) {
    awaited_ += answered ? 1U : 0U;
    const std::uint32_t flags =
        vu::header_flags::kVersion | (need_reply ? vu::header_flags::kNeedReply : 0U);
    send_bytes(encode(static_cast<std::uint32_t>(type), flags, payload),
               {handles.begin(), handles.end()});
}

void VhostChannel::flush() {
    while (open_ && !outgoing_.empty()) {
        Outgoing& next = outgoing_.front();
        std::size_t size = next.bytes.size() - next.done;
        if (next.piece != 0) {
            size = std::min(size, next.piece);
        }
        const core::Segment from{next.bytes.data() + next.done, size};
        const std::ptrdiff_t taken = stream_->send(
            {&from, 1}, next.done == 0 ? std::span<const reactor::Handle>(next.handles)
                                       : std::span<const reactor::Handle>());
        if (taken == -EAGAIN || taken == -EWOULDBLOCK) {
            return;
        }
        if (taken < 0) {
            return;  // Lost: the readiness event says so, not this call of the caller's.
        }
        next.done += static_cast<std::size_t>(taken);
        if (next.done == next.bytes.size()) {
            outgoing_.pop_front();
        }
    }
    if (outgoing_.empty()) {
        changed_.notify();
    }
}

// Receives by exactly what the message still lacks, so that handles stay with their message.
bool VhostChannel::read_some() {
    constexpr std::size_t kHeader = sizeof(vu::Header);
    std::size_t wanted = kHeader;
    vu::Header header;
    if (incoming_.size() >= kHeader) {
        std::memcpy(&header, incoming_.data(), kHeader);
        wanted += header.size;
    }
    std::array<std::byte, kHeader + vu::kMaxPayloadBytes> bytes;
    const core::Segment into{bytes.data(), wanted - incoming_.size()};
    reactor::HandleBox box;
    const std::ptrdiff_t got = stream_->recv({&into, 1}, &box);
    incoming_handles_.insert(incoming_handles_.end(), box.handles.begin(),
                             box.handles.begin() + static_cast<std::ptrdiff_t>(box.count));
    if (got == -EAGAIN || got == -EWOULDBLOCK) {
        return false;
    }
    if (got <= 0) {
        lose();
        return false;
    }
    incoming_.insert(incoming_.end(), bytes.begin(), bytes.begin() + got);
    if (incoming_.size() < kHeader) {
        return true;
    }
    std::memcpy(&header, incoming_.data(), kHeader);
    const bool proper =
        header.size <= vu::kMaxPayloadBytes &&
        (header.flags & vu::header_flags::kVersionMask) == vu::header_flags::kVersion &&
        (header.flags & vu::header_flags::kReply) != 0;
    if (!proper || (awaited_ == 0 && violation_)) {
        if (violation_) {
            violation_(proper ? "an answer that nobody asked for" : "an answer with a bad header");
        }
        lose();
        return false;
    }
    if (incoming_.size() == kHeader + header.size) {
        VhostReply reply(reactor_.io());
        reply.header = header;
        reply.payload.assign(incoming_.begin() + kHeader, incoming_.end());
        reply.handles = std::exchange(incoming_handles_, {});
        replies_.push_back(std::move(reply));
        incoming_.clear();
        awaited_ -= awaited_ > 0 ? 1U : 0U;
        changed_.notify();
    }
    return true;
}

void VhostChannel::on_ready(reactor::Readiness readiness) {
    if (readiness.writable) {
        flush();
    }
    if (readiness.readable || readiness.hangup) {
        while (open_ && read_some()) {
        }
    }
}

Task<std::optional<VhostReply>> VhostChannel::receive(Nanos deadline) {
    while (replies_.empty() && open_ && reactor_.now() < deadline) {
        co_await changed_.wait_until(deadline);
    }
    if (replies_.empty()) {
        co_return std::nullopt;
    }
    std::optional<VhostReply> reply(std::move(replies_.front()));
    replies_.pop_front();
    co_return reply;
}

Task<bool> VhostChannel::sent(Nanos deadline) {
    while (!outgoing_.empty() && open_ && reactor_.now() < deadline) {
        co_await changed_.wait_until(deadline);
    }
    co_return outgoing_.empty() && open_;
}

}  // namespace remora::sim
