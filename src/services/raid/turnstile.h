// SPDX-License-Identifier: Apache-2.0
// Turnstile: one coroutine at a time, in the order they came. One reactor.
#pragma once

#include "core/intrusive_list.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::services::raid {

class Turnstile {
  public:
    /// Returns when it is the caller's turn; leave() ends that.
    reactor::Task<> enter() {
        if (taken_) {
            Waiter waiter;
            waiting_.push_back(waiter);
            co_await waiter.turn.wait_until(reactor::kNever);  // leave() hands it over
        }
        taken_ = true;
    }
    void leave() {
        CHECK(taken_);
        if (Waiter* next = waiting_.pop_front()) {
            next->turn.notify();
        } else {
            taken_ = false;
        }
    }

  private:
    struct Waiter : core::QueueHook<Waiter> {
        reactor::Signal turn;
    };
    bool taken_ = false;
    core::Queue<Waiter> waiting_;
};

}  // namespace remora::services::raid
