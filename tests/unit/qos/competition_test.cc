// SPDX-License-Identifier: Apache-2.0
// Volumes that compete for one slow back end, in a world whose time the test moves, on one reactor
// and on three. What each has is what the back end has done for it.
#include <array>
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
    /// What each volume gets in `time`, a second, from now on.
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
        }
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

void print(const char* what, const std::vector<double>& rates) {
    printf("%s: ", what);
    for (double one : rates) {
        printf("%.0f ", one);
    }
    printf("\n");
}

TEST_F(Competition, Minima_areMetWhateverTheOthersDo) {
    add({.all_ops = 10'000});
    add({.all_ops = 20'000});
    add({.all_ops = 30'000});
    add({});
    for (Volume& volume : volumes) {
        start(volume, 64);
    }
    start(volumes.back(), 1000, Opcode::Write);  // the greedy neighbour
    print("greedy 1", rates_over(3s));
}
TEST_F(Competition, B) {
    for (std::uint64_t k = 1; k <= 3; ++k) {
        Volume& volume = add({.all_ops = k * 5'000});
        start(volume, 128, Opcode::Read);
    }
    print("excess 5/10/15 of 70", rates_over(3s));
}
TEST_F(Competition, C) {
    for (std::uint64_t k = 1; k <= 3; ++k) {
        Volume& volume = add({.all_ops = k * 10'000});
        start(volume, 64, k == 2 ? Opcode::Write : Opcode::Read, 1, k - 1);
        if (k == 3) {
            start(volume, 64, Opcode::Write, 1, 0);
            start(volume, 64, Opcode::Write, 1, 1);
        }
    }
    Volume& none = add({});
    for (std::size_t at = 0; at < 3; ++at) {
        start(none, 500, Opcode::Read, 1, at);
    }
    print("3 reactors", rates_over(3s));
}
TEST_F(Competition, D) {
    Volume& small = add({.all_ops = 30'000});
    start(small, 64);
    Volume& large = add({.read_bytes = 300'000'000});
    start(large, 16, Opcode::Read, 256);  // 1 MiB
    Volume& none = add({});
    start(none, 64, Opcode::Write, 64);
    start(none, 64, Opcode::Write, 1);
    auto r = rates_over(3s);
    r[1] *= 1.048576;
    print("mixed: 30k, 300 MB", r);
}
TEST_F(Competition, E) {
    Volume& a = add({.all_ops = 40'000});
    start(a, 8);
    Volume& none = add({});
    start(none, 500);
    print("depth 8, 40k", rates_over(3s));
    volumes.front().loads.front().second.stop = true;
    pass(100ms);
    print("idle", rates_over(1s));
}
TEST_F(Competition, F) {
    pool.set({.ops = 2'000});
    Volume& a = add({.all_ops = 1'000});
    start(a, 8);
    Volume& b = add({.all_ops = 500});
    start(b, 8);
    Volume& none = add({});
    start(none, 500);
    start(none, 500, Opcode::Read, 1, 1);
    print("slow 2000: 1000, 500, rest", rates_over(3s));
}
TEST_F(Competition, G) {
    Volume& a = add({});
    start(a, 64);
    print("alone", rates_over(3s));
}

}  // namespace
}  // namespace remora::services::qos
