// SPDX-License-Identifier: Apache-2.0
// The data path allocates nothing: every call of operator new is counted while an IntegrityDevice
// reads and writes, with pages that come and go. A program of its own, because it replaces operator
// new.
#include <array>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "memory/buffer_pool.h"
#include "services/integrity/integrity_device.h"
#include "tests/support/block_client.h"
#include "tests/support/reactor_fixture.h"

namespace {

std::size_t allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
    ++allocations;
    return std::malloc(size);
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t /*size*/) noexcept {
    std::free(memory);
}

namespace remora::services::integrity {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;

/// Reads, writes and zeroes of 36 KiB, over and over, in two segments cut amid a block, all over
/// the volume.
class Driver final : public block::Completer {
  public:
    static constexpr std::size_t kDepth = 32;
    static constexpr std::uint32_t kBlocks = 72;
    static constexpr std::size_t kCut = 1000;

    Driver(block::Channel& channel, std::uint64_t volume_blocks)
        : channel_(channel),
          places_(volume_blocks / kBlocks),
          data_(kDepth * kBlocks * 512),
          requests_(kDepth) {
        for (std::size_t i = 0; i < kDepth; ++i) {
            std::byte* data = data_.data() + i * kBlocks * 512;
            segments_[i] = {core::Segment{data, kCut},
                            core::Segment{data + kCut, kBlocks * 512 - kCut}};
            requests_[i].data = segments_[i];
            requests_[i].block_count = kBlocks;
            requests_[i].opcode = i % 8 == 0   ? Opcode::WriteZeroes
                                  : i % 2 == 0 ? Opcode::Read
                                               : Opcode::Write;
        }
    }
    void start(std::size_t operations) {
        left_ = operations;
        outstanding_ = kDepth;
        block::RequestBatch batch;
        for (block::Request& request : requests_) {
            request.push_frame(*this);
            place(request);
            batch.push_back(request);
        }
        channel_.submit(batch);
    }
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            failures += request->status == Status::Ok ? 0 : 1;
            if (left_ == 0) {
                request->pop_frame();
                --outstanding_;
            } else {
                --left_;
                place(*request);
                again.push_back(*request);
            }
        }
        if (!again.empty()) {
            channel_.submit(again);
        }
    }
    [[nodiscard]] bool idle() const { return outstanding_ == 0; }
    std::size_t failures = 0;

  private:
    void place(block::Request& request) { request.lba = prng_.below(places_) * kBlocks; }

    block::Channel& channel_;
    std::uint64_t places_;
    core::Prng prng_{7};
    std::vector<std::byte> data_;
    std::vector<block::Request> requests_;
    std::array<std::array<core::Segment, 2>, kDepth> segments_;
    std::size_t left_ = 0;
    std::size_t outstanding_ = 0;
};

using IntegrityAllocationTest = test::ReactorFixture;

TEST_F(IntegrityAllocationTest, ReadsAndWrites_onceWarm_allocateNothing) {
    auto pool = std::move(*memory::BufferPool::create(2 * core::kMiB));  // too few: some wait
    const block::ReactorContext context{reactor(), *pool};
    auto ram = std::move(*backends::ram::RamDevice::create("r", {}, 512, 20'000));
    std::unique_ptr<IntegrityDevice> device;
    std::unique_ptr<block::Channel> channel;
    run([&]() -> Task<> {
        IntegrityOptions options;
        options.cache_bytes = 64 * core::kKiB;  // 16 pages of 40
        auto made = co_await IntegrityDevice::create(options, *ram, std::span(&context, 1));
        device = std::move(*made);
        channel = std::move(*device->open_channel());
    });
    Driver driver(*channel, device->geometry().block_count);
    const auto round = [&](std::size_t operations) {
        reactor().post_function([&] { driver.start(operations); });
        turn();
        const std::size_t before = allocations;
        turn_until([&] { return driver.idle(); });
        return allocations - before;
    };
    round(300);  // warm
    EXPECT_EQ(round(3000), 0U);
    EXPECT_EQ(driver.failures, 0U);
    EXPECT_GT(allocations, 0U);  // it does count
    run([&]() -> Task<> {
        channel.reset();
        co_await device->stop();
    });
}

}  // namespace
}  // namespace remora::services::integrity
