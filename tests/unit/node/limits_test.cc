// SPDX-License-Identifier: Apache-2.0
// Limits and minima as LocalNode puts them over controllers and volumes. Times are real ones, so
// what is exact is told by tests/unit/qos; here nothing may have more than it should, and what is
// sure must be had.
#include "reactor/call.h"
#include "reactor/gate.h"
#include "tests/unit/node/node_fixture.h"

namespace remora::node {
namespace {

/// A second of 4 KiB reads, many at a time.
BenchmarkSpec load_of(const std::string& volume) {
    BenchmarkSpec load;
    load.volume = volume;
    load.queue_depth = 64;
    load.milliseconds = 1000;
    return load;
}

Task<std::uint64_t> operations(LocalNode& node, std::string volume) {
    const auto result = co_await node.run_benchmark(load_of(volume));
    EXPECT_TRUE(result);
    EXPECT_EQ(result->errors, 0U);
    co_return result->operations;
}

/// Both at once.
Task<> compete(LocalNode& node, std::uint64_t& first, std::uint64_t& second) {
    reactor::Gate gate;
    const auto run = [](LocalNode* at, std::string volume, std::uint64_t* to) -> Task<> {
        *to = co_await operations(*at, std::move(volume));
    };
    gate.spawn(run, &node, std::string("first"), &first);
    gate.spawn(run, &node, std::string("second"), &second);
    co_await gate.close();
}

TEST_F(LocalNodeTest, ControllerRates_holdForItsHosts_untilTheyAreLifted) {
    serve(8);
    connect();
    const auto limit = [&](Rates rates) {
        target_.run([&]() -> Task<> {
            const auto set = co_await target_.node().set_controller_rates(kNqn, endpoint_, rates);
            EXPECT_TRUE(set);
        });
    };
    std::uint64_t limited = 0;
    limit({.all_ops = 1000});
    host_.run([&]() -> Task<> { limited = co_await operations(host_.node(), "remoten1"); });
    EXPECT_GE(limited, 900U);
    EXPECT_LE(limited, 1100U) << "a second and the time to end it";
    limit({});
    std::uint64_t unlimited = 0;
    host_.run([&]() -> Task<> { unlimited = co_await operations(host_.node(), "remoten1"); });
    EXPECT_GT(unlimited, 1500U);
    target_.run([&]() -> Task<> {
        const auto held = co_await target_.node().controller_throttled_ns(kNqn, endpoint_);
        EXPECT_GT(held, 1'000'000'000U) << "most of 64 requests wait all the time";
        const auto nowhere = co_await target_.node().set_controller_rates(
            kNqn, Endpoint::tcp("127.0.0.1", 1), {.all_ops = 1});
        EXPECT_EQ(nowhere.error().kind, ErrorKind::NotFound);
    });
}

TEST_F(LocalNodeTest, ControllerThatGoes_holdsNothingBack) {
    serve(8);
    connect();
    target_.run([&]() -> Task<> {
        const auto set =
            co_await target_.node().set_controller_rates(kNqn, endpoint_, {.all_ops = 1});
        EXPECT_TRUE(set);
    });
    host_.run([&]() -> Task<> {
        reactor::Gate gate;
        std::uint64_t done = 0;
        gate.spawn([](LocalNode* at,
                      std::uint64_t* to) -> Task<> { *to = co_await operations(*at, "remoten1"); },
                   &host_.node(), &done);
        co_await reactor::sleep_for(300ms);
        target_.run([&]() -> Task<> {
            const auto removed = co_await target_.node().remove_listener(kNqn, endpoint_);
            EXPECT_TRUE(removed);
        });
        co_await gate.close();
        EXPECT_GT(done, 64U);
    });
}

TEST_F(LocalNodeTest, Minimum_isHadBesideAGreedyVolume_andNobodyTakesTurnsWithoutOne) {
    target_.run([&]() -> Task<> {
        LocalNode& node = target_.node();
        co_await add_volume("first", 8);
        co_await add_volume("second", 8);
        Competition competition;
        competition.pools[""] = {.ops = 4000};
        competition.volumes["first"] = {.pool = "", .least = {.read_ops = 3000}};
        co_await node.set_competition(competition);
        std::uint64_t first = 0;
        std::uint64_t second = 0;
        co_await compete(node, first, second);
        EXPECT_GE(first, 2700U);
        EXPECT_LE(first + second, 4400U) << "what is declared, and the time to end";
        EXPECT_GT(second, 0U);
        const auto stats = co_await node.volume_stats("second");
        EXPECT_GT(stats->throttled_ns, 1'000'000'000U);

        competition.volumes.clear();
        co_await node.set_competition(competition);
        co_await compete(node, first, second);
        EXPECT_GT(first + second, 6000U);
    });
}

}  // namespace
}  // namespace remora::node
