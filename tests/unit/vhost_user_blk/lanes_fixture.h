// SPDX-License-Identifier: Apache-2.0
// LanesTest: a disk with four queues over three reactor threads, a front end on the test's thread.
// Request n is in the memory of slot(n); queue q uses slot q.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <string>
#include <sys/eventfd.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "frontends/vhost_user_blk/controller.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/reactor_thread.h"
#include "tests/support/run_on.h"
#include "tests/support/vhost_front_end.h"
#include "tests/unit/vhost_user_blk/gated_device.h"
#include "tests/unit/vhost_user_blk/ring_kinds.h"

namespace remora::test {

using frontends::vhost_user_blk::Controller;
using frontends::vhost_user_blk::ControllerStatus;
using frontends::vhost_user_blk::QueueCounters;
using virtio::BlkStatus;
using virtio::BlkType;

class LanesTest : public testing::TestWithParam<RingKind> {
  public:
    static constexpr std::size_t kLanes = 3;
    static constexpr std::uint16_t kQueues = 4;
    static constexpr std::uint32_t kBytes = 4096;  ///< A block, and a request.
    static constexpr std::uint64_t kBlocks = 1024;
    static constexpr std::size_t kLogBytes = (GuestRam::kGuestBase / kBytes + 8192) / 8;
    static constexpr std::uint8_t kOk = static_cast<std::uint8_t>(BlkStatus::Ok);

    reactor::Reactor& lane(std::size_t i) { return threads_[i]->reactor(); }
    reactor::Reactor& home() { return lane(0); }

    LanesTest() : device_(kBytes, kBlocks) {
        for (std::size_t i = 0; i < kLanes; ++i) {
            reactor::ReactorThreadOptions options;
            options.name = "lane" + std::to_string(i);
            options.id = static_cast<std::uint32_t>(i);
            threads_.push_back(std::move(*reactor::ReactorThread::start(options)));
            buffers_.push_back(std::move(*memory::BufferPool::create(std::size_t{1} << 20U)));
        }
        char folder[] = "/tmp/remora-lanes-XXXXXX";
        CHECK(mkdtemp(folder) != nullptr);
        folder_ = folder;
        auto made = await_on(home(), [this] {
            std::vector<block::ReactorContext> contexts;
            contexts.reserve(kLanes);
            for (std::size_t i = 0; i < kLanes; ++i) {
                contexts.push_back({lane(i), *buffers_[i]});
            }
            return Controller::create({.name = "disk", .socket_path = path(), .queues = kQueues},
                                      device_, std::move(contexts));
        });
        CHECK(made.has_value());
        controller_ = std::move(*made);
    }
    ~LanesTest() override {
        device_.shut(false);
        EXPECT_TRUE(stop(std::chrono::seconds(10)));
        threads_.clear();
        rmdir(folder_.c_str());
    }

    GatedDevice& device() { return device_; }
    FrontEndOptions options() {
        return {.path = path(), .queues = kQueues, .queue_size = 64, .ring = GetParam()};
    }
    /// Stops and destroys the controller; nothing once that is done.
    bool stop(core::Nanos limit) {
        if (controller_ == nullptr) {
            return true;
        }
        if (!await_on(home(), [&] { return controller_->stop(limit); })) {
            return false;
        }
        run_on(home(), [this] { controller_.reset(); });
        return true;
    }
    QueueCounters counters() {
        return await_on(home(), [this] { return controller_->counters(); });
    }
    ControllerStatus status() {
        return run_on(home(), [this] { return controller_->status(); });
    }

    static BlkSlot slot(const VhostFrontEnd& front, std::uint16_t n) {
        const std::uint64_t at = front.data_offset() + std::uint64_t{n} * 3 * kBytes;
        return {.head = static_cast<std::uint16_t>(3 * n),
                .header_offset = at,
                .data_offset = at + kBytes};
    }
    static void fill(VhostFrontEnd& front, std::uint16_t n, std::byte with) {
        std::fill_n(front.ram().at(slot(front, n).data_offset), kBytes, with);
    }
    static std::byte first_byte(VhostFrontEnd& front, std::uint16_t n) {
        return *front.ram().at(slot(front, n).data_offset);
    }
    static void start_request(VhostFrontEnd& front,
                              const BlkSlot& at,
                              BlkType type,
                              std::uint16_t queue,
                              std::uint64_t block) {
        offer_request(front.ram(), front.ring(queue), at, type, block * kBytes / 512, kBytes);
        if (front.ring(queue).publish()) {
            front.kick(queue);
        }
    }
    /// Waits until the one request of the queue has come back.
    static bool finish(VhostFrontEnd& front, std::uint16_t queue) {
        DriverRing& ring = front.ring(queue);
        for (int tries = 0; tries < 100; ++tries) {
            if (ring.take_used()) {
                return true;
            }
            if (!ring.request_interrupt() && !wait_eventfd(front.call(queue), 10'000)) {
                break;
            }
        }
        return false;
    }
    /// A request of one block from start to end; its status byte.
    static std::uint8_t perform_at(VhostFrontEnd& front,
                                   const BlkSlot& at,
                                   BlkType type,
                                   std::uint16_t queue,
                                   std::uint64_t block) {
        start_request(front, at, type, queue, block);
        return finish(front, queue) ? static_cast<std::uint8_t>(*front.ram().at(at.status_offset()))
                                    : 0xff;
    }
    static std::uint8_t perform(VhostFrontEnd& front,
                                BlkType type,
                                std::uint16_t queue,
                                std::uint64_t block) {
        return perform_at(front, slot(front, queue), type, queue, block);
    }
    /// Shuts the volume's gate and offers a request by each queue, until it has them all.
    void hold_one_of_each(VhostFrontEnd& front, BlkType type = BlkType::In) {
        device_.shut(true);
        for (std::uint16_t queue = 0; queue < kQueues; ++queue) {
            start_request(front, slot(front, queue), type, queue, queue);
        }
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (device_.held() < kQueues) {
            ASSERT_LT(std::chrono::steady_clock::now(), deadline);
            std::this_thread::yield();
        }
    }

    /// What each reactor did comes before what each does next. It does so for the guest, whose
    /// rings order it; ThreadSanitizer does not know that both sides' mappings are the same memory.
    void meet() {
        for (int round = 0; round < 2; ++round) {
            for (std::size_t i = 0; i < kLanes; ++i) {
                run_on(lane(i), [] {});
            }
        }
    }

    static bool share_log(VhostFrontEnd& front, const GuestRam& log) {
        virtio::vhost_user::LogDescription description;
        description.mmap_size = log.bytes().size();
        const int fd = log.fd();
        return front.socket().send(virtio::vhost_user::RequestType::SetLogBase,
                                   core::as_bytes_of(description), {&fd, 1}) &&
               front.socket().receive().has_value();
    }
    static bool set_logging(VhostFrontEnd& front, bool on) {
        virtio::vhost_user::U64 features;
        features.value = front.features() | (on ? virtio::bit(virtio::Feature::LogAll) : 0);
        return front.set(virtio::vhost_user::RequestType::SetFeatures, core::as_bytes_of(features));
    }
    /// Whether the page of a byte of the guest's memory is marked.
    static bool marked(const GuestRam& log, std::uint64_t offset) {
        const std::uint64_t page = GuestRam::guest(offset) / kBytes;
        return (std::to_integer<unsigned>(*log.at(page / 8)) >> (page % 8) & 1U) != 0;
    }

  private:
    [[nodiscard]] std::string path() const { return folder_ + "/disk.sock"; }

    GatedDevice device_;
    std::vector<std::unique_ptr<memory::BufferPool>> buffers_;
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
    std::string folder_;
    std::unique_ptr<Controller> controller_;
};

}  // namespace remora::test
