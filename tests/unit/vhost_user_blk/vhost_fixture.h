// SPDX-License-Identifier: Apache-2.0
// VhostTest: a controller over a SlowDevice on a reactor thread, a front end on the test's thread.
// Every test runs over split rings and over packed ones.
#pragma once

#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "frontends/vhost_user_blk/controller.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/support/run_on.h"
#include "tests/support/slow_device.h"
#include "tests/support/vhost_front_end.h"
#include "tests/unit/vhost_user_blk/ring_kinds.h"

namespace remora::test {

using frontends::vhost_user_blk::Controller;
using frontends::vhost_user_blk::ControllerSpec;
using virtio::BlkStatus;
using virtio::BlkType;

/// A disk of the test: volume and controller, both living on the reactor.
struct Disk {
    std::unique_ptr<SlowDevice> device;
    std::unique_ptr<Controller> controller;
    std::string path;
};

class VhostTest : public testing::TestWithParam<RingKind> {
  public:
    static constexpr std::uint64_t kSectors = 4096;

    VhostTest() {
        reactor::ReactorThreadOptions options;
        options.name = "vhost-test";
        auto thread = reactor::ReactorThread::start(options);
        CHECK(thread.has_value());
        thread_ = std::move(*thread);
        buffers_ = std::move(*memory::BufferPool::create(std::size_t{1} << 20U));
        context_.emplace(block::ReactorContext{thread_->reactor(), *buffers_});
        char folder[] = "/tmp/remora-vhost-XXXXXX";
        CHECK(mkdtemp(folder) != nullptr);
        folder_ = folder;
    }
    ~VhostTest() override {
        for (const auto& disk : disks_) {
            stop_disk(*disk);
        }
        disks_.clear();
        rmdir(folder_.c_str());
    }

    static block::Geometry geometry(std::uint32_t block_size = 512) {
        return {.block_size = block_size,
                .block_count = kSectors * 512 / block_size,
                .can_discard = true,
                .can_write_zeroes = true,
                .volatile_cache = true};
    }

    /// Runs `f`, or the coroutine `f`, on the reactor and gives its result.
    template <typename F>
    auto on_reactor(F f) {
        return run_on(thread_->reactor(), std::move(f));
    }
    template <typename F>
    auto await_on_reactor(F f) {
        return await_on(thread_->reactor(), std::move(f));
    }

    Disk& make_disk(std::uint16_t queues = 1, block::Geometry with = geometry()) {
        auto disk = std::make_unique<Disk>();
        disk->path = folder_ + "/disk" + std::to_string(disks_.size()) + ".sock";
        disk->device = std::make_unique<SlowDevice>(with);
        start_disk(*disk, queues);
        disks_.push_back(std::move(disk));
        return *disks_.back();
    }

    void start_disk(Disk& disk, std::uint16_t queues = 1) {
        auto made = await_on_reactor([&] {
            return Controller::create({.name = "disk", .socket_path = disk.path, .queues = queues},
                                      *disk.device, {*context_});
        });
        CHECK(made.has_value());
        disk.controller = std::move(*made);
    }
    frontends::vhost_user_blk::QueueCounters counters(const Disk& disk) {
        return await_on_reactor([&] { return disk.controller->counters(); });
    }
    core::Result<void> try_stop(const Disk& disk, core::Nanos limit) {
        return await_on_reactor([&] { return disk.controller->stop(limit); });
    }
    /// The whole way down, also with requests held.
    void stop_disk(Disk& disk) {
        if (disk.controller == nullptr) {
            return;
        }
        on_reactor([&] { disk.device->hold(false); });
        EXPECT_TRUE(try_stop(disk, std::chrono::seconds(10)).has_value());
        on_reactor([&] { disk.controller.reset(); });
    }

    /// Waits until `condition`, asked on the reactor, holds.
    template <typename F>
    bool eventually(F condition) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (!on_reactor(condition)) {
            if (std::chrono::steady_clock::now() > deadline) {
                return false;
            }
            std::this_thread::yield();
        }
        return true;
    }

    /// What the volume holds, read on its reactor.
    std::vector<std::byte> stored(const Disk& disk, std::size_t at, std::size_t size) {
        return on_reactor([&] {
            const auto bytes = disk.device->bytes().subspan(at, size);
            return std::vector<std::byte>(bytes.begin(), bytes.end());
        });
    }
    std::byte stored(const Disk& disk, std::size_t at) { return stored(disk, at, 1)[0]; }

    FrontEndOptions front_end_options(const Disk& disk) {
        return {.path = disk.path, .queues = 1, .queue_size = 64, .ring = GetParam()};
    }

    /// The memory of request number `n`: three descriptors and a 64 KiB buffer.
    static BlkSlot slot(const VhostFrontEnd& front, std::uint16_t n) {
        return {.head = static_cast<std::uint16_t>(3 * n),
                .header_offset = front.data_offset() + std::uint64_t{n} * 0x1'1000,
                .data_offset = front.data_offset() + std::uint64_t{n} * 0x1'1000 + 0x1000};
    }

    /// Offers a request and tells the device.
    static void start_request(VhostFrontEnd& front,
                              std::uint16_t n,
                              BlkType type,
                              std::uint64_t sector,
                              std::uint32_t length,
                              std::uint16_t queue = 0) {
        offer_request(front.ram(), front.ring(queue), slot(front, n), type, sector, length);
        if (front.ring(queue).publish()) {
            front.kick(queue);
        }
    }
    /// The next used element, waiting for the interrupt.
    static std::optional<DriverRing::Used> next_used(VhostFrontEnd& front,
                                                     std::uint16_t queue = 0) {
        DriverRing& ring = front.ring(queue);
        for (int tries = 0; tries < 100; ++tries) {
            if (auto used = ring.take_used()) {
                return used;
            }
            if (!ring.request_interrupt() && !wait_eventfd(front.call(queue), 10'000)) {
                break;
            }
        }
        return std::nullopt;
    }
    /// One request from start to end; its status byte (0xff when nothing came).
    static std::uint8_t perform(VhostFrontEnd& front,
                                BlkType type,
                                std::uint64_t sector,
                                std::uint32_t length,
                                std::uint16_t queue = 0) {
        start_request(front, 0, type, sector, length, queue);
        const auto used = next_used(front, queue);
        return used && used->id == 0 ? status_of(front, 0) : 0xff;
    }
    static std::uint8_t status_of(VhostFrontEnd& front, std::uint16_t n) {
        return static_cast<std::uint8_t>(*front.ram().at(slot(front, n).status_offset()));
    }
    static std::span<std::byte> data_of(VhostFrontEnd& front, std::uint16_t n, std::size_t size) {
        return {front.ram().at(slot(front, n).data_offset), size};
    }

    static bool packed() { return GetParam() == RingKind::Packed; }
    block::ReactorContext& context() { return *context_; }
    [[nodiscard]] const std::string& folder() const { return folder_; }

    static constexpr std::uint8_t kOk = static_cast<std::uint8_t>(BlkStatus::Ok);
    static constexpr std::uint8_t kIoError = static_cast<std::uint8_t>(BlkStatus::IoError);
    static constexpr std::uint8_t kUnsupported = static_cast<std::uint8_t>(BlkStatus::Unsupported);

  private:
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::optional<block::ReactorContext> context_;
    std::string folder_;
    std::vector<std::unique_ptr<Disk>> disks_;
};

}  // namespace remora::test
