// SPDX-License-Identifier: Apache-2.0
// VfioWorld: a real vfio-user NVMe controller over a small volume in a FakeIo world, and a client
// with a driver that can set all up as QEMU and a guest do, or say anything.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/reactor_context.h"
#include "frontends/vfio_user_nvme/controller.h"
#include "nvme/spec/command.h"
#include "tests/fuzz/support/world.h"
#include "tests/unit/nvme_tcp_target/memory_device.h"
#include "vfio_user/message.h"

namespace remora::fuzz {

using vfio_user::Command;

class VfioWorld {
  public:
    static constexpr std::uint64_t kGuestBase = 0x100000;
    static constexpr std::size_t kPage = 4096;
    static constexpr std::size_t kMemoryBytes = 32 * kPage;
    static constexpr std::uint16_t kQueues = 2;
    static constexpr std::uint32_t kEntries = 16;
    static constexpr std::size_t kLists = 6 * kPage;  ///< Two pages.
    static constexpr std::size_t kData = 8 * kPage;   ///< The rest.

    explicit VfioWorld(bool msix);
    VfioWorld(const VfioWorld&) = delete;
    VfioWorld& operator=(const VfioWorld&) = delete;
    ~VfioWorld();

    static constexpr std::uint64_t guest(std::uint64_t offset) { return kGuestBase + offset; }

    void connect();
    void connect_second();
    void disconnect() { client_.reset(); }

    void send_bytes(std::span<const std::byte> bytes, std::span<const Handle> handles);
    void send(Command command,
              std::span<const std::byte> payload,
              std::span<const Handle> handles = {},
              std::uint32_t flags = 0);
    template <typename T>
    void send_struct(Command command, const T& value, std::span<const Handle> handles = {}) {
        send(command, core::as_bytes_of(value), handles);
    }
    void write_region(std::uint32_t region, std::uint64_t offset, std::uint64_t value, bool wide);
    /// What a client and a driver do until both I/O queues are there.
    void set_up(bool shadow);
    /// Takes all replies; each has to be one.
    void listen();

    /// A handle of the kind; the caller gives it back with io.close().
    Handle make_handle(std::uint8_t kind);
    /// Puts a command into queue `qid`, as a driver does.
    void push(std::uint16_t qid, nvme::spec::Command command);
    void ring(std::uint16_t qid);
    /// Takes the entries that are there; how many.
    std::uint32_t reap(std::uint16_t qid);

    [[nodiscard]] std::span<std::byte> ram() const { return world.io.memory(ram_); }
    [[nodiscard]] Handle ram_handle() const { return ram_; }
    void add_namespace(std::uint32_t nsid);
    void remove_namespace(std::uint32_t nsid);

    World world;
    test::MemoryDevice device{"volume", 128};
    std::unique_ptr<frontends::vfio_user_nvme::Controller> controller;

  private:
    struct Queue {
        std::size_t submissions = 0;
        std::size_t completions = 0;
        std::uint32_t tail = 0;
        std::uint32_t head = 0;
        bool phase = true;
    };
    void take_replies();
    void make_queue(std::uint16_t qid);

    block::ReactorContext context_{world.reactor, World::pool()};
    std::unique_ptr<reactor::Stream> client_;
    std::unique_ptr<reactor::Stream> second_;
    std::vector<std::byte> replies_;
    std::array<Queue, kQueues + 1U> queues_;
    Handle ram_;
    Handle event_;
};

}  // namespace remora::fuzz
