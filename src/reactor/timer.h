// SPDX-License-Identifier: Apache-2.0
// Timers of one reactor: a binary heap of pointers, looked at once a turn.
#pragma once

#include <cstddef>
#include <vector>

#include "reactor/clock.h"

namespace remora::reactor {

class Timer;

class TimerHandler {
  public:
    /// The timer has fired and is no longer armed; it may be armed again.
    virtual void on_timer(Timer& timer) = 0;

  protected:
    ~TimerHandler() = default;
};

class TimerHeap;

/// One deadline, embedded in its owner. Destroying an armed timer disarms it.
class Timer {
  public:
    explicit Timer(TimerHandler& handler) : handler_(&handler) {}
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;
    ~Timer() { cancel(); }

    [[nodiscard]] bool armed() const { return heap_ != nullptr; }
    [[nodiscard]] Nanos at() const { return at_; }
    void cancel();

  private:
    friend class TimerHeap;
    TimerHandler* handler_;
    TimerHeap* heap_ = nullptr;
    std::size_t index_ = 0;
    Nanos at_{};
    Nanos due_{};  // at_, or just behind the fire() during which it was armed for the past
};

class TimerHeap {
  public:
    TimerHeap() { heap_.reserve(kReserved); }
    TimerHeap(const TimerHeap&) = delete;
    TimerHeap& operator=(const TimerHeap&) = delete;
    ~TimerHeap();

    /// (Re)arms `timer` for the time `at`.
    void arm(Timer& timer, Nanos at);
    void cancel(Timer& timer);
    /// When the next timer is due; kNever without any.
    [[nodiscard]] Nanos next() const { return heap_.empty() ? kNever : heap_.front()->due_; }
    /// Fires every timer due at `now` that was armed before the call; what a handler arms for now
    /// or earlier waits for the next call. Returns how many.
    std::size_t fire(Nanos now);

  private:
    static constexpr std::size_t kReserved = 4096;
    void place(std::size_t index, Timer* timer);
    void sift_up(std::size_t index);
    void sift_down(std::size_t index);
    std::vector<Timer*> heap_;
    Nanos earliest_ = Nanos::min();  // while firing: just behind the time that is fired
};

inline void Timer::cancel() {
    if (heap_ != nullptr) {
        heap_->cancel(*this);
    }
}

}  // namespace remora::reactor
