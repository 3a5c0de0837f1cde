// SPDX-License-Identifier: Apache-2.0
#include "reactor/timer.h"

#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::reactor {
namespace {

class Recorder final : public TimerHandler {
  public:
    void on_timer(Timer& timer) override { fired.push_back(timer.at()); }
    std::vector<Nanos> fired;
};

TEST(TimerHeapTest, Fire_manyTimers_inOrderOfTime) {
    TimerHeap heap;
    Recorder recorder;
    core::Prng prng(7);
    std::vector<std::unique_ptr<Timer>> timers;
    for (int i = 0; i < 500; ++i) {
        timers.push_back(std::make_unique<Timer>(recorder));
        heap.arm(*timers.back(), Nanos(static_cast<std::int64_t>(prng.below(1000))));
    }
    for (std::size_t i = 0; i < timers.size(); i += 3) {
        timers[i]->cancel();
    }

    EXPECT_EQ(heap.fire(Nanos(1000)), 333U);

    EXPECT_TRUE(std::is_sorted(recorder.fired.begin(), recorder.fired.end()));
    EXPECT_EQ(heap.next(), kNever);
}

TEST(TimerHeapTest, Fire_beforeItsTime_doesNothing) {
    TimerHeap heap;
    Recorder recorder;
    Timer timer(recorder);
    heap.arm(timer, Nanos(10));
    EXPECT_EQ(heap.fire(Nanos(9)), 0U);
    EXPECT_EQ(heap.next(), Nanos(10));
    EXPECT_TRUE(timer.armed());
}

class Rearmer final : public TimerHandler {
  public:
    explicit Rearmer(TimerHeap& heap) : heap_(heap) {}
    void on_timer(Timer& timer) override {
        ++count;
        heap_.arm(timer, timer.at());
    }
    int count = 0;

  private:
    TimerHeap& heap_;
};

TEST(TimerHeapTest, Fire_handlerRearmsForThePast_firesOncePerCall) {
    TimerHeap heap;
    Rearmer rearmer(heap);
    Timer timer(rearmer);
    heap.arm(timer, Nanos(1));
    heap.fire(Nanos(5));
    EXPECT_EQ(rearmer.count, 1);
    heap.fire(Nanos(6));
    EXPECT_EQ(rearmer.count, 2);
}

TEST(TimerHeapTest, Fire_handlerRearmsForThePast_doesNotStarveTheOthers) {
    TimerHeap heap;
    Rearmer rearmer(heap);
    Recorder recorder;
    Timer busy(rearmer);
    Timer patient(recorder);
    heap.arm(busy, Nanos(1));
    heap.arm(patient, Nanos(2));
    heap.fire(Nanos(5));
    EXPECT_EQ(rearmer.count, 1);
    EXPECT_EQ(recorder.fired, std::vector<Nanos>{Nanos(2)});
}

}  // namespace
}  // namespace remora::reactor
