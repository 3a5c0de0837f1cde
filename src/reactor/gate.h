// SPDX-License-Identifier: Apache-2.0
// Gate: counts what is under way so that its owner can wait for the last of it before it dies.
#pragma once

#include <cstddef>
#include <utility>

#include "core/check.h"
#include "reactor/signal.h"
#include "reactor/task.h"

namespace remora::reactor {

class Gate {
  public:
    Gate() = default;
    Gate(const Gate&) = delete;
    Gate& operator=(const Gate&) = delete;
    ~Gate() { CHECK(inside_ == 0); }

    /// False once close() has begun.
    [[nodiscard]] bool enter() {
        if (closed_) {
            return false;
        }
        ++inside_;
        return true;
    }
    void leave() {
        CHECK(inside_ > 0);
        if (--inside_ == 0 && closed_) {
            empty_.notify();
        }
    }
    [[nodiscard]] std::size_t inside() const { return inside_; }
    [[nodiscard]] bool closed() const { return closed_; }

    /// Lets nobody in any more and returns when the last has left. What is inside must be bounded
    /// by deadlines of its own.
    Task<> close() { co_await close_by(kNever); }
    /// The same, but returns false when someone is still inside at the deadline.
    Task<bool> close_by(Nanos deadline) {
        closed_ = true;
        while (inside_ > 0) {
            const bool left = co_await empty_.wait_until(deadline);
            if (!left && inside_ > 0) {
                co_return false;
            }
        }
        co_return true;
    }

    /// Runs the coroutine `f(args...)` in the background; close() waits for it. `f` and `args` are
    /// kept by value for as long as it runs. Returns false, and runs nothing, once closed.
    template <typename F, typename... Args>
    bool spawn(F f, Args... args) {
        if (!enter()) {
            return false;
        }
        run_inside(*this, std::move(f), std::move(args)...);
        return true;
    }

  private:
    template <typename F, typename... Args>
    static detail::Detached run_inside(Gate& gate, F f, Args... args) {
        co_await f(args...);
        gate.leave();
    }

    std::size_t inside_ = 0;
    bool closed_ = false;
    Signal empty_;
};

}  // namespace remora::reactor
