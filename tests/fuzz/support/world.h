// SPDX-License-Identifier: Apache-2.0
// World: one reactor in a world of memory (FakeIo) whose time moves only here. Made anew for each
// input, so runs are alike; its end CHECKs that nothing is left over. Every wait is bounded: work
// that does not end is a finding.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "memory/buffer_pool.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "tests/fuzz/support/fake_io.h"

namespace remora::fuzz {

class FakeClock final : public reactor::Clock {
  public:
    /// Each look takes a moment, so that a shortest wait ends by turning alone.
    reactor::Nanos now() override { return time += reactor::Nanos(100); }
    reactor::Nanos time{1'000'000'000};
};

class World {
  public:
    World() { quiet(); }
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    ~World() {
        CHECK(io.open_objects() == 0);
        CHECK(pool().in_use() == 0);
    }

    /// Payload memory, kept from input to input; each gives all of it back.
    static memory::BufferPool& pool() {
        static const std::unique_ptr<memory::BufferPool> kept =
            std::move(*memory::BufferPool::create(std::size_t{1} << 20U));
        return *kept;
    }

    /// Turns until nothing is left to do without time passing.
    void settle() {
        int turns = 0;
        while (reactor.turn() || reactor.has_queued_work() || io.busy()) {
            CHECK(++turns < kMaxTurns);
        }
    }
    void turn(unsigned times) {
        for (unsigned i = 0; i < times; ++i) {
            reactor.turn();
        }
    }
    /// Lets time pass, timer by timer.
    void pass(reactor::Nanos duration) {
        const reactor::Nanos until = clock.time + duration;
        settle();
        for (int i = 0; i < kMaxTurns && reactor.next_deadline() <= until; ++i) {
            clock.time = std::max(clock.time, reactor.next_deadline());
            settle();
        }
        clock.time = std::max(clock.time, until);
        settle();
    }

    /// Runs `f()` on the reactor.
    template <typename F>
    void on_reactor(F f) {
        reactor.post_function(std::move(f));
        reactor.turn();
    }
    /// Runs the coroutine `body()` to its end; time passes whenever nothing else can happen.
    template <typename F>
    void run(F body) {
        bool done = false;
        reactor.post_function([&body, &done] { start(body, done); });
        int turns = 0;
        while (!done) {
            CHECK(++turns < kMaxTurns);
            if (!reactor.turn() && !reactor.has_queued_work() && !io.busy() && !done) {
                CHECK(reactor.next_deadline() != core::kNever);  // a wait that nothing ends
                clock.time = std::max(clock.time, reactor.next_deadline());
            }
        }
    }

    FakeClock clock;
    FakeIo io;
    reactor::Reactor reactor{0, io, clock, core::Prng(1), reactor::PollPolicy{}};

  private:
    static constexpr int kMaxTurns = 200'000;

    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }
    static void quiet() {
        static const bool done = [] {
            core::log::set_level(core::log::Level::Error);
            return true;
        }();
        static_cast<void>(done);
    }
};

}  // namespace remora::fuzz
