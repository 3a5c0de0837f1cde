// SPDX-License-Identifier: Apache-2.0
// Fault stages put into a RAM volume's way, changed and taken out under load of two reactors, all
// on threads of their own; also run under ThreadSanitizer.
#include <algorithm>
#include <cstring>
#include <deque>
#include <future>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "backends/ram/ram_device.h"
#include "block/junction.h"
#include "memory/buffer_pool.h"
#include "reactor/call.h"
#include "reactor/linux/reactor_thread.h"
#include "services/fault/fault_stage.h"

namespace remora::services::fault {
namespace {

using namespace std::chrono_literals;
using block::Opcode;
using block::Request;
using block::RequestBatch;
using block::Status;
using reactor::Task;

constexpr std::uint32_t kBlockSize = 512;
constexpr std::size_t kReactors = 2;
constexpr std::size_t kChannels = 3;  // of each reactor
constexpr std::size_t kDepth = 8;     // of each channel
constexpr OperationSet kAll{.read = true, .write = true, .flush = true, .unmap = true};

struct Totals {
    std::uint64_t ended = 0;
    std::uint64_t failed = 0;
    Nanos slowest{};

    void add(const Totals& other) {
        ended += other.ended;
        failed += other.failed;
        slowest = std::max(slowest, other.slowest);
    }
};

/// A closed loop on a channel: each request writes a block of its own and reads it back.
class CheckedLoad final : public block::Completer {
  public:
    CheckedLoad(block::Device& device, std::uint64_t first_lba)
        : reactor_(reactor::Reactor::current()),
          channel_(std::move(*device.open_channel())),
          shots_(kDepth) {
        RequestBatch batch;
        for (Shot& shot : shots_) {
            shot.lba = first_lba++;
            shot.block_count = 1;
            shot.data = std::span(&shot.segment, 1);
            prepare(shot);
            batch.push_back(shot);
        }
        channel_->submit(batch);
    }

    void complete(RequestBatch& batch) override {
        RequestBatch again;
        while (Request* request = batch.pop_front()) {
            Shot& shot = static_cast<Shot&>(*request);
            CHECK(shot.under_way);
            shot.pop_frame();
            CHECK(shot.depth == 0);
            shot.under_way = false;
            take(shot);
            if (!stopping_) {
                prepare(shot);
                again.push_back(shot);
            }
        }
        if (!again.empty()) {
            channel_->submit(again);
        }
    }

    void stop() { stopping_ = true; }
    [[nodiscard]] bool idle() const {
        return std::ranges::none_of(shots_, [](const Shot& shot) { return shot.under_way; });
    }
    [[nodiscard]] const Totals& totals() const { return totals_; }

  private:
    struct Shot : Request {
        std::vector<std::byte> bytes = std::vector<std::byte>(kBlockSize);
        core::Segment segment{bytes.data(), bytes.size()};
        std::uint64_t value = 0;    ///< In `bytes`, when it is a write.
        std::uint64_t content = 0;  ///< Of its block.
        Nanos begun{};
        bool under_way = false;
    };
    void prepare(Shot& shot) {
        shot.push_frame(*this);
        shot.opcode = shot.opcode == Opcode::Read ? Opcode::Write : Opcode::Read;
        shot.value = shot.opcode == Opcode::Read ? 0 : shot.value + 1;
        std::memcpy(shot.bytes.data(), &shot.value, sizeof shot.value);
        shot.status = Status::Ok;
        shot.begun = reactor_.measure_now();
        shot.under_way = true;
    }
    void take(Shot& shot) {
        ++totals_.ended;
        totals_.slowest = std::max(totals_.slowest, reactor_.measure_now() - shot.begun);
        if (shot.status != Status::Ok) {
            ++totals_.failed;
            shot.value = shot.content;  // what failed has touched nothing
        } else if (shot.opcode == Opcode::Write) {
            shot.content = shot.value;
        } else {
            std::uint64_t read = 0;
            std::memcpy(&read, shot.bytes.data(), sizeof read);
            CHECK(read == shot.content);
            shot.value = read;
        }
    }

    reactor::Reactor& reactor_;
    std::unique_ptr<block::Channel> channel_;
    std::deque<Shot> shots_;
    Totals totals_;
    bool stopping_ = false;
};

FaultSettings slow_medium() {
    FaultSettings settings;
    settings.delays.push_back({.on = kAll,
                               .distribution = DelayRule::Distribution::Uniform,
                               .mean = 500us,
                               .spread = 500us});
    return settings;
}

std::unique_ptr<reactor::ReactorThread> start_thread(std::uint32_t id) {
    reactor::ReactorThreadOptions options;
    options.id = id;
    options.policy.spin = 20us;
    options.seed = id + 1;
    return std::move(*reactor::ReactorThread::start(options));
}

class FaultThreadsTest : public testing::Test {
  public:
    FaultThreadsTest() {
        for (std::uint32_t id = 0; id < kReactors; ++id) {
            threads_.push_back(start_thread(id));
            pools_.push_back(std::move(*memory::BufferPool::create(core::kMiB)));
            contexts.push_back({threads_.back()->reactor(), *pools_.back()});
        }
    }

    /// Runs `body()` on the control reactor while the load goes on; then ends the load.
    template <typename F>
    Totals under_load(F body) {
        Totals sum;
        std::promise<void> done;
        auto future = done.get_future();
        control_->reactor().post_function([&] { run(*this, body, sum, done); });
        CHECK(future.wait_for(100s) == std::future_status::ready);
        return sum;
    }

    Task<FaultCounts> counts(FaultStage& stage) {
        FaultCounts sum;
        for (const block::ReactorContext& context : contexts) {
            const auto here =
                co_await reactor::call_on(context.reactor, [&] { return stage.counts_here(); });
            sum.add(here);
        }
        co_return sum;
    }
    Task<> show(FaultStage& stage) {
        for (const block::ReactorContext& context : contexts) {
            co_await reactor::call_on(context.reactor, [&] { stage.show(); });
        }
    }
    Task<> start_load() {
        std::uint64_t lba = 0;
        for (std::size_t i = 0; i < kReactors * kChannels; ++i, lba += kDepth) {
            co_await reactor::call_on(contexts[i % kReactors].reactor,
                                      [&] { loads_[i % kReactors].emplace_back(junction, lba); });
        }
    }
    Task<Totals> end_load() {
        Totals sum;
        for (std::size_t i = 0; i < kReactors; ++i) {
            const auto here = co_await reactor::call_on(contexts[i].reactor,
                                                        [&] { return end_loads(&loads_[i]); });
            sum.add(here);
        }
        co_return sum;
    }
    static Task<Totals> end_loads(std::deque<CheckedLoad>* loads) {
        Totals sum;
        for (CheckedLoad& load : *loads) {
            load.stop();
        }
        for (CheckedLoad& load : *loads) {
            while (!load.idle()) {
                co_await reactor::sleep_for(100us);
            }
            sum.add(load.totals());
        }
        loads->clear();
        co_return sum;
    }

    std::vector<block::ReactorContext> contexts;
    std::unique_ptr<block::Device> ram =
        std::move(*backends::ram::RamDevice::create("ram", {}, kBlockSize, 4096));
    // Below all others, so that requests are always under way and the machine has time for all.
    FaultStage pace{slow_medium()};
    block::Junction junction{*ram, {&pace}};

  private:
    template <typename F>
    static reactor::detail::Detached run(FaultThreadsTest& test,
                                         F& body,
                                         Totals& sum,
                                         std::promise<void>& done) {
        co_await test.start_load();
        co_await body();
        sum = co_await test.end_load();
        done.set_value();
    }

    std::vector<std::unique_ptr<memory::BufferPool>> pools_;
    std::deque<CheckedLoad> loads_[kReactors];  // [i] is reactor i's
    std::vector<std::unique_ptr<reactor::ReactorThread>> threads_;
    std::unique_ptr<reactor::ReactorThread> control_ = start_thread(kReactors);
};

// Each stage is destroyed after its removal, so whatever still knew it would be found out.
TEST_F(FaultThreadsTest, ThousandStages_inAndOut_everyRequestEndsOnce) {
    FaultSettings settings;
    settings.errors.push_back({.on = kAll, .probability = 0.2});
    settings.delays.push_back({.on = kAll,
                               .probability = 0.3,
                               .distribution = DelayRule::Distribution::Exponential,
                               .mean = 50us});
    FaultCounts injected;
    const Totals load = under_load([&]() -> Task<> {
        for (int i = 0; i < 1000; ++i) {
            FaultStage stage(settings);
            const auto inserted = co_await junction.insert(stage, contexts);
            EXPECT_TRUE(inserted);
            co_await junction.remove(stage, contexts);
            const FaultCounts seen = co_await counts(stage);
            injected.add(seen);
        }
    });
    EXPECT_EQ(load.failed, injected.errors);
    EXPECT_GT(load.ended, load.failed);
    EXPECT_GT(injected.errors, 0U);
    EXPECT_GT(injected.delayed, 0U);
    RecordProperty("slowest_us", static_cast<int>(load.slowest / 1us));
}

TEST_F(FaultThreadsTest, SharedCount_overReactors_isExact) {
    constexpr std::uint64_t kCount = 5000;
    FaultSettings settings;
    settings.errors.push_back({.on = kAll, .probability = 0.5, .count = kCount});
    FaultCounts injected;
    const Totals load = under_load([&]() -> Task<> {
        FaultStage stage(settings);
        const auto inserted = co_await junction.insert(stage, contexts);
        EXPECT_TRUE(inserted);
        while (injected.errors < kCount) {
            injected = co_await counts(stage);
        }
        co_await reactor::sleep_for(5ms);  // in which no more may come
        co_await junction.remove(stage, contexts);
        injected = co_await counts(stage);
    });
    EXPECT_EQ(injected.errors, kCount);
    EXPECT_EQ(injected.error_hits, std::vector<std::uint64_t>{kCount});
    EXPECT_EQ(load.failed, kCount);
}

TEST_F(FaultThreadsTest, LiveChanges_underLoad_everyRequestEndsOnce) {
    FaultSettings slow;
    slow.delays.push_back({.on = kAll, .mean = 60s});
    FaultSettings quick;
    quick.delays.push_back({.on = {.write = true}, .mean = 20us});
    const Totals load = under_load([&]() -> Task<> {
        FaultStage stage(quick);
        const auto inserted = co_await junction.insert(stage, contexts);
        EXPECT_TRUE(inserted);
        for (int i = 0; i < 300; ++i) {
            stage.set(quick);
            co_await show(stage);
            stage.set(slow);
            co_await show(stage);
            if (i % 2 == 0) {
                for (const block::ReactorContext& context : contexts) {
                    co_await reactor::call_on(context.reactor, [&] { stage.release(); });
                }
            } else {
                stage.set({});
                co_await show(stage);
            }
        }
        co_await junction.remove(stage, contexts);
    });
    EXPECT_EQ(load.failed, 0U);
    EXPECT_GT(load.ended, 300U);
}

}  // namespace
}  // namespace remora::services::fault
