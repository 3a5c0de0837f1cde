// SPDX-License-Identifier: Apache-2.0
// Turnstile: lets coroutines of one reactor through one at a time, in the order they came. Used by
// Target so that two changes of the configuration never interleave at their awaits.
#pragma once

#include <deque>

#include "core/check.h"
#include "core/units.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::frontends::nvme_tcp {

class Turnstile {
  public:
    Turnstile() = default;
    Turnstile(const Turnstile&) = delete;
    Turnstile& operator=(const Turnstile&) = delete;
    ~Turnstile() { CHECK(!taken_ && waiting_.empty()); }

    /// Returns when it is the caller's turn; leave() ends it. Each turn is bounded by its own
    /// deadlines, so the wait has none.
    reactor::Task<> enter() {
        if (!taken_) {
            taken_ = true;
            co_return;
        }
        reactor::Signal turn;
        waiting_.push_back(&turn);
        co_await turn.wait_until(core::kNever);
    }

    void leave() {
        CHECK(taken_);
        if (waiting_.empty()) {
            taken_ = false;
            return;
        }
        reactor::Signal* next = waiting_.front();
        waiting_.pop_front();
        next->notify();  // the turn passes on: taken_ stays
    }

  private:
    bool taken_ = false;
    std::deque<reactor::Signal*> waiting_;
};

}  // namespace remora::frontends::nvme_tcp
