// SPDX-License-Identifier: Apache-2.0
// Legs: one reactor's channels to the members, and how many requests each has under way.
// IoGroup: I/O on several of them that a coroutine waits for.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "block/device.h"
#include "core/result.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "services/raid/raid_shared.h"

namespace remora::services::raid {

/// On its reactor. Nothing is under way when it dies.
class Legs {
  public:
    Legs() = default;
    Legs(const Legs&) = delete;
    Legs& operator=(const Legs&) = delete;
    ~Legs();

    core::Result<void> open(int leg, block::Device& device);
    [[nodiscard]] bool is_open(int leg) const { return at(leg).channel != nullptr; }
    /// False, and nothing done, while something is under way.
    [[nodiscard]] bool try_close(int leg);
    [[nodiscard]] std::uint32_t outstanding(int leg) const { return at(leg).outstanding; }

    /// Goes down with the next push(). The leg is open.
    void queue(int leg, block::Request& request);
    void push();
    /// A request that was queued is back.
    void came_back(int leg);

  private:
    struct Lower {
        std::unique_ptr<block::Channel> channel;
        block::RequestBatch down;
        std::uint32_t outstanding = 0;
    };
    [[nodiscard]] const Lower& at(int leg) const { return lower_[static_cast<std::size_t>(leg)]; }
    [[nodiscard]] Lower& at(int leg) { return lower_[static_cast<std::size_t>(leg)]; }

    std::array<Lower, kMaxLegs> lower_;
    LegMask queued_ = 0;
};

/// In a coroutine's frame: start some, then wait for all. A leg has one request at a time.
class IoGroup final : private block::Completer {
  public:
    IoGroup(Legs& legs, std::uint32_t block_size) : legs_(legs), block_size_(block_size) {}
    IoGroup(const IoGroup&) = delete;
    IoGroup& operator=(const IoGroup&) = delete;
    ~IoGroup() { CHECK(pending_ == 0); }

    /// `offset` in bytes of the member; whole blocks. `bytes` stays until wait() has returned.
    void read(int leg, std::uint64_t offset, std::span<std::byte> bytes);
    /// Durable when it has succeeded, if `durably`.
    void write(int leg, std::uint64_t offset, std::span<const std::byte> bytes, bool durably);
    void flush(int leg);
    reactor::Task<> wait();

    [[nodiscard]] block::Status status(int leg) const {
        return items_[static_cast<std::size_t>(leg)].status;
    }
    /// Those of the last wait() that failed.
    [[nodiscard]] LegMask failed() const { return failed_; }

  private:
    struct Item : block::Request {
        core::Segment segment;
        int leg = kNoLeg;
        int tries = 0;
    };
    void start(int leg, block::Opcode opcode, std::uint64_t offset, std::span<std::byte> bytes);
    void send(Item& item);
    void complete(block::RequestBatch& batch) override;

    Legs& legs_;
    std::uint32_t block_size_;
    std::array<Item, kMaxLegs> items_;
    std::size_t pending_ = 0;
    LegMask busy_ = 0;
    LegMask failed_ = 0;
    reactor::Signal done_;
};

/// How long a member may answer that it is short of something, before that is an error.
constexpr int kMostTries = 5000;
constexpr core::Nanos kRetryAfter = std::chrono::milliseconds(1);

}  // namespace remora::services::raid
