// SPDX-License-Identifier: Apache-2.0
// FaultStage behind a Junction, in a world whose time the test moves.
#include "services/fault/fault_stage.h"

#include <array>
#include <list>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "block/junction.h"
#include "tests/unit/block/prompt_load.h"
#include "tests/unit/block/still_world.h"

namespace remora::services::fault {
namespace {

using namespace std::chrono_literals;
using block::Load;
using block::Opcode;
using block::Status;
using Distribution = DelayRule::Distribution;

constexpr OperationSet kAll{.read = true, .write = true, .flush = true, .unmap = true};

class FaultStageTest : public block::StillWorld {
  public:
    void TearDown() override {
        set({});
        for (Load& load : loads) {
            load.stop = true;
        }
        pass(20us);
        for (const Load& load : loads) {
            EXPECT_TRUE(load.all_idle());
        }
        on_reactor([this] { channels.clear(); });
    }

    void set(const FaultSettings& settings) {
        stage.set(settings);
        on_reactor([this] { stage.show(); });
    }
    Load& start(Opcode opcode, std::size_t depth, std::uint64_t lba = 0) {
        on_reactor([&] {
            channels.push_back(std::move(*junction.open_channel()));
            loads.emplace_back(*channels.back(), opcode, opcode == Opcode::Flush ? 0U : 1U, depth,
                               lba);
        });
        return loads.back();
    }
    /// A turn each microsecond.
    void pass(Nanos time) {
        const Nanos until = clock.time + time;
        while (clock.time < until) {
            clock.time += 1us;
            reactor.turn();
        }
    }
    FaultCounts counts() {
        FaultCounts out;
        on_reactor([&] { out = stage.counts_here(); });
        return out;
    }

    block::PromptDevice device;
    FaultStage stage{FaultSettings{}};
    block::Junction junction{device, {&stage}};
    std::list<std::unique_ptr<block::Channel>> channels;
    std::list<Load> loads;
};

class Sink final : public block::Completer {
  public:
    void complete(block::RequestBatch& batch) override {
        while (block::Request* request = batch.pop_front()) {
            request->pop_frame();
            EXPECT_EQ(request->depth, 0);
            ++ended;
        }
    }
    std::size_t ended = 0;
};

FaultSettings failing(const ErrorRule& rule) {
    FaultSettings settings;
    settings.errors.push_back(rule);
    return settings;
}

FaultSettings slow(const DelayRule& rule) {
    FaultSettings settings;
    settings.delays.push_back(rule);
    return settings;
}

TEST_F(FaultStageTest, NoRule_passesAsItIs) {
    Load& load = start(Opcode::Read, 4);
    const std::uint64_t before = load.ended;
    pass(100us);
    EXPECT_EQ(load.ended, before + 400);
    EXPECT_EQ(counts(), FaultCounts{});
}

TEST_F(FaultStageTest, RuleForOthers_passesAsItIs) {
    set(failing({.on = {.write = true}, .first_lba = 1000}));
    Load& load = start(Opcode::Write, 4);
    const std::uint64_t before = load.ended;
    pass(100us);
    EXPECT_EQ(load.ended, before + 400);
    EXPECT_EQ(load.failed, 0U);
    EXPECT_EQ(counts().errors, 0U);
}

TEST_F(FaultStageTest, Error_endsTheRequestWithoutTheDevice) {
    set(failing({.on = {.read = true}, .count = 10, .status = Status::DataCorrupt}));
    Load& load = start(Opcode::Read, 4);
    pass(100us);
    EXPECT_EQ(load.failed, 10U);
    EXPECT_EQ(device.submitted, load.ended + 4 - 10);
    const FaultCounts now = counts();
    EXPECT_EQ(now.errors, 10U);
    EXPECT_EQ(now.error_hits, std::vector<std::uint64_t>{10});
    EXPECT_EQ(now.delayed, 0U);
}

TEST_F(FaultStageTest, MixedBatch_isSplitByWhatHits) {
    set(failing({.on = {.write = true, .flush = true}}));
    std::array<block::Request, 5> requests;
    constexpr std::array kOpcodes{Opcode::Read, Opcode::Write, Opcode::Discard, Opcode::Flush,
                                  Opcode::Read};
    Sink sink;
    on_reactor([&] {
        channels.push_back(std::move(*junction.open_channel()));
        block::RequestBatch batch;
        for (std::size_t i = 0; i < requests.size(); ++i) {
            requests[i].opcode = kOpcodes[i];
            requests[i].push_frame(sink);
            batch.push_back(requests[i]);
        }
        channels.back()->submit(batch);
        EXPECT_TRUE(batch.empty());
        EXPECT_EQ(sink.ended, 0U) << "nobody is re-entered";
    });
    EXPECT_EQ(sink.ended, 5U);
    EXPECT_EQ(device.submitted, 3U);
    EXPECT_EQ(counts().errors, 2U);
    for (std::size_t i = 0; i < requests.size(); ++i) {
        const bool hit = kOpcodes[i] == Opcode::Write || kOpcodes[i] == Opcode::Flush;
        EXPECT_EQ(requests[i].status, hit ? Status::IoError : Status::Ok) << i;
    }
}

TEST_F(FaultStageTest, ConstantDelay_isKeptExactlyAndCounted) {
    set(slow({.on = kAll, .mean = 1ms}));
    Load& load = start(Opcode::Read, 8);
    pass(1ms - 1us);
    EXPECT_EQ(load.ended, 0U);
    EXPECT_EQ(device.submitted, 0U) << "it is held on its way down";
    pass(1us);
    pass(1us);  // the device's turn
    EXPECT_EQ(load.ended, 8U);
    pass(99ms);
    // Each goes round in a millisecond and the device's turn.
    EXPECT_NEAR(static_cast<double>(load.ended), 8 * 100 / 1.001, 8);
    const FaultCounts now = counts();
    EXPECT_EQ(now.delayed, load.ended + 8);
    EXPECT_NEAR(static_cast<double>(now.delayed_ns), static_cast<double>(load.ended) * 1e6, 8e6);
    EXPECT_EQ(now.errors, 0U);
}

TEST_F(FaultStageTest, RandomDelays_makeTheRateOfTheirMean) {
    FaultSettings settings =
        slow({.on = kAll, .distribution = Distribution::Exponential, .mean = 500us});
    settings.seed = 5;
    set(settings);
    Load& load = start(Opcode::Read, 64);
    pass(200ms);
    EXPECT_NEAR(static_cast<double>(load.ended), 64 * 200.0 / 0.501, 0.03 * 64 * 400);
}

TEST_F(FaultStageTest, DelayedError_comesAfterItsTime) {
    FaultSettings settings = failing({.on = kAll, .count = 3});
    settings.delays.push_back({.on = kAll, .mean = 100us});
    set(settings);
    Load& load = start(Opcode::Write, 3);
    pass(99us);
    EXPECT_EQ(load.ended, 0U);
    pass(3us);
    EXPECT_EQ(load.failed, 3U);
    EXPECT_EQ(device.submitted, 0U);
    EXPECT_EQ(counts().errors, 3U);
}

TEST_F(FaultStageTest, NewSettings_leaveWhatWaitsItsTime) {
    set(slow({.on = kAll, .mean = 1ms}));
    Load& load = start(Opcode::Read, 4);
    pass(500us);
    set(slow({.on = kAll, .mean = 20ms}));
    EXPECT_EQ(counts().delayed, 0U) << "counts begin anew";
    pass(502us);
    EXPECT_EQ(load.ended, 4U);
    pass(19ms);
    EXPECT_EQ(load.ended, 4U) << "the next ones wait by the new settings";
    pass(1ms);
    EXPECT_EQ(load.ended, 8U);
    EXPECT_EQ(counts().delay_hits, std::vector<std::uint64_t>{8});
}

TEST_F(FaultStageTest, EmptySettings_letGoAtOnce) {
    set(slow({.on = kAll, .mean = 60s}));
    Load& load = start(Opcode::Read, 4);
    pass(10us);
    set({});
    pass(100us);
    EXPECT_NEAR(static_cast<double>(load.ended), 400, 8);
    EXPECT_EQ(counts(), FaultCounts{});
}

TEST_F(FaultStageTest, Release_letsGoWhatWaitsAndKeepsTheSettings) {
    set(slow({.on = kAll, .mean = 60s}));
    Load& load = start(Opcode::Read, 4);
    pass(10us);
    on_reactor([this] { stage.release(); });
    pass(10us);
    EXPECT_EQ(load.ended, 4U);
    EXPECT_EQ(counts().delayed, 8U);
}

TEST_F(FaultStageTest, OneSeed_drawsTheSameAgain) {
    FaultSettings settings = failing({.on = kAll, .probability = 0.3});
    std::vector<std::uint64_t> failed;
    for (const std::uint64_t seed : {7U, 7U, 8U}) {
        settings.seed = seed;
        set(settings);
        Load& load = start(Opcode::Read, 1);
        std::uint64_t shape = 0;
        for (int i = 0; i < 64; ++i) {
            const std::uint64_t before = load.failed;
            pass(1us);
            shape = shape << 1U | (load.failed - before);
        }
        failed.push_back(shape);
        load.stop = true;
        pass(2us);
    }
    EXPECT_EQ(failed[0], failed[1]);
    EXPECT_NE(failed[0], failed[2]);
}

TEST_F(FaultStageTest, CountsAreSharedByChannels) {
    Load& one = start(Opcode::Read, 3);
    Load& two = start(Opcode::Write, 5);
    set(failing({.on = kAll, .count = 100}));
    pass(100us);
    EXPECT_EQ(one.failed + two.failed, 100U);
    EXPECT_GT(one.failed, 0U);
    EXPECT_GT(two.failed, 0U);
}

// Taken out of the way while it holds requests of both kinds: all go at once.
TEST_F(FaultStageTest, Removed_letsGoAndFailsWhatItHas) {
    FaultSettings settings = failing({.on = {.write = true}});
    settings.delays.push_back({.on = kAll, .mean = 60s});
    set(settings);
    Load& reads = start(Opcode::Read, 4);
    Load& writes = start(Opcode::Write, 2);
    auto pool = std::move(*memory::BufferPool::create(core::kMiB));
    const std::vector<block::ReactorContext> contexts{{reactor, *pool}};

    run([&]() -> reactor::Task<> { co_await junction.remove(stage, contexts); });
    const std::uint64_t drawn = counts().delayed;
    pass(100us);

    EXPECT_EQ(writes.failed, 2U);
    EXPECT_EQ(reads.failed, 0U);
    EXPECT_GT(writes.ended, 100U);
    EXPECT_GT(reads.ended, 300U);
    EXPECT_EQ(drawn, 6U);
    EXPECT_EQ(counts().delayed, drawn) << "nobody comes by any more";
}

}  // namespace
}  // namespace remora::services::fault
