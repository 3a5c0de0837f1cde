// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vhost_socket.h"

#include <array>
#include <cstring>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/check.h"

namespace remora::test {

namespace vu = virtio::vhost_user;

namespace {

bool wait_readable(int fd, int timeout_ms) {
    pollfd waited{.fd = fd, .events = POLLIN, .revents = 0};
    return poll(&waited, 1, timeout_ms) == 1;
}

}  // namespace

Fd::~Fd() {
    if (fd_ >= 0) {
        close(fd_);
    }
}

Fd make_eventfd() {
    return Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

void signal_eventfd(const Fd& event) {
    const std::uint64_t one = 1;
    const ssize_t put = write(event.get(), &one, sizeof(one));
    CHECK(put == sizeof(one));
}

bool wait_eventfd(const Fd& event, int timeout_ms) {
    std::uint64_t count = 0;
    return wait_readable(event.get(), timeout_ms) &&
           read(event.get(), &count, sizeof(count)) == sizeof(count);
}

std::optional<VhostSocket> VhostSocket::connect(const std::string& path) {
    Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (!fd.valid() || path.size() >= sizeof(address.sun_path)) {
        return std::nullopt;
    }
    std::memcpy(address.sun_path, path.data(), path.size());
    if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
        return std::nullopt;
    }
    return VhostSocket(std::move(fd));
}

bool VhostSocket::send_bytes(std::span<const std::byte> bytes, std::span<const int> fds) {
    std::size_t sent = 0;
    while (sent < bytes.size()) {
        iovec part{.iov_base = const_cast<std::byte*>(bytes.data() + sent),
                   .iov_len = bytes.size() - sent};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        std::array<std::byte, CMSG_SPACE(sizeof(int) * 32)> control{};
        if (sent == 0 && !fds.empty()) {
            CHECK(fds.size() <= 32);
            message.msg_control = control.data();
            message.msg_controllen = CMSG_SPACE(fds.size_bytes());
            cmsghdr* header = CMSG_FIRSTHDR(&message);
            header->cmsg_level = SOL_SOCKET;
            header->cmsg_type = SCM_RIGHTS;
            header->cmsg_len = CMSG_LEN(fds.size_bytes());
            std::memcpy(CMSG_DATA(header), fds.data(), fds.size_bytes());
        }
        const ssize_t done = sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
        if (done <= 0) {
            return false;
        }
        sent += static_cast<std::size_t>(done);
    }
    return true;
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
    while (!into.empty()) {
        if (!wait_readable(fd_.get(), timeout_ms)) {
            return false;
        }
        iovec part{.iov_base = into.data(), .iov_len = into.size()};
        std::array<std::byte, CMSG_SPACE(sizeof(int) * 8)> control{};
        msghdr message{};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control.data();
        message.msg_controllen = control.size();
        const ssize_t got = recvmsg(fd_.get(), &message, MSG_CMSG_CLOEXEC);
        if (got <= 0) {
            return false;
        }
        for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
             header = CMSG_NXTHDR(&message, header)) {
            const std::size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t i = 0; i < count; ++i) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(header) + i * sizeof(int), sizeof(fd));
                fds.emplace_back(fd);
            }
        }
        into = into.subspan(static_cast<std::size_t>(got));
    }
    return true;
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
    std::array<std::byte, 256> skipped{};
    while (wait_readable(fd_.get(), timeout_ms)) {
        const ssize_t got = recv(fd_.get(), skipped.data(), skipped.size(), 0);
        if (got <= 0) {
            return true;
        }
    }
    return false;
}

}  // namespace remora::test
