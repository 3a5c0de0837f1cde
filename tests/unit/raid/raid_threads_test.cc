// SPDX-License-Identifier: Apache-2.0
// Two reactors on threads of their own write the same blocks; then all copies, and parities, agree.
// Also run under ThreadSanitizer, which sees two that touch the same bytes of a RAM volume at once:
// writes, rebuild, resync and scrub must not.
#include <deque>
#include <future>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "memory/buffer_pool.h"
#include "reactor/call.h"
#include "reactor/linux/reactor_thread.h"
#include "services/raid/raid_device.h"
#include "tests/support/block_client.h"

namespace remora::services::raid {
namespace {

using namespace std::chrono_literals;
using block::Opcode;
using block::Request;
using block::RequestBatch;
using block::Status;
using reactor::Task;

constexpr std::uint32_t kBlock = 512;
constexpr std::uint64_t kHot = 200;  // blocks that all write
constexpr std::size_t kDepth = 8;

/// Writes runs of the hot blocks, so many times.
class HotWriter final : public block::Completer {
  public:
    HotWriter(RaidDevice& device, std::uint64_t seed, int times)
        : prng_(seed), left_(times), channel_(std::move(*device.open_channel())), shots_(kDepth) {
        RequestBatch batch;
        for (Shot& shot : shots_) {
            prepare(shot);
            batch.push_back(shot);
        }
        channel_->submit(batch);
    }
    void complete(RequestBatch& batch) override {
        RequestBatch again;
        while (Request* request = batch.pop_front()) {
            Shot& shot = static_cast<Shot&>(*request);
            shot.pop_frame();
            failed += shot.status == Status::Ok ? 0 : 1;
            --under_way_;
            if (--left_ > 0) {
                prepare(shot);
                again.push_back(shot);
            }
        }
        if (!again.empty()) {
            channel_->submit(again);
        }
    }
    [[nodiscard]] bool idle() const { return under_way_ == 0; }
    int failed = 0;

  private:
    struct Shot : Request {
        std::vector<std::byte> bytes = std::vector<std::byte>(64 * kBlock);
        core::Segment segment;
    };
    void prepare(Shot& shot) {
        shot.push_frame(*this);
        shot.opcode = Opcode::Write;  // a plain read takes no lock
        shot.block_count = static_cast<std::uint32_t>(1 + prng_.below(64));
        shot.lba = prng_.below(kHot - shot.block_count + 1);
        shot.segment = {shot.bytes.data(), std::size_t{shot.block_count} * kBlock};
        shot.data = std::span(&shot.segment, 1);
        for (std::size_t at = 0; at < shot.segment.size; at += 64) {
            shot.bytes[at] = static_cast<std::byte>(prng_.next());
        }
        shot.status = Status::Ok;
        ++under_way_;
    }

    core::Prng prng_;
    int left_;
    std::size_t under_way_ = 0;
    std::unique_ptr<block::Channel> channel_;
    std::deque<Shot> shots_;
};

class RaidThreadsTest : public testing::TestWithParam<Level> {
  public:
    RaidThreadsTest() {
        for (std::uint32_t id = 0; id < 3; ++id) {
            reactor::ReactorThreadOptions options;
            options.id = id;
            options.policy.spin = 20us;
            options.seed = id + 1;
            threads_.push_back(std::move(*reactor::ReactorThread::start(options)));
            pools_.push_back(std::move(*memory::BufferPool::create(4 * core::kMiB)));
            if (id < 2) {
                contexts_.push_back({threads_.back()->reactor(), *pools_.back()});
            }
        }
        for (int i = 0; i < 4; ++i) {
            disks_.push_back(std::move(*backends::ram::RamDevice::create(
                "d" + std::to_string(i), {}, kBlock, 17 * core::kMiB / kBlock)));
        }
    }
    template <typename F>
    void on_control(F body) {
        std::promise<void> done;
        auto future = done.get_future();
        threads_[2]->reactor().post_function([&] { run(body, done); });
        CHECK(future.wait_for(100s) == std::future_status::ready);
    }
    Task<> quiet(RaidDevice& device) {
        co_await reactor::sleep_for(5ms);
        while (device.status().progress.kind != Progress::Kind::None) {
            co_await reactor::sleep_for(1ms);
        }
    }
    Task<> load(RaidDevice& device, int times) {
        std::array<std::unique_ptr<HotWriter>, 2> writers;
        for (std::size_t i = 0; i < 2; ++i) {
            co_await reactor::call_on(contexts_[i].reactor, [&writers, &device, i, times] {
                writers[i] = std::make_unique<HotWriter>(device, i + 1, times);
            });
        }
        for (std::size_t i = 0; i < 2; ++i) {
            for (bool idle = false; !idle;) {
                co_await reactor::sleep_for(1ms);
                idle = co_await reactor::call_on(contexts_[i].reactor, [&writers, i] {
                    const bool ended = writers[i]->idle();
                    if (ended) {
                        EXPECT_EQ(writers[i]->failed, 0);
                        writers[i].reset();
                    }
                    return ended;
                });
            }
        }
    }

  protected:
    std::vector<std::unique_ptr<block::Device>> disks_;
    std::vector<block::ReactorContext> contexts_;

  private:
    template <typename F>
    static reactor::detail::Detached run(F& body, std::promise<void>& done) {
        co_await body();
        done.set_value();
    }
    std::vector<std::unique_ptr<memory::BufferPool>> pools_;
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
};

TEST_P(RaidThreadsTest, TwoReactors_overlappingWritesAndAReplacedMember_copiesAgree) {
    on_control([this]() -> Task<> {
        RaidOptions options;
        options.name = "v";
        options.uuid = *core::Uuid::parse("11111111-2222-4333-8444-555555555555");
        options.level = GetParam();
        options.chunk_bytes = 16384;
        std::vector<Member> members;
        for (std::size_t i = 0; i < 3; ++i) {
            members.push_back({disks_[i]->name(), disks_[i].get()});
        }
        auto made = co_await RaidDevice::create(options, members, contexts_);
        EXPECT_TRUE(made);
        RaidDevice& device = **made;
        co_await load(device, 1500);  // during the first resync
        co_await quiet(device);
        device.set_rate_limit(0);
        const auto begun = co_await device.replace("d1", {"d3", disks_[3].get()});
        EXPECT_TRUE(begun);
        co_await load(device, 1500);  // during the rebuild
        co_await quiet(device);
        EXPECT_EQ(device.status().health, RaidStatus::Health::Optimal);
        EXPECT_TRUE(device.start_scrub());
        co_await load(device, 300);  // during the scrub
        co_await quiet(device);
        EXPECT_TRUE(device.start_scrub());
        co_await quiet(device);
        EXPECT_EQ(device.status().scrub_mismatches, 0U);
        co_await device.stop();
    });
}

INSTANTIATE_TEST_SUITE_P(Levels,
                         RaidThreadsTest,
                         testing::Values(Level::Raid1, Level::Raid5),
                         [](const auto& info) { return std::string(to_string(info.param)); });

}  // namespace
}  // namespace remora::services::raid
