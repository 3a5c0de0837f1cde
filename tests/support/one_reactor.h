// SPDX-License-Identifier: Apache-2.0
// OneReactor: a real reactor that turns on the calling thread when it is told to.
#pragma once

#include <memory>
#include <utility>

#include "core/check.h"
#include "reactor/linux/linux_io.h"
#include "reactor/linux/system_clock.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace remora::test {

class OneReactor {
  public:
    OneReactor()
        : io_(std::move(*reactor::LinuxIo::create())),
          reactor_(0, *io_, clock_, core::Prng(1), reactor::PollPolicy{}) {}

    reactor::Reactor& reactor() { return reactor_; }
    [[nodiscard]] const reactor::LinuxIo& linux_io() const { return *io_; }

    /// Starts `body()` on the reactor and turns until it has ended; aborts after `limit`.
    template <typename F>
    void run(F body, core::Nanos limit = std::chrono::seconds(20)) {
        bool done = false;
        reactor_.post_function([&body, &done] { start(body, done); });
        turn_until([&done] { return done; }, limit);
    }

    /// Turns until `condition()`; aborts after `limit`.
    template <typename C>
    void turn_until(C condition, core::Nanos limit = std::chrono::seconds(20)) {
        const core::Nanos deadline = clock_.now() + limit;
        while (!condition()) {
            reactor_.turn();
            CHECK(clock_.now() < deadline);  // the test hangs: a core tells more than a time-out
        }
    }

    void turn(int times = 1) {
        for (int i = 0; i < times; ++i) {
            reactor_.turn();
        }
    }

  private:
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }

    reactor::SystemClock clock_;
    std::unique_ptr<reactor::LinuxIo> io_;
    reactor::Reactor reactor_;
};

}  // namespace remora::test
