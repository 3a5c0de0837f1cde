// SPDX-License-Identifier: Apache-2.0
// QosDevice in a world whose time the test moves: closed loops of requests over a device that ends
// what came in a turn at its end.
#include "services/qos/qos_device.h"

#include <list>
#include <memory>

#include <gtest/gtest.h>

#include "tests/unit/block/prompt_load.h"
#include "tests/unit/block/still_world.h"

namespace remora::services::qos {
namespace {

using namespace std::chrono_literals;
using block::Load;
using block::Opcode;
using block::PromptDevice;

constexpr Nanos kTurn = 70us;

class QosDeviceTest : public block::StillWorld {
  public:
    void TearDown() override {
        set_rates({});
        for (Load& load : loads) {
            load.stop = true;
        }
        pass(1s);
        for (const Load& load : loads) {
            EXPECT_TRUE(load.all_idle());
        }
        on_reactor([this] { channels.clear(); });
    }

    void set_rates(const Rates& rates) {
        device.limits().set_rates(rates);
        on_reactor([this] { device.limits().show_rates(); });
    }
    Load& start(Opcode opcode, std::uint32_t blocks, std::size_t depth) {
        on_reactor([&] {
            channels.push_back(std::move(*device.open_channel()));
            loads.emplace_back(*channels.back(), opcode, blocks, depth);
        });
        return loads.back();
    }
    /// Moves the time on, a turn each `step`, as a reactor that is busy with other things.
    void pass(Nanos time, Nanos step = kTurn) {
        const Nanos until = clock.time + time;
        while (clock.time < until) {
            clock.time += step;
            reactor.turn();
        }
    }
    std::uint64_t throttled_ns() {
        std::uint64_t out = 0;
        on_reactor([&] { out = device.limits().throttled_ns_here(); });
        return out;
    }

    PromptDevice lower;
    QosDevice device{lower};
    std::list<std::unique_ptr<block::Channel>> channels;
    std::list<Load> loads;
};

void expect_near(std::uint64_t got, double wanted, double above, double below) {
    EXPECT_LE(static_cast<double>(got), wanted * (1 + above));
    EXPECT_GE(static_cast<double>(got), wanted * (1 - below));
}

TEST_F(QosDeviceTest, NoLimit_passesAsItIs) {
    Load& load = start(Opcode::Read, 1, 4);
    const std::uint64_t before = load.ended;
    pass(100 * kTurn);
    EXPECT_EQ(load.ended, before + 4U * 100);  // one round a turn
    EXPECT_EQ(throttled_ns(), 0U);
}

TEST_F(QosDeviceTest, Operations_areExactFromAColdStart) {
    for (const std::uint64_t rate : {1000U, 33'000U, 250'000U}) {
        set_rates({.all_ops = rate});
        Load& load = start(Opcode::Read, 1, 64);
        pass(3s);
        expect_near(load.ended, 3.0 * static_cast<double>(rate), 0.025, 0.05);
        load.stop = true;
        pass(100ms);
    }
}

TEST_F(QosDeviceTest, Bandwidth_isExactForLargeRequestsAtASmallLimit) {
    // 1 MiB requests at 4 MiB a second: each takes a quarter of a second.
    set_rates({.write_bytes = 4 * core::kMiB});
    Load& load = start(Opcode::Write, 256, 8);
    pass(30s);
    // The first is begun at once and paid afterwards.
    EXPECT_GE(load.ended, 119U);
    EXPECT_LE(load.ended, 121U);
}

TEST_F(QosDeviceTest, TheOtherWay_isUntouched) {
    set_rates({.write_ops = 1000});
    Load& writes = start(Opcode::Write, 1, 32);
    on_reactor([&] { loads.emplace_back(*channels.back(), Opcode::Read, 1, 4); });
    Load& reads = loads.back();
    const std::uint64_t before = reads.ended;
    pass(10'000 * kTurn);
    EXPECT_EQ(reads.ended, before + 4U * 10'000);
    expect_near(writes.ended, 700, 0.025, 0.05);
}

TEST_F(QosDeviceTest, SharedLimit_isSharedFairly) {
    set_rates({.all_ops = 100'000});
    Load& one = start(Opcode::Read, 1, 128);
    Load& two = start(Opcode::Read, 1, 8);
    Load& three = start(Opcode::Write, 1, 128);
    pass(3s);
    expect_near(one.ended + two.ended + three.ended, 300'000, 0.025, 0.05);
    expect_near(one.ended, 100'000, 0.1, 0.1);
    expect_near(three.ended, 100'000, 0.1, 0.1);
    expect_near(two.ended, 100'000, 0.2, 0.2);  // of fewer requests at once
}

TEST_F(QosDeviceTest, NewRates_holdForWhatWaits) {
    set_rates({.read_ops = 1});
    Load& load = start(Opcode::Read, 1, 100);
    pass(100ms);
    EXPECT_LE(load.ended, 2U);
    set_rates({.read_ops = 10'000});
    pass(1s);
    expect_near(load.ended, 10'000, 0.025, 0.05);
    set_rates({});
    const std::uint64_t before = load.ended;
    pass(100 * kTurn);
    EXPECT_EQ(load.ended, before + 100U * 100);
}

TEST_F(QosDeviceTest, Flush_isHeldUpByNothing) {
    set_rates({.all_ops = 1});
    start(Opcode::Write, 1, 32);
    on_reactor([&] { loads.emplace_back(*channels.back(), Opcode::Flush, 0, 1); });
    Load& flushes = loads.back();
    const std::uint64_t before = flushes.ended;
    pass(100 * kTurn);
    EXPECT_EQ(flushes.ended, before + 100U);
}

TEST_F(QosDeviceTest, ZeroesAndDiscards_countAsOperationsWithoutBytes) {
    set_rates({.write_ops = 1000, .write_bytes = 1});
    Load& zeroes = start(Opcode::WriteZeroes, 1000, 16);
    Load& discards = start(Opcode::Discard, 1000, 16);
    pass(1s);
    expect_near(zeroes.ended + discards.ended, 1000, 0.025, 0.05);
}

TEST_F(QosDeviceTest, TimeHeldBack_isCounted) {
    set_rates({.read_ops = 1000});
    start(Opcode::Read, 1, 10);
    pass(1s);
    // All ten wait, each again as soon as it ends.
    expect_near(throttled_ns(), 10e9, 0.01, 0.05);
}

}  // namespace
}  // namespace remora::services::qos
