// SPDX-License-Identifier: Apache-2.0
// Two threads work on the same blocks, at the same pages, with pages that come and go, a scrub and
// settling beside them; each block is at any time one that was written to it, and none looks
// damaged. Built with ThreadSanitizer, too.
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "block/deferred.h"
#include "memory/buffer_pool.h"
#include "reactor/call.h"
#include "reactor/gate.h"
#include "reactor/linux/reactor_thread.h"
#include "services/integrity/integrity_device.h"
#include "tests/support/reactor_fixture.h"

namespace remora::services::integrity {
namespace {

using block::Opcode;
using block::Status;
using reactor::Task;

constexpr std::size_t kBlock = 512;

/// A disk in memory without any order between two threads: a word is read as it was written, and
/// nothing more is promised. It makes nobody wait for anybody, so the sanitizer sees what the
/// device above has left to chance.
class RacyDisk final : public block::Device {
  public:
    explicit RacyDisk(std::uint64_t blocks) : Device("disk", {}), words_(blocks * kBlockWords) {
        shape_.block_count = blocks;
        shape_.can_discard = true;
        shape_.volatile_cache = true;
    }
    [[nodiscard]] block::Geometry geometry() const override { return shape_; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<RacyChannel>(*this);
    }

  private:
    static constexpr std::size_t kBlockWords = kBlock / sizeof(std::uint64_t);

    class RacyChannel final : public block::Channel {
      public:
        explicit RacyChannel(RacyDisk& disk) : disk_(disk), done_(reactor::Reactor::current()) {}
        void submit(block::RequestBatch& batch) override {
            while (block::Request* request = batch.pop_front()) {
                disk_.perform(*request);
                done_.push(*request, Status::Ok);
            }
        }

      private:
        RacyDisk& disk_;
        block::DeferredCompletions done_;
    };

    void perform(block::Request& request) {
        std::uint64_t* at = words_.data() + request.lba * kBlockWords;
        for (const core::Segment& segment : request.data) {
            for (std::size_t i = 0; i < segment.size; i += sizeof(std::uint64_t), ++at) {
                const std::atomic_ref<std::uint64_t> word(*at);
                std::uint64_t value = 0;
                if (request.opcode == Opcode::Read) {
                    value = word.load(std::memory_order_relaxed);
                    std::memcpy(segment.data + i, &value, sizeof(value));
                } else {
                    std::memcpy(&value, segment.data + i, sizeof(value));
                    word.store(value, std::memory_order_relaxed);
                }
            }
        }
    }

    block::Geometry shape_;
    std::vector<std::uint64_t> words_;
};

/// Anything at random on one reactor, sixteen at a time. What it writes to a block says which.
class Worker final : private block::Completer {
  public:
    static constexpr std::size_t kDepth = 16;
    static constexpr std::uint32_t kMostBlocks = 20;

    Worker(IntegrityDevice& device, std::uint64_t seed)
        : channel_(std::move(*device.open_channel())),
          blocks_(device.geometry().block_count),
          prng_(seed),
          data_(kDepth * kMostBlocks * kBlock),
          requests_(kDepth) {}

    /// So many requests. `channel_` ends with the last.
    Task<> work(std::size_t operations) {
        left_ = operations;
        outstanding_ = kDepth;
        block::RequestBatch batch;
        for (std::size_t i = 0; i < kDepth; ++i) {
            choose(i);
            batch.push_back(requests_[i]);
        }
        channel_->submit(batch);
        co_await idle_.wait_until(core::kNever);
        channel_.reset();
    }
    std::size_t wrong = 0;

  private:
    void choose(std::size_t i) {
        block::Request& request = requests_[i];
        request.push_frame(*this);
        request.status = Status::Ok;
        request.is_hole = false;
        const std::uint64_t what = prng_.below(20);
        request.opcode = what < 8    ? Opcode::Read
                         : what < 17 ? Opcode::Write
                         : what < 18 ? Opcode::WriteZeroes
                         : what < 19 ? Opcode::Discard
                                     : Opcode::Flush;
        request.lba = prng_.below(prng_.below(2) == 0 ? 40 : blocks_ - kMostBlocks);
        request.block_count = static_cast<std::uint32_t>(1 + prng_.below(kMostBlocks));
        segments_[i] = {data_.data() + i * kMostBlocks * kBlock, request.block_count * kBlock};
        request.data = {};
        if (request.opcode == Opcode::Read || request.opcode == Opcode::Write) {
            request.data = std::span(&segments_[i], 1);
        }
        for (std::uint64_t at = 0; request.opcode == Opcode::Write && at < request.block_count;
             ++at) {
            std::memset(segments_[i].data + at * kBlock, static_cast<int>(1 + prng_.below(255)),
                        kBlock);
            const std::uint64_t lba = request.lba + at;
            std::memcpy(segments_[i].data + at * kBlock, &lba, sizeof(lba));
        }
    }
    /// Zeros, or its number and one value all over.
    void check(const block::Request& request) {
        for (std::uint64_t at = 0; at < request.block_count; ++at) {
            const std::byte* block = request.data[0].data + at * kBlock;
            std::uint64_t lba = 0;
            std::memcpy(&lba, block, sizeof(lba));
            const std::byte value = block[kBlock - 1];
            for (std::size_t i = sizeof(lba); i < kBlock; ++i) {
                wrong += block[i] == value ? 0 : 1;
            }
            const std::uint64_t wanted = value == std::byte{0} ? 0 : request.lba + at;
            wrong += lba == wanted ? 0 : 1;
        }
    }
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            request->pop_frame();
            wrong += request->status == Status::Ok ? 0 : 1;
            if (request->opcode == Opcode::Read && request->status == Status::Ok) {
                check(*request);
            }
            if (left_ > 0) {
                --left_;
                choose(static_cast<std::size_t>(request - requests_.data()));
                again.push_back(*request);
            } else if (--outstanding_ == 0) {
                idle_.notify();
            }
        }
        if (!again.empty()) {
            channel_->submit(again);
        }
    }

    std::unique_ptr<block::Channel> channel_;
    std::uint64_t blocks_;
    core::Prng prng_;
    std::vector<std::byte> data_;
    std::vector<block::Request> requests_;
    std::array<core::Segment, kDepth> segments_;
    std::size_t left_ = 0;
    std::size_t outstanding_ = 0;
    reactor::Signal idle_;
};

class IntegrityThreadsTest : public test::ReactorFixture {
  public:
    IntegrityThreadsTest() {
        for (std::uint32_t i = 0; i < threads.size(); ++i) {
            reactor::ReactorThreadOptions thread;
            thread.id = 1 + i;
            threads[i] = std::move(*reactor::ReactorThread::start(thread));
            pools[i] = std::move(*memory::BufferPool::create(core::kMiB));
            contexts.push_back({threads[i]->reactor(), *pools[i]});
        }
    }

    void work_together(std::size_t cache_bytes) {
        RacyDisk disk(5000);
        run(
            [&]() -> Task<> {
                IntegrityOptions options;
                options.name = "v";
                options.cache_bytes = cache_bytes;
                auto made = co_await IntegrityDevice::create(options, disk, contexts);
                CHECK(made);
                IntegrityDevice& device = **made;
                device.set_scrub_rate(0);
                std::array<std::size_t, 2> wrong{};
                std::atomic<int> running = 2;
                for (std::size_t i = 0; i < threads.size(); ++i) {
                    gate.spawn(
                        [](IntegrityThreadsTest* test, IntegrityDevice* tested, std::size_t which,
                           std::size_t* found, std::atomic<int>* left) -> Task<> {
                            *found = co_await reactor::call_on(
                                test->threads[which]->reactor(),
                                [tested, which] { return work_on(tested, 11 + which); });
                            left->fetch_sub(1);
                        },
                        this, &device, i, &wrong[i], &running);
                }
                std::size_t scrubs = 0;
                while (running.load() > 0) {
                    scrubs += device.start_scrub() ? 1 : 0;
                    co_await reactor::sleep_for(std::chrono::milliseconds(1));
                }
                EXPECT_GT(scrubs, 0U);
                EXPECT_EQ(wrong[0] + wrong[1], 0U);
                EXPECT_EQ(device.status().mismatches, 0U);
                co_await device.stop();
                co_await gate.close();
            },
            std::chrono::seconds(100));
        EXPECT_EQ(pools[0]->in_use() + pools[1]->in_use(), 0U);
    }
    static Task<std::size_t> work_on(IntegrityDevice* device, std::uint64_t seed) {
        Worker worker(*device, seed);
        co_await worker.work(kOperations);
        co_return worker.wrong;
    }

    static constexpr std::size_t kOperations = 4000;
    std::array<std::unique_ptr<memory::BufferPool>, 2> pools;
    std::array<std::unique_ptr<reactor::ReactorThread>, 2> threads;
    std::vector<block::ReactorContext> contexts;
    reactor::Gate gate;
};

TEST_F(IntegrityThreadsTest, TwoReactors_allPagesInMemory_neverDisagree) {
    work_together(core::kMiB);
}

TEST_F(IntegrityThreadsTest, TwoReactors_twoPagesInMemory_neverDisagree) {
    work_together(0);
}

}  // namespace
}  // namespace remora::services::integrity
