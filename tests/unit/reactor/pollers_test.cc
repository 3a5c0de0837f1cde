// SPDX-License-Identifier: Apache-2.0
// Pollers of a reactor that spins: many that find nothing rest, and answers are out before they
// look.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "reactor/linux/reactor_thread.h"
#include "tests/support/run_on.h"

namespace remora::reactor {
namespace {

using namespace std::chrono_literals;

class CountingPoller final : public Poller {
  public:
    explicit CountingPoller(bool patient) : Poller(patient) {}
    bool poll() override {
        ++polls;
        if (work == 0) {
            return false;
        }
        --work;
        return true;
    }
    bool prepare_sleep() override { return false; }
    void end_sleep() override {}

    std::uint64_t polls = 0;
    int work = 0;
};

class PollersTest : public testing::Test {
  public:
    PollersTest() {
        ReactorThreadOptions options;
        options.policy.spin = kNever;
        thread_ = std::move(*ReactorThread::start(options));
    }
    ~PollersTest() override { remove(pollers.size()); }

    void add(std::size_t count, bool patient = false) {
        test::run_on(reactor(), [&] {
            for (std::size_t i = 0; i < count; ++i) {
                pollers.push_back(std::make_unique<CountingPoller>(patient));
                reactor().add_poller(*pollers.back());
            }
        });
    }
    void remove(std::size_t count) {
        test::run_on(reactor(), [&] {
            for (; count > 0; --count) {
                reactor().remove_poller(*pollers.back());
                pollers.pop_back();
            }
        });
    }
    /// The polls of each, and the turns, that `turns` more turns make.
    std::uint64_t polls_in(std::uint64_t turns, std::vector<std::uint64_t>& polls) {
        std::vector<std::uint64_t> before;
        const std::uint64_t start = test::run_on(reactor(), [&] {
            for (const auto& poller : pollers) {
                before.push_back(poller->polls);
            }
            return reactor().stats().turns;
        });
        std::uint64_t end = start;
        const auto deadline = std::chrono::steady_clock::now() + 20s;
        while (end < start + turns && std::chrono::steady_clock::now() < deadline) {
            end = test::run_on(reactor(), [&] {
                polls.clear();
                for (std::size_t i = 0; i < pollers.size(); ++i) {
                    polls.push_back(pollers[i]->polls - before[i]);
                }
                return reactor().stats().turns;
            });
        }
        EXPECT_GE(end, start + turns);
        return end - start;
    }
    Reactor& reactor() { return thread_->reactor(); }

    std::vector<std::unique_ptr<CountingPoller>> pollers;

  private:
    std::unique_ptr<ReactorThread> thread_;
};

// Whoever waits for an answer may have the next request there when its ring is polled; what is to
// be sent waits for what that adds.
/// A word that somebody writes without telling.
class WatchedWord final : public Watched {
  public:
    explicit WatchedWord(Nanos interval) : interval_(interval) {}
    void begin_watch() override { remembered_ = word.load(); }
    [[nodiscard]] bool changed() const override {
        ++looks;
        return word.load() != remembered_;
    }
    [[nodiscard]] Nanos next_look(Nanos now) const override { return now + interval_; }

    std::atomic<int> word{0};
    mutable std::atomic<int> looks{0};

  private:
    Nanos interval_;
    int remembered_ = 0;
};

TEST(WatchedTest, Sleep_looksWithoutTurning_andEndsWithAChange) {
    ReactorThreadOptions options;
    options.policy.spin = Nanos{0};
    auto thread = std::move(*ReactorThread::start(options));
    Reactor& reactor = thread->reactor();
    WatchedWord late(20s);
    WatchedWord soon(200us);
    test::run_on(reactor, [&] {
        reactor.watch(late);
        reactor.watch(soon);
    });
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    const auto wait_for = [&](auto condition) {
        while (!condition() && std::chrono::steady_clock::now() < deadline) {
            std::this_thread::yield();
        }
        return condition();
    };
    const auto before = test::run_on(reactor, [&] { return reactor.stats(); });
    const int looks = soon.looks;
    EXPECT_TRUE(wait_for([&] { return soon.looks > looks + 20; }));
    const auto after = test::run_on(reactor, [&] { return reactor.stats(); });
    EXPECT_LT(after.turns - before.turns, 15U);
    // One that is to be looked at seldom is looked at along with the others.
    class Counter final : public Poller {
      public:
        bool poll() override {
            ++polls;
            return false;
        }
        bool prepare_sleep() override { return false; }
        void end_sleep() override {}
        std::atomic<int> polls{0};
    } poller;
    test::run_on(reactor, [&] { reactor.add_poller(poller); });
    const int quiet = soon.looks;
    EXPECT_TRUE(wait_for([&] { return soon.looks > quiet + 5; }));
    const int polls = poller.polls;
    late.word = 1;
    EXPECT_TRUE(wait_for([&] { return poller.polls > polls; }));
    test::run_on(reactor, [&] {
        reactor.remove_poller(poller);
        reactor.unwatch(soon);
        reactor.unwatch(late);
    });
}

TEST_F(PollersTest, WorkThatTheLastLookQueues_isNotSleptOver) {
    class Late final : public Poller, public Runnable {
      public:
        explicit Late(Reactor& reactor) : reactor_(reactor) {}
        bool poll() override { return false; }
        bool prepare_sleep() override {
            reactor_.run_soon(*this);
            return false;
        }
        void end_sleep() override {}
        void run() override {}

      private:
        Reactor& reactor_;
    };
    const bool asleep = test::run_on(reactor(), [&] {
        Late late(reactor());
        reactor().add_poller(late);
        const bool may_sleep = reactor().begin_sleep();
        reactor().end_sleep();
        reactor().remove_poller(late);
        late.core::ListHook<Runnable>::unlink();
        return may_sleep;
    });
    EXPECT_FALSE(asleep);
}

TEST_F(PollersTest, Answers_arePublishedBeforeThePollersLook_andSentAfterwards) {
    struct Output final : Flushable {
        void flush() override { out = true; }
        bool out = false;
    } published, sent;
    struct Look final : Poller {
        bool poll() override {
            if (!looked) {
                looked = {published, sent};
            }
            return false;
        }
        bool prepare_sleep() override { return false; }
        void end_sleep() override {}
        const bool& published;
        const bool& sent;
        std::optional<std::pair<bool, bool>> looked;
        Look(const bool& a, const bool& b) : published(a), sent(b) {}
    } look(published.out, sent.out);
    test::run_on(reactor(), [&] {
        reactor().add_poller(look);
        reactor().publish_later(published);
        reactor().flush_later(sent);
    });
    const auto done = [&] { return look.looked.has_value() && sent.out; };
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!test::run_on(reactor(), done) && std::chrono::steady_clock::now() < deadline) {
    }
    test::run_on(reactor(), [&] { reactor().remove_poller(look); });
    ASSERT_TRUE(done());
    EXPECT_EQ(*look.looked, std::pair(true, false));
}

TEST_F(PollersTest, FewIdle_arePolledEveryTurn) {
    add(4);
    std::vector<std::uint64_t> polls;
    const std::uint64_t turns = polls_in(20'000, polls);
    for (const std::uint64_t each : polls) {
        EXPECT_GE(each, turns - 1);
    }
}

TEST_F(PollersTest, ManyIdle_restAllButAFew) {
    add(10);
    std::vector<std::uint64_t> polls;
    polls_in(5'000, polls);
    const std::uint64_t turns = polls_in(32'000, polls);
    std::ranges::sort(polls);
    for (std::size_t i = 0; i < 6; ++i) {
        EXPECT_LE(polls[i], turns / 4);  // more than turns / 48 where the thread had to wait
        EXPECT_GE(polls[i], turns / 48 - 2);
    }
    for (std::size_t i = 6; i < 10; ++i) {
        EXPECT_GE(polls[i], turns - 1);
    }
}

TEST_F(PollersTest, PatientIdle_isPolledInOneOfEightRests) {
    add(1, true);
    add(9);
    std::vector<std::uint64_t> polls;
    polls_in(5'000, polls);
    polls_in(100'000, polls);
    const std::uint64_t patient = polls[0];
    const std::uint64_t resting = polls[1];
    EXPECT_GT(patient, 0U);
    EXPECT_GE(8 * patient + 8, resting);
    EXPECT_LE(8 * patient, resting + 8);
}

TEST_F(PollersTest, RestingHasWork_isPolledEveryTurnAgain) {
    add(10);
    std::vector<std::uint64_t> polls;
    polls_in(5'000, polls);
    polls_in(5'000, polls);
    const auto resting = static_cast<std::size_t>(std::ranges::min_element(polls) - polls.begin());
    test::run_on(reactor(), [&] { pollers[resting]->work = std::numeric_limits<int>::max(); });
    const std::uint64_t turns = polls_in(20'000, polls);
    EXPECT_GE(polls[resting], turns - 49);
}

TEST_F(PollersTest, RemovedWhileResting_theOthersGoOn) {
    add(10);
    std::vector<std::uint64_t> polls;
    polls_in(5'000, polls);
    remove(6);
    add(1);
    test::run_on(reactor(), [&] { pollers.back()->work = 1; });
    const std::uint64_t turns = polls_in(5'000, polls);
    EXPECT_EQ(polls.size(), 5U);
    EXPECT_GE(std::ranges::max(polls), turns - 1);
    EXPECT_EQ(test::run_on(reactor(), [&] { return pollers.back()->work; }), 0);
}

}  // namespace
}  // namespace remora::reactor
