// SPDX-License-Identifier: Apache-2.0
// Signal: one coroutine waits, anyone on the same reactor notifies. A notification that comes
// before the wait is kept (once). Every wait has a deadline; kNever says so explicitly.
#pragma once

#include <coroutine>

#include "reactor/reactor.h"

namespace remora::reactor {

class Signal final : private Runnable, private TimerHandler {
  public:
    Signal() : timer_(*this) {}
    Signal(const Signal&) = delete;
    Signal& operator=(const Signal&) = delete;
    ~Signal() {
        CHECK(!waiter_);
        unlink();
    }

    void notify() {
        notified_ = true;
        wake();
    }

    /// Forgets a notification that nobody waited for.
    void reset() { notified_ = false; }

    class Wait {
      public:
        Wait(Signal& signal, Nanos deadline) : signal_(signal), deadline_(deadline) {}
        [[nodiscard]] bool await_ready() const noexcept { return signal_.notified_; }
        void await_suspend(std::coroutine_handle<> waiter) {
            CHECK(!signal_.waiter_);
            signal_.waiter_ = waiter;
            if (deadline_ != kNever) {
                Reactor::current().arm(signal_.timer_, deadline_);
            }
        }
        /// True when notified, false when the deadline passed.
        bool await_resume() {
            const bool notified = signal_.notified_;
            signal_.notified_ = false;
            return notified;
        }

      private:
        Signal& signal_;
        Nanos deadline_;
    };

    /// `co_await signal.wait_until(reactor.now() + limit)`.
    [[nodiscard]] Wait wait_until(Nanos deadline) { return {*this, deadline}; }

  private:
    void wake() {
        if (waiter_ && !static_cast<core::ListHook<Runnable>&>(*this).linked()) {
            timer_.cancel();
            Reactor::current().run_soon(*this);
        }
    }
    void on_timer(Timer& /*timer*/) override { wake(); }
    void run() override {
        const auto waiter = waiter_;
        waiter_ = nullptr;
        waiter.resume();
    }

    std::coroutine_handle<> waiter_;
    Timer timer_;
    bool notified_ = false;
};

}  // namespace remora::reactor
