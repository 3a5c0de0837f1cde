// SPDX-License-Identifier: Apache-2.0
#include "reactor/timer.h"

#include <algorithm>

#include "core/check.h"
#include "core/probe.h"

namespace remora::reactor {

TimerHeap::~TimerHeap() {
    for (Timer* timer : heap_) {
        timer->heap_ = nullptr;
    }
}

void TimerHeap::place(std::size_t index, Timer* timer) {
    heap_[index] = timer;
    timer->index_ = index;
}

void TimerHeap::sift_up(std::size_t index) {
    Timer* timer = heap_[index];
    while (index > 0) {
        const std::size_t parent = (index - 1) / 2;
        if (heap_[parent]->due_ <= timer->due_) {
            break;
        }
        place(index, heap_[parent]);
        index = parent;
    }
    place(index, timer);
}

void TimerHeap::sift_down(std::size_t index) {
    Timer* timer = heap_[index];
    while (true) {
        std::size_t child = 2 * index + 1;
        if (child >= heap_.size()) {
            break;
        }
        if (child + 1 < heap_.size() && heap_[child + 1]->due_ < heap_[child]->due_) {
            ++child;
        }
        if (timer->due_ <= heap_[child]->due_) {
            break;
        }
        place(index, heap_[child]);
        index = child;
    }
    place(index, timer);
}

void TimerHeap::arm(Timer& timer, Nanos at) {
    timer.cancel();
    timer.at_ = at;
    timer.due_ = std::max(at, earliest_);
    timer.heap_ = this;
    heap_.push_back(&timer);
    timer.index_ = heap_.size() - 1;
    sift_up(timer.index_);
}

void TimerHeap::cancel(Timer& timer) {
    CHECK(timer.heap_ == this);
    const std::size_t index = timer.index_;
    timer.heap_ = nullptr;
    Timer* last = heap_.back();
    heap_.pop_back();
    if (last == &timer) {
        return;
    }
    place(index, last);
    sift_up(index);
    sift_down(last->index_);
}

std::size_t TimerHeap::fire(Nanos now) {
    std::size_t fired = 0;
    // A handler that arms a timer for now or earlier must neither keep this loop for ever nor come
    // before the others that are due.
    earliest_ = now + Nanos{1};
    while (!heap_.empty() && heap_.front()->due_ <= now) {
        Timer& timer = *heap_.front();
        cancel(timer);
        ++fired;
        timer.handler_->on_timer(timer);
    }
    earliest_ = Nanos::min();
    REMORA_INVARIANT(
        std::ranges::none_of(heap_, [now](const Timer* timer) { return timer->due_ <= now; }));
    return fired;
}

}  // namespace remora::reactor
