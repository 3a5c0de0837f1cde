// SPDX-License-Identifier: Apache-2.0
// A raw vhost-user socket that can say anything, for tests and for bench/vhost_load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_reader.h"
#include "tests/support/fd.h"
#include "virtio/vhost_user/message.h"

namespace remora::test {

using virtio::vhost_user::RequestType;

/// What came back on the socket.
struct Reply {
    virtio::vhost_user::Header header;
    std::vector<std::byte> payload;
    std::vector<Fd> fds;

    template <typename T>
    [[nodiscard]] std::optional<T> as() const {
        T value;
        core::ByteReader reader(payload);
        return reader.read(value) ? std::optional<T>(value) : std::nullopt;
    }
    [[nodiscard]] std::optional<std::uint64_t> u64() const {
        const auto value = as<virtio::vhost_user::U64>();
        return value ? std::optional<std::uint64_t>(value->value) : std::nullopt;
    }
};

/// The raw socket.
class VhostSocket {
  public:
    static constexpr int kTimeoutMs = 10'000;

    static std::optional<VhostSocket> connect(const std::string& path);

    /// Sends bytes as they are, with descriptors on the first.
    bool send_bytes(std::span<const std::byte> bytes, std::span<const int> fds = {});
    bool send(RequestType type,
              std::span<const std::byte> payload = {},
              std::span<const int> fds = {},
              bool need_reply = false);
    template <typename T>
    bool send_struct(RequestType type,
                     const T& payload,
                     std::span<const int> fds = {},
                     bool need_reply = false) {
        return send(type, core::as_bytes_of(payload), fds, need_reply);
    }
    bool send_u64(RequestType type,
                  std::uint64_t value,
                  std::span<const int> fds = {},
                  bool need_reply = false);
    std::optional<Reply> receive(int timeout_ms = kTimeoutMs);
    /// Whether the other side closes within the time (anything it still says is skipped).
    bool closed_by_peer(int timeout_ms = kTimeoutMs);
    [[nodiscard]] int fd() const { return fd_.get(); }

  private:
    explicit VhostSocket(Fd fd) : fd_(std::move(fd)) {}
    bool receive_exactly(std::span<std::byte> into, std::vector<Fd>& fds, int timeout_ms);
    Fd fd_;
};

}  // namespace remora::test
