// SPDX-License-Identifier: Apache-2.0
#include "reactor/task.h"

#include <memory>
#include <string>

#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/support/reactor_fixture.h"

namespace remora::reactor {
namespace {

using namespace std::chrono_literals;
using TaskTest = test::ReactorFixture;

Task<int> answer() {
    co_return 42;
}

Task<std::unique_ptr<std::string>> sleepy(std::string text) {
    co_await sleep_for(1ms);
    co_return std::make_unique<std::string>(std::move(text));
}

TEST_F(TaskTest, Await_finishedTask_givesItsValue) {
    run([]() -> Task<> {
        const int value = co_await answer();
        EXPECT_EQ(value, 42);
    });
}

TEST_F(TaskTest, Await_suspendedTask_resumesWithMoveOnlyValue) {
    run([]() -> Task<> {
        const auto text = co_await sleepy("hello");
        EXPECT_EQ(*text, "hello");
    });
}

TEST_F(TaskTest, Await_manyInARow_needsNoStack) {
    run([]() -> Task<> {
        int sum = 0;
        for (int i = 0; i < 100'000; ++i) {
            sum += co_await answer();
        }
        EXPECT_EQ(sum, 4'200'000);
    });
}

TEST_F(TaskTest, Signal_deadlinePasses_returnsFalse) {
    run([this]() -> Task<> {
        Signal signal;
        const bool notified = co_await signal.wait_until(reactor().now() + 1ms);
        EXPECT_FALSE(notified);
    });
}

TEST_F(TaskTest, Signal_notifiedBeforeWait_isKept) {
    run([]() -> Task<> {
        Signal signal;
        signal.notify();
        const bool notified = co_await signal.wait_until(kNever);
        EXPECT_TRUE(notified);
    });
}

TEST_F(TaskTest, Gate_close_waitsForWhatIsInside) {
    run([]() -> Task<> {
        Gate gate;
        int done = 0;
        const auto work = [](int* count) -> Task<> {
            co_await sleep_for(2ms);
            ++*count;
        };
        EXPECT_TRUE(gate.spawn(work, &done));
        EXPECT_TRUE(gate.spawn(work, &done));
        co_await gate.close();
        EXPECT_EQ(done, 2);
        EXPECT_FALSE(gate.spawn(work, &done));
    });
}

}  // namespace
}  // namespace remora::reactor
