// SPDX-License-Identifier: Apache-2.0
#include "block/junction.h"

#include <list>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "reactor/call.h"
#include "tests/unit/block/prompt_load.h"
#include "tests/unit/block/still_world.h"

namespace remora::block {
namespace {

using namespace std::chrono_literals;
using reactor::Task;

/// Has a frame of its own in every request that passes, and notes who passes.
class MarkStage final : public Stage {
  public:
    MarkStage(std::string name, std::vector<std::string>& passed)
        : name_(std::move(name)), passed_(passed) {}

    core::Result<std::unique_ptr<StageChannel>> open_channel(
        Channel& lower, std::uint32_t /*block_size*/) override {
        if (channels == most_channels) {
            return core::fail(core::ErrorKind::ResourceExhausted, "no channel left");
        }
        return std::make_unique<MarkChannel>(*this, lower);
    }

    int channels = 0;
    int most_channels = 100;
    std::uint64_t marked = 0;
    std::uint64_t inside = 0;  ///< Have the frame now.
    bool keeps = false;        ///< drain() does not end yet.

  private:
    class MarkChannel final : public StageChannel, private Completer {
      public:
        MarkChannel(MarkStage& stage, Channel& lower) : StageChannel(lower), stage_(stage) {
            ++stage_.channels;
        }
        MarkChannel(const MarkChannel&) = delete;
        MarkChannel& operator=(const MarkChannel&) = delete;
        ~MarkChannel() override {
            CHECK(inside_ == 0);
            --stage_.channels;
        }

        void submit(RequestBatch& batch) override {
            stage_.passed_.push_back(stage_.name_);
            batch.for_each([this](Request& request) { request.push_frame(*this); });
            move(static_cast<std::int64_t>(batch.size()));
            stage_.marked += batch.size();
            lower().submit(batch);
        }
        Task<> drain() override {
            while (inside_ > 0 || stage_.keeps) {
                co_await reactor::sleep_for(1us);
            }
        }

      private:
        void complete(RequestBatch& batch) override {
            move(-static_cast<std::int64_t>(batch.size()));
            batch.for_each([](Request& request) { request.pop_frame(); });
            complete_batch(batch);
        }
        void move(std::int64_t by) {
            inside_ += static_cast<std::uint64_t>(by);
            stage_.inside += static_cast<std::uint64_t>(by);
        }
        MarkStage& stage_;
        std::uint64_t inside_ = 0;
    };

    std::string name_;
    std::vector<std::string>& passed_;
};

class JunctionTest : public StillWorld {
  public:
    void TearDown() override {
        for (Load& load : loads) {
            load.stop = true;
        }
        pass(20);
        for (const Load& load : loads) {
            EXPECT_TRUE(load.all_idle());
        }
        on_reactor([this] { channels.clear(); });
    }

    Channel& open() {
        on_reactor([this] { channels.push_back(std::move(*junction.open_channel())); });
        return *channels.back();
    }
    Load& start(Channel& channel, std::size_t depth) {
        on_reactor([&] { loads.emplace_back(channel, Opcode::Read, 1, depth); });
        return loads.back();
    }
    /// Whom the first two that passed came to.
    [[nodiscard]] std::string order() const { return passed.at(0) + " " + passed.at(1); }
    /// So many turns, a microsecond each.
    void pass(int turns) {
        for (int i = 0; i < turns; ++i) {
            clock.time += 1us;
            reactor.turn();
        }
    }
    /// Starts the change; its end is counted in `changes`.
    void insert(Stage& stage) {
        reactor.post_function([this, &stage] { insert_now(*this, stage); });
    }
    void remove(Stage& stage) {
        reactor.post_function([this, &stage] { remove_now(*this, stage); });
    }

    std::unique_ptr<memory::BufferPool> pool = std::move(*memory::BufferPool::create(core::kMiB));
    std::vector<ReactorContext> contexts{{reactor, *pool}};
    PromptDevice device;
    Junction junction{device};
    std::vector<std::string> passed;
    MarkStage one{"one", passed};
    MarkStage two{"two", passed};
    std::list<std::unique_ptr<Channel>> channels;
    std::list<Load> loads;
    int changes = 0;
    core::Result<void> last_insert;

  private:
    static reactor::detail::Detached insert_now(JunctionTest& test, Stage& stage) {
        test.last_insert = co_await test.junction.insert(stage, test.contexts);
        ++test.changes;
    }
    static reactor::detail::Detached remove_now(JunctionTest& test, Stage& stage) {
        co_await test.junction.remove(stage, test.contexts);
        ++test.changes;
    }
};

TEST_F(JunctionTest, WithoutStages_batchesPassWithoutAFrame) {
    Load& load = start(open(), 4);
    const std::uint64_t before = load.ended;
    pass(100);
    EXPECT_EQ(load.ended, before + 400);
    EXPECT_EQ(device.submitted, load.ended + 4);
    EXPECT_EQ(junction.name(), device.name());
    EXPECT_EQ(junction.geometry(), device.geometry());
}

TEST_F(JunctionTest, Insert_requestsInFlight_comeBackPastIt) {
    device.takes = 1ms;
    Load& load = start(open(), 4);
    insert(one);
    pass(20);
    ASSERT_EQ(changes, 1);
    EXPECT_TRUE(last_insert);
    EXPECT_EQ(one.channels, 1);
    EXPECT_EQ(load.ended, 0U);
    EXPECT_EQ(one.marked, 0U);

    pass(1000);

    EXPECT_EQ(load.ended, 4U);
    EXPECT_EQ(one.marked, 4U) << "those that were made anew";
    device.takes = 0us;
    remove(one);
    pass(2000);
    EXPECT_EQ(changes, 2);
}

TEST_F(JunctionTest, SeveralStages_areInTheOrderOfTheLastFirst) {
    Load& load = start(open(), 1);
    insert(one);
    pass(20);
    insert(two);
    pass(20);
    passed.clear();
    pass(2);
    EXPECT_EQ(order(), "two one");

    remove(one);  // the one below: the other is joined to the volume
    pass(20);
    ASSERT_EQ(changes, 3);
    EXPECT_EQ(one.channels, 0);
    passed.clear();
    pass(2);
    EXPECT_EQ(order(), "two two");

    insert(one);
    pass(20);
    remove(one);  // the one above
    pass(20);
    passed.clear();
    pass(2);
    EXPECT_EQ(order(), "two two");
    remove(two);
    pass(20);
    EXPECT_EQ(changes, 6);
    EXPECT_EQ(two.channels, 0);
    EXPECT_GT(load.ended, 100U);
}

TEST_F(JunctionTest, Remove_waitsForItsRequestsWhileNewOnesPass) {
    insert(one);
    pass(20);
    device.takes = 1ms;
    start(open(), 4);
    Channel& other = open();
    ASSERT_EQ(one.inside, 4U);

    remove(one);
    pass(20);
    EXPECT_EQ(changes, 1) << "its four are below";
    const std::uint64_t marked = one.marked;
    device.takes = 0us;
    Load& past = start(other, 4);
    pass(100);
    EXPECT_GT(past.ended, 300U);
    EXPECT_EQ(one.marked, marked);
    EXPECT_EQ(changes, 1);
    EXPECT_EQ(one.channels, 1) << "the second had nothing and is gone";

    pass(2000);
    EXPECT_EQ(changes, 2);
    EXPECT_EQ(one.inside, 0U);
    EXPECT_EQ(one.channels, 0);
}

TEST_F(JunctionTest, ChannelOpenedLater_comesWithTheStages) {
    insert(one);
    pass(20);
    insert(two);
    pass(20);
    start(open(), 1);
    EXPECT_EQ(order(), "two one");
    remove(one);
    pass(20);
    start(open(), 1);
    EXPECT_EQ(passed.back(), "two");
    EXPECT_EQ(one.channels, 0);
    EXPECT_EQ(two.channels, 2);
    remove(two);
    pass(20);
    EXPECT_EQ(changes, 4);
}

TEST_F(JunctionTest, StagesFromTheStart_areInTheOrderGiven) {
    Junction prepared(device, {&two, &one});
    on_reactor([&] { channels.push_back(std::move(*prepared.open_channel())); });
    Load& load = start(*channels.back(), 1);
    EXPECT_EQ(order(), "two one");
    load.stop = true;
    pass(5);
    on_reactor([this] { channels.clear(); });
}

TEST_F(JunctionTest, Insert_refused_leavesNothingBehind) {
    for (int i = 0; i < 3; ++i) {
        start(open(), 2);
    }
    for (int most = 0; most < 3; ++most) {
        one.most_channels = most;
        insert(one);
        pass(20);
        EXPECT_EQ(changes, most + 1);
        ASSERT_FALSE(last_insert);
        EXPECT_EQ(last_insert.error().kind, core::ErrorKind::ResourceExhausted);
        EXPECT_EQ(one.channels, 0);
    }
    const std::uint64_t marked = one.marked;
    open();
    pass(20);
    EXPECT_EQ(one.channels, 0);
    EXPECT_EQ(one.marked, marked);
}

TEST_F(JunctionTest, OpenChannel_stageRefuses_passesTheErrorOn) {
    insert(one);
    pass(20);
    one.most_channels = 0;
    on_reactor([this] {
        const auto opened = junction.open_channel();
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().kind, core::ErrorKind::ResourceExhausted);
    });
    remove(one);
    pass(20);
    EXPECT_EQ(changes, 2);
}

TEST_F(JunctionTest, ChannelClosed_whileAStageDrains_theRemovalEnds) {
    insert(one);
    pass(20);
    open();
    one.keeps = true;
    remove(one);
    pass(20);
    EXPECT_EQ(changes, 1);

    on_reactor([this] { channels.clear(); });
    EXPECT_EQ(one.channels, 1);
    one.keeps = false;
    pass(20);

    EXPECT_EQ(changes, 2);
    EXPECT_EQ(one.channels, 0);
}

// No request waits for a change: as many end in each turn as without any.
TEST_F(JunctionTest, ThousandChangesUnderLoad_everyTurnEndsAllItsRequests) {
    constexpr std::size_t kDepths[] = {1, 7, 32};
    std::uint64_t all = 0;
    for (const std::size_t depth : kDepths) {
        start(open(), depth);
        all += depth;
    }
    const auto ended = [this] {
        std::uint64_t sum = 0;
        for (const Load& load : loads) {
            sum += load.ended;
        }
        return sum;
    };
    std::uint64_t last = ended();
    int turns = 0;
    for (int change = 0; change < 2000; ++change) {
        change % 2 == 0 ? insert(one) : remove(one);
        do {
            pass(1);
            ++turns;
            ASSERT_EQ(ended(), last + all) << "turn " << turns;
            last += all;
        } while (changes == change);
        ASSERT_EQ(one.channels, change % 2 == 0 ? 3 : 0);
    }
    EXPECT_GT(one.marked, all * 1000);
    EXPECT_EQ(one.inside, 0U);
}

/// Notes what is asked of it.
class AskedDevice final : public Device {
  public:
    AskedDevice() : Device("asked", {}) {}
    [[nodiscard]] Geometry geometry() const override { return {}; }
    core::Result<std::unique_ptr<Channel>> open_channel() override {
        return core::fail(core::ErrorKind::ResourceExhausted, "no channel left");
    }
    core::Result<void> grow(std::uint64_t block_count) override {
        grown_to = block_count;
        return {};
    }
    void show_growth() override { shown = true; }
    void add_listener(DeviceListener& listener) override { listeners.push_back(&listener); }
    void remove_listener(DeviceListener& listener) override { std::erase(listeners, &listener); }
    Task<> stop() override {
        stopped = true;
        co_return;
    }

    std::uint64_t grown_to = 0;
    bool shown = false;
    bool stopped = false;
    std::vector<DeviceListener*> listeners;
};

class NoListener final : public DeviceListener {
  public:
    void on_geometry_changed() override {}
};

TEST_F(JunctionTest, TheDeviceBelow_isAskedForTheRest) {
    AskedDevice asked;
    Junction over(asked);
    NoListener listener;

    EXPECT_TRUE(over.grow(77));
    over.show_growth();
    over.add_listener(listener);
    EXPECT_EQ(asked.grown_to, 77U);
    EXPECT_TRUE(asked.shown);
    EXPECT_EQ(asked.listeners, std::vector<DeviceListener*>{&listener});
    over.remove_listener(listener);
    EXPECT_TRUE(asked.listeners.empty());
    on_reactor([&] {
        const auto opened = over.open_channel();
        ASSERT_FALSE(opened);
        EXPECT_EQ(opened.error().kind, core::ErrorKind::ResourceExhausted);
    });
    run([&]() -> Task<> { co_await over.stop(); });
    EXPECT_TRUE(asked.stopped);
}

}  // namespace
}  // namespace remora::block
