// SPDX-License-Identifier: Apache-2.0
// VhostChannel: the front end's side of a vhost-user socket: whole messages out, answers in. It
// says whatever it is told to, so guests that lie use it too. Spec: QEMU
// docs/interop/vhost-user.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/byte_reader.h"
#include "reactor/io.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "virtio/vhost_user/message.h"

namespace remora::sim {

/// An answer of the back end. Handles that nobody takes are closed with it.
class VhostReply {
  public:
    explicit VhostReply(reactor::Io& io) : io_(&io) {}
    VhostReply(VhostReply&& other) noexcept
        : header(other.header),
          payload(std::move(other.payload)),
          handles(std::exchange(other.handles, {})),
          io_(other.io_) {}
    VhostReply& operator=(VhostReply&&) = delete;
    ~VhostReply() {
        for (const reactor::Handle handle : handles) {
            io_->close(handle);
        }
    }

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

    virtio::vhost_user::Header header;
    std::vector<std::byte> payload;
    std::vector<reactor::Handle> handles;

  private:
    reactor::Io* io_;
};

class VhostChannel final : private reactor::ReadyHandler {
  public:
    using RequestType = virtio::vhost_user::RequestType;
    using Callback = std::function<void()>;
    using Violation = std::function<void(std::string what)>;

    /// `on_lost` is called from a poll of the Io, once a connection. A null `violation` is for
    /// front ends that cannot ask for good manners.
    VhostChannel(reactor::Reactor& reactor, Callback on_lost, Violation violation)
        : reactor_(reactor), on_lost_(std::move(on_lost)), violation_(std::move(violation)) {}
    VhostChannel(const VhostChannel&) = delete;
    VhostChannel& operator=(const VhostChannel&) = delete;
    ~VhostChannel() { close(); }

    /// Requires that it is closed. Errors: see reactor::connect.
    reactor::Task<core::Result<void>> open(std::string path, reactor::Nanos deadline);
    /// Not from within on_lost.
    void close();
    [[nodiscard]] bool is_open() const { return open_; }

    /// Queues bytes, cut into sends of at most `piece` bytes (0: as they come). The handles ride
    /// with the first byte and stay the caller's; they must live until the bytes are sent.
    void send_bytes(std::vector<std::byte> bytes,
                    std::vector<reactor::Handle> handles = {},
                    std::size_t piece = 0);
    /// Queues a message. `answered`: one answer is to come.
    void send(RequestType type,
              std::span<const std::byte> payload,
              std::span<const reactor::Handle> handles,
              bool need_reply,
              bool answered);
    /// The bytes of a message.
    static std::vector<std::byte> encode(std::uint32_t request,
                                         std::uint32_t flags,
                                         std::span<const std::byte> payload);
    /// The next answer; nothing when the connection ends or the deadline passes.
    reactor::Task<std::optional<VhostReply>> receive(reactor::Nanos deadline);
    /// Waits until everything is sent, the connection ends or the deadline passes.
    reactor::Task<bool> sent(reactor::Nanos deadline);

  private:
    struct Outgoing {
        std::vector<std::byte> bytes;
        std::vector<reactor::Handle> handles;
        std::size_t piece = 0;
        std::size_t done = 0;
    };

    void on_ready(reactor::Readiness readiness) override;
    void flush();
    bool read_some();
    void lose();

    reactor::Reactor& reactor_;
    Callback on_lost_;
    Violation violation_;
    std::unique_ptr<reactor::Stream> stream_;
    bool open_ = false;
    std::deque<Outgoing> outgoing_;
    std::vector<std::byte> incoming_;  // of the message that is being received
    std::vector<reactor::Handle> incoming_handles_;
    std::deque<VhostReply> replies_;
    std::uint64_t awaited_ = 0;  // answers to come
    reactor::Signal changed_;
};

}  // namespace remora::sim
