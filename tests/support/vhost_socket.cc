// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vhost_socket.h"

#include <cstring>

namespace remora::test {

namespace vu = virtio::vhost_user;

std::optional<VhostSocket> VhostSocket::connect(const std::string& path) {
    Fd fd = connect_unix(path);
    return fd.valid() ? std::optional(VhostSocket(std::move(fd))) : std::nullopt;
}

bool VhostSocket::send_bytes(std::span<const std::byte> bytes, std::span<const int> fds) {
    return send_with_fds(fd_.get(), bytes, fds);
}

bool VhostSocket::send(RequestType type,
                       std::span<const std::byte> payload,
                       std::span<const int> fds,
                       bool need_reply) {
    vu::Header header;
    header.request = static_cast<std::uint32_t>(type);
    header.flags = vu::header_flags::kVersion | (need_reply ? vu::header_flags::kNeedReply : 0U);
    header.size = static_cast<std::uint32_t>(payload.size());
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    if (!payload.empty()) {
        std::memcpy(bytes.data() + sizeof(header), payload.data(), payload.size());
    }
    return send_bytes(bytes, fds);
}

bool VhostSocket::send_u64(RequestType type,
                           std::uint64_t value,
                           std::span<const int> fds,
                           bool need_reply) {
    vu::U64 payload;
    payload.value = value;
    return send_struct(type, payload, fds, need_reply);
}

bool VhostSocket::receive_exactly(std::span<std::byte> into, std::vector<Fd>& fds, int timeout_ms) {
    return receive_with_fds(fd_.get(), into, fds, timeout_ms);
}

std::optional<Reply> VhostSocket::receive(int timeout_ms) {
    Reply reply;
    if (!receive_exactly(core::as_writable_bytes_of(reply.header), reply.fds, timeout_ms) ||
        reply.header.size > vu::kMaxPayloadBytes) {
        return std::nullopt;
    }
    reply.payload.resize(reply.header.size);
    if (!receive_exactly(reply.payload, reply.fds, timeout_ms)) {
        return std::nullopt;
    }
    return reply;
}

bool VhostSocket::closed_by_peer(int timeout_ms) {
    return closes(fd_.get(), timeout_ms);
}

}  // namespace remora::test
