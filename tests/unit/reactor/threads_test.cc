// SPDX-License-Identifier: Apache-2.0
// Several reactors with threads of their own; also run under ThreadSanitizer.
#include <atomic>
#include <future>
#include <memory>
#include <thread>

#include <gtest/gtest.h>

#include "reactor/call.h"
#include "reactor/gate.h"
#include "reactor/linux/reactor_thread.h"

namespace remora::reactor {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<ReactorThread> start(std::uint32_t id) {
    ReactorThreadOptions options;
    options.id = id;
    options.policy.spin = Nanos(20'000);
    return std::move(*ReactorThread::start(options));
}

TEST(ReactorThreadsTest, Post_manySenders_eachInOrderAndNoneLost) {
    const auto thread = start(0);
    constexpr int kSenders = 3;
    constexpr int kEach = 5000;
    int last[kSenders] = {};
    std::atomic<int> seen{0};
    std::atomic<bool> ordered{true};
    std::vector<std::thread> senders;
    for (int sender = 0; sender < kSenders; ++sender) {
        senders.emplace_back([&, sender] {
            for (int i = 1; i <= kEach; ++i) {
                thread->reactor().post_function([&, sender, i] {
                    if (last[sender] + 1 != i) {
                        ordered = false;
                    }
                    last[sender] = i;
                    ++seen;
                });
            }
        });
    }
    for (auto& sender : senders) {
        sender.join();
    }
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (seen < kSenders * kEach && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    EXPECT_EQ(seen, kSenders * kEach);
    EXPECT_TRUE(ordered);
}

detail::Detached ping(Reactor& other, std::promise<int>& result) {
    int sum = 0;
    for (int i = 0; i < 200; ++i) {
        sum += co_await call_on(other, [i, &other]() -> Task<int> {
            CHECK_ON_REACTOR(other);
            if (i % 50 == 0) {
                co_await sleep_for(1ms);  // long enough for both sides to sleep
            }
            co_return i;
        });
    }
    result.set_value(sum);
}

TEST(ReactorThreadsTest, CallOn_backAndForth_returnsEveryResult) {
    const auto one = start(0);
    const auto two = start(1);
    std::promise<int> result;
    auto future = result.get_future();
    one->reactor().post_function([&] { ping(two->reactor(), result); });
    ASSERT_EQ(future.wait_for(20s), std::future_status::ready);
    EXPECT_EQ(future.get(), 199 * 200 / 2);
}

TEST(ReactorThreadsTest, Start_coreThatDoesNotExist_isRefused) {
    ReactorThreadOptions options;
    options.core = 1000;
    const auto thread = ReactorThread::start(options);
    ASSERT_FALSE(thread);
    EXPECT_EQ(thread.error().kind, core::ErrorKind::InvalidArgument);
}

}  // namespace
}  // namespace remora::reactor
