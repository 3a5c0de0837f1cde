// SPDX-License-Identifier: Apache-2.0
// Volumes that compete for one slow back end, in a world whose time the test moves, on one reactor
// and on three. What each has is what the back end has done for it.
#include <array>
#include <cstdio>
#include <deque>
#include <list>
#include <memory>

#include <gtest/gtest.h>

#include "services/qos/qos_device.h"
#include "tests/unit/block/prompt_load.h"
#include "tests/unit/block/still_world.h"

namespace remora::services::qos {
namespace {

using namespace std::chrono_literals;
using block::Load;
using block::Opcode;
using block::Request;
using block::RequestBatch;

constexpr Nanos kTurn = 70us;
constexpr std::uint32_t kBlock = 4096;

/// Does one request after the other, in the order that they come, each in its time.
class SlowServer {
  public:
    explicit SlowServer(const Capacity& speed) { pool_.set(speed); }
    /// When it is done with so much more.
    Nanos add(std::uint64_t bytes, Nanos now) {
        free_ = std::max(free_, now) + pool_.time_of(bytes);
        return free_;
    }
    [[nodiscard]] Nanos backlog(Nanos now) const { return std::max(free_ - now, Nanos{}); }

  private:
    Pool pool_;
    Nanos free_{};
};

/// A volume of the server's.
class SlowDevice final : public block::Device {
  public:
    explicit SlowDevice(SlowServer& server) : Device("slow", {}), server_(server) {}
    [[nodiscard]] block::Geometry geometry() const override {
        block::Geometry geometry;
        geometry.block_size = kBlock;
        geometry.block_count = 1 << 20;
        return geometry;
    }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<SlowChannel>(server_);
    }

  private:
    class SlowChannel final : public block::Channel, private reactor::TimerHandler {
      public:
        explicit SlowChannel(SlowServer& server) : server_(server) {}
        void submit(RequestBatch& batch) override {
            reactor::Reactor& reactor = reactor::Reactor::current();
            while (Request* request = batch.pop_front()) {
                due_.push_back(
                    server_.add(std::uint64_t{request->block_count} * kBlock, reactor.now()));
                here_.push_back(*request);
            }
            reactor.arm(timer_, due_.front());
        }

      private:
        void on_timer(reactor::Timer& /*timer*/) override {
            reactor::Reactor& reactor = reactor::Reactor::current();
            RequestBatch done;
            while (!due_.empty() && due_.front() <= reactor.now()) {
                done.push_back(*here_.pop_front());
                due_.pop_front();
            }
            if (!due_.empty()) {
                reactor.arm(timer_, due_.front());
            }
            block::complete_batch(done);
        }
        SlowServer& server_;
        RequestBatch here_;
        std::deque<Nanos> due_;
        reactor::Timer timer_{*this};
    };
    SlowServer& server_;
};

class Competition : public testing::Test {
  public:
    static constexpr std::size_t kReactors = 3;

    struct Volume {
        explicit Volume(SlowServer& server) : slow(server), device(slow) {}
        SlowDevice slow;
        QosDevice device;
        std::list<std::unique_ptr<block::Channel>> channels;
        std::list<std::pair<std::size_t, Load>> loads;

        [[nodiscard]] std::uint64_t ended() const {
            std::uint64_t sum = 0;
            for (const auto& [at, load] : loads) {
                sum += load.ended;
            }
            return sum;
        }
    };

    void TearDown() override {
        for (Volume& volume : volumes) {
            volume.device.limits().set_rates({});
            volume.device.limits().set_share(nullptr, {});
            for (auto& [at, load] : volume.loads) {
                load.stop = true;
            }
        }
        show();
        pass(10s);
        for (Volume& volume : volumes) {
            for (auto& [at, load] : volume.loads) {
                EXPECT_TRUE(load.all_idle());
            }
            while (!volume.channels.empty()) {
                on(0, [&] { volume.channels.pop_front(); });
            }
        }
    }

    template <typename F>
    void on(std::size_t reactor, F f) {
        bool done = false;
        reactors[reactor].post_function([&] {
            f();
            done = true;
        });
        while (!done) {
            reactors[reactor].turn();
        }
    }
    void show() {
        for (std::size_t at = 0; at < kReactors; ++at) {
            on(at, [this] {
                for (Volume& volume : volumes) {
                    volume.device.limits().show_rates();
                }
            });
        }
    }
    Volume& add(const Rates& least, bool competes = true) {
        Volume& volume = volumes.emplace_back(server);
        if (competes) {
            set_least(volume, least);
        }
        return volume;
    }
    void set_least(Volume& volume, const Rates& least) {
        volume.device.limits().set_share(&pool, parts_of(least, pool.capacity()));
        show();
    }
    Load& start(Volume& volume,
                std::size_t depth,
                Opcode opcode = Opcode::Read,
                std::uint32_t blocks = 1,
                std::size_t reactor = 0) {
        on(reactor, [&] {
            volume.channels.push_back(std::move(*volume.device.open_channel()));
            volume.loads.emplace_back(
                std::piecewise_construct, std::forward_as_tuple(reactor),
                std::forward_as_tuple(*volume.channels.back(), opcode, blocks, depth));
        });
        return volume.loads.back().second;
    }
    /// One turn of each reactor each `step`.
    void pass(Nanos time, Nanos step = kTurn) {
        const Nanos until = clock.time + time;
        while (clock.time < until) {
            clock.time += step;
            for (reactor::Reactor& reactor : reactors) {
                reactor.turn();
            }
        }
    }
    /// What each volume has a second, over `time` from now on; printed too, for docs/QOS.md.
    std::vector<double> rates_over(Nanos time) {
        std::vector<double> before;
        for (const Volume& volume : volumes) {
            before.push_back(static_cast<double>(volume.ended()));
        }
        pass(time);
        std::vector<double> rates;
        auto at = before.begin();
        for (const Volume& volume : volumes) {
            rates.push_back((static_cast<double>(volume.ended()) - *at++) /
                            std::chrono::duration<double>(time).count());
            std::printf("%s%.1f", rates.size() == 1 ? "had a second: " : ", ", rates.back());
        }
        std::printf("\n");
        return rates;
    }

    block::StillIo io;
    block::StillClock clock;
    std::array<reactor::Reactor, kReactors> reactors{
        reactor::Reactor{0, io, clock, core::Prng(1), reactor::PollPolicy{}},
        reactor::Reactor{1, io, clock, core::Prng(2), reactor::PollPolicy{}},
        reactor::Reactor{2, io, clock, core::Prng(3), reactor::PollPolicy{}}};
    Capacity capacity{.ops = 70'000, .bytes = 1'000'000'000};
    SlowServer server{{.ops = 73'500, .bytes = 1'050'000'000}};
    Pool pool;
    std::list<Volume> volumes;

    Competition() { pool.set(capacity); }
};

void expect_near(double got, double wanted, double part) {
    EXPECT_GE(got, wanted * (1 - part));
    EXPECT_LE(got, wanted * (1 + part));
}

TEST_F(Competition, Minima_areMetBesideAGreedyNeighbour_andNothingIsLeftUnused) {
    for (const std::uint64_t thousands : {10U, 20U, 30U}) {
        start(add({.all_ops = thousands * 1000}), 64);
    }
    Volume& greedy = add({});
    start(greedy, 64);
    start(greedy, 1000, Opcode::Write);
    const auto rates = rates_over(3s);
    EXPECT_GE(rates[0], 9'500);
    EXPECT_GE(rates[1], 19'000);
    EXPECT_GE(rates[2], 28'500);
    EXPECT_GT(rates[3], 1'000) << "what is not promised keeps it alive";
    expect_near(rates[0] + rates[1] + rates[2] + rates[3], 70'000, 0.025);
}

TEST_F(Competition, WhatNobodyClaims_isSharedInProportion) {
    for (const std::uint64_t thousands : {5U, 10U, 15U}) {
        start(add({.all_ops = thousands * 1000}), 128);
    }
    const auto rates = rates_over(3s);
    expect_near(rates[0], 70'000.0 / 6, 0.05);
    expect_near(rates[1], 70'000.0 / 3, 0.05);
    expect_near(rates[2], 70'000.0 / 2, 0.05);
}

TEST_F(Competition, Minima_areMetOverSeveralReactors) {
    Volume& here = add({.all_ops = 10'000});
    start(here, 64, Opcode::Read, 1, 0);
    Volume& there = add({.all_ops = 20'000});
    start(there, 64, Opcode::Write, 1, 1);
    Volume& everywhere = add({.all_ops = 30'000});
    Volume& greedy = add({});
    for (std::size_t at = 0; at < kReactors; ++at) {
        start(everywhere, 64, at == 1 ? Opcode::Write : Opcode::Read, 1, at);
        start(greedy, 500, Opcode::Read, 1, at);
    }
    const auto rates = rates_over(3s);
    EXPECT_GE(rates[0], 9'500);
    EXPECT_GE(rates[1], 19'000);
    EXPECT_GE(rates[2], 28'500);
    EXPECT_LE(rates[0] + rates[1] + rates[2] + rates[3], 71'750) << "2.5 % more than declared";
}

TEST_F(Competition, MixedSizes_eachHasItsPartOfTheTime) {
    start(add({.all_ops = 30'000}), 64);
    start(add({.read_bytes = 300'000'000}), 16, Opcode::Read, 256);
    Volume& greedy = add({});
    start(greedy, 64, Opcode::Write, 64);
    start(greedy, 64, Opcode::Write, 1);
    const auto rates = rates_over(3s);
    EXPECT_GE(rates[0], 28'500);
    EXPECT_GE(rates[1] * 256 * kBlock, 285e6);
    EXPECT_GT(rates[2], 100);
}

TEST_F(Competition, Ways_haveMinimaOfTheirOwn) {
    Volume& sure = add({.read_ops = 20'000, .write_ops = 5'000});
    const Load& reads = start(sure, 64, Opcode::Read);
    const Load& writes = start(sure, 64, Opcode::Write);
    Volume& greedy = add({});
    start(greedy, 1000, Opcode::Read);
    start(greedy, 1000, Opcode::Write);
    pass(3s);
    EXPECT_GE(reads.ended, 57'000U);
    EXPECT_GE(writes.ended, 14'250U);
}

TEST_F(Competition, SmallBackEnd_largeRequests_noneStarves) {
    pool.set({.ops = 2'000, .bytes = 40'000'000});
    start(add({.all_ops = 1'000}), 8);
    start(add({.write_bytes = 10'000'000}), 4, Opcode::Write, 256);  // one is 26 ms of it
    Volume& greedy = add({});
    start(greedy, 64, Opcode::Read, 256);
    start(greedy, 64, Opcode::Read, 256, 1);
    const auto rates = rates_over(10s);
    EXPECT_GE(rates[0], 950);
    EXPECT_GE(rates[1] * 256 * kBlock, 9'000'000);
    EXPECT_GT(rates[2], 0.5);
}

TEST_F(Competition, MinimumWithoutDemand_isLeftToTheOthers_andThereAgainAtOnce) {
    Volume& sure = add({.all_ops = 60'000});
    start(add({}), 1000);
    expect_near(rates_over(1s)[1], 70'000, 0.025);
    start(sure, 4);
    const auto few = rates_over(1s);
    EXPECT_GE(few[0], 4 / 150e-6 * 0.5) << "four at a time, each a turn or two";
    expect_near(few[0] + few[1], 70'000, 0.025);
    start(sure, 128);
    EXPECT_GE(rates_over(200ms)[0], 54'000);
    sure.loads.front().second.stop = true;
    sure.loads.back().second.stop = true;
    pass(100ms);
    expect_near(rates_over(1s)[1], 70'000, 0.025);
}

TEST_F(Competition, Change_holdsAtOnceUnderLoad) {
    Volume& first = add({.all_ops = 10'000});
    start(first, 128);
    Volume& second = add({.all_ops = 50'000});
    start(second, 128);
    start(add({}), 1000);
    EXPECT_GE(rates_over(1s)[1], 47'500);
    set_least(second, {.all_ops = 10'000});
    set_least(first, {.all_ops = 50'000});
    const auto after = rates_over(1s);
    EXPECT_GE(after[0], 47'500);
    EXPECT_GE(after[1], 9'500);
    // Without a minimum left nobody takes turns: all that the server does is had.
    for (Volume& volume : volumes) {
        volume.device.limits().set_share(nullptr, {});
    }
    show();
    const auto free = rates_over(1s);
    expect_near(free[0] + free[1] + free[2], 73'500, 0.025);
}

TEST_F(Competition, BusyReactor_losesNothingOfItsMinimum) {
    start(add({.all_ops = 40'000}), 256);
    start(add({}), 1000, Opcode::Read, 1, 1);
    const double before = static_cast<double>(volumes.front().ended());
    pass(3s, 2ms);  // comes by every two milliseconds only
    EXPECT_GE((static_cast<double>(volumes.front().ended()) - before) / 3, 36'000);
}

TEST_F(Competition, Maximum_holdsBesideTheMinimum) {
    Volume& both = add({.all_ops = 10'000});
    both.device.limits().set_rates({.all_ops = 12'000});
    start(both, 64);
    start(add({}), 64);
    const auto rates = rates_over(3s);
    EXPECT_GE(rates[0], 9'500);
    EXPECT_LE(rates[0], 12'300);
    EXPECT_GE(rates[0] + rates[1], 66'500);
}

TEST_F(Competition, TimeHeldBack_isCounted) {
    Volume& sure = add({.all_ops = 60'000});
    start(sure, 32);
    Volume& greedy = add({});
    start(greedy, 100);
    pass(1s);
    std::uint64_t held = 0;
    on(0, [&] { held = greedy.device.limits().throttled_ns_here(); });
    EXPECT_GE(held, 80'000'000'000U) << "most of the hundred wait all the time";
}

/// A controller: its stage is above the volumes that its requests go to.
class CompetingController : public Competition {
  public:
    CompetingController() { stage.set_share(&pool, parts_of({.all_ops = 30'000}, capacity)); }
    ~CompetingController() override = default;

    void TearDown() override {
        stage.set_share(nullptr, {});
        on(0, [this] { stage.show_rates(); });
        for (Load& load : through) {
            load.stop = true;
        }
        pass(1s);
        for (Load& load : through) {
            EXPECT_TRUE(load.all_idle());
        }
        on(0, [this] {
            ways.clear();
            below.clear();
        });
        Competition::TearDown();
    }
    /// Requests that come by the controller.
    Load& come_through(Volume& volume, std::size_t depth) {
        on(0, [&] {
            below.push_back(std::move(*volume.device.open_channel()));
            ways.push_back(std::move(*stage.open_channel(*below.back(), kBlock)));
            through.emplace_back(*ways.back(), Opcode::Read, 1, depth);
        });
        return through.back();
    }

    QosStage stage{QosStage::Place::Above};
    std::list<std::unique_ptr<block::Channel>> below;
    std::list<std::unique_ptr<block::StageChannel>> ways;
    std::list<Load> through;
};

TEST_F(CompetingController, Minimum_isOfAllItsVolumes_andTakenOnceOnly) {
    Volume& one = add({});
    Volume& two = add({.all_ops = 20'000});
    const Load& first = come_through(one, 64);
    const Load& second = come_through(two, 64);
    start(one, 500);  // past the controller
    start(two, 64);
    const auto rates = rates_over(3s);
    EXPECT_GE(static_cast<double>(first.ended + second.ended) / 3, 28'500);
    EXPECT_GE(rates[1], 19'000);
    const double all = rates[0] + rates[1] + static_cast<double>(first.ended + second.ended) / 3;
    expect_near(all, 70'000, 0.025);  // each request is charged once
}

TEST_F(CompetingController, VolumesOwnMaximum_holdsForIt) {
    Volume& volume = add({});
    volume.device.limits().set_rates({.all_ops = 5'000});
    const Load& load = come_through(volume, 64);
    pass(3s);
    EXPECT_LE(load.ended, 15'375U);
    EXPECT_GE(load.ended, 14'250U);
}

}  // namespace
}  // namespace remora::services::qos
