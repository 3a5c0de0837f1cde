// SPDX-License-Identifier: Apache-2.0
// JumpingWorld: a reactor whose time jumps to whatever comes next.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>

#include "memory/buffer_pool.h"
#include "reactor/reactor.h"
#include "reactor/task.h"
#include "tests/unit/block/still_world.h"

namespace remora::test {

class JumpingWorld {
  public:
    explicit JumpingWorld(std::uint64_t seed = 1)
        : reactor(0, io, clock, core::Prng(seed), reactor::PollPolicy{}),
          pool(std::move(*memory::BufferPool::create(4 * core::kMiB))) {}

    /// Turns, and lets time pass when there is nothing else to do, until `condition()`.
    template <typename C>
    void run_until(C condition) {
        for (int turns = 0; !condition(); ++turns) {
            CHECK(turns < 300'000);  // it hangs
            CHECK(step());           // nothing will ever happen again
        }
    }
    /// False when there is nothing to wait for.
    bool step() {
        const bool worked = reactor.turn();
        if (!worked && !reactor.has_queued_work()) {
            const core::Nanos next = reactor.next_deadline();
            if (next == core::kNever) {
                return false;
            }
            clock.time = std::max(clock.time + core::Nanos(1), next);
        }
        return true;
    }
    /// Runs the coroutine `body()` to its end.
    template <typename F>
    void run(F body) {
        bool done = false;
        reactor.post_function([&body, &done] { start(body, done); });
        run_until([&done] { return done; });
    }
    block::StillIo io;
    block::StillClock clock;
    reactor::Reactor reactor;
    std::unique_ptr<memory::BufferPool> pool;

  private:
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }
};

}  // namespace remora::test
