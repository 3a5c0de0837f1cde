// SPDX-License-Identifier: Apache-2.0
// VhostWorld: a real vhost-user-blk controller over a small volume in a FakeIo world, and a front
// end with a driver that can set all up as QEMU and a guest do, or say anything.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/reactor_context.h"
#include "frontends/vhost_user_blk/controller.h"
#include "tests/fuzz/support/world.h"
#include "tests/unit/nvme_tcp_target/memory_device.h"
#include "virtio/vhost_user/message.h"

namespace remora::fuzz {

using virtio::vhost_user::RequestType;

class VhostWorld {
  public:
    static constexpr std::uint64_t kGuestBase = 0x100000;
    static constexpr std::uint64_t kUserBase = 0x700000000000;
    static constexpr std::size_t kMemoryBytes = 0x8000;
    static constexpr std::uint16_t kRingSize = 16;
    static constexpr std::size_t kAvailable = 0x400;
    static constexpr std::size_t kUsed = 0x800;
    static constexpr std::uint16_t kSlots = 5;

    explicit VhostWorld(std::uint16_t queues);
    VhostWorld(const VhostWorld&) = delete;
    VhostWorld& operator=(const VhostWorld&) = delete;
    ~VhostWorld();

    /// A front end (anew) and another one at the same time.
    void connect();
    void connect_second();
    void disconnect() { front_.reset(); }

    void send_bytes(std::span<const std::byte> bytes, std::span<const Handle> handles);
    void send(RequestType type,
              std::span<const std::byte> payload,
              std::span<const Handle> handles = {},
              std::uint32_t flags = virtio::vhost_user::header_flags::kVersion);
    template <typename T>
    void send_struct(RequestType type, const T& value, std::span<const Handle> handles = {}) {
        send(type, core::as_bytes_of(value), handles);
    }
    /// What a front end does until queue 0 runs. Its driver knows split rings only: with `packed`
    /// what it writes is what a packed ring's hostile driver might have.
    void set_up(bool event_index, bool inflight, bool packed = false);
    /// Takes all replies; each has to be one.
    void listen();

    /// A handle of the kind; the caller gives it back with keep() or io.close().
    Handle make_handle(std::uint8_t kind);
    /// Offers a request in the driver's ring. False when all slots are out.
    bool offer(std::uint32_t type, std::uint64_t sector, std::uint32_t bytes, bool indirect);
    void offer_head(std::uint16_t head);
    void set_available(std::uint16_t index);
    [[nodiscard]] std::uint16_t used_index() const;
    void kick() { world.io.signal(kick_); }
    [[nodiscard]] std::span<std::byte> ram() const { return world.io.memory(ram_); }
    [[nodiscard]] Handle ram_handle() const { return ram_; }

    World world;
    test::MemoryDevice device{"disk", 128};
    std::unique_ptr<frontends::vhost_user_blk::Controller> controller;
    std::uint16_t offered = 0;

  private:
    void take_replies();
    void reap();

    block::ReactorContext context_{world.reactor, World::pool()};
    std::unique_ptr<reactor::Stream> front_;
    std::unique_ptr<reactor::Stream> second_;
    std::vector<std::byte> replies_;
    std::array<bool, kSlots> busy_{};  // offered and not seen in the used ring
    std::uint16_t reaped_ = 0;
    Handle ram_;
    Handle kick_;
    Handle call_;
    Handle inflight_ = reactor::kNoHandle;
};

}  // namespace remora::fuzz
