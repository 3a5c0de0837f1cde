// SPDX-License-Identifier: Apache-2.0
#include "services/qos/share.h"

#include <gtest/gtest.h>

namespace remora::services::qos {
namespace {

using namespace std::chrono_literals;

constexpr Nanos kNow = 1h;

TEST(Parts, EachMinimum_isAPartOfItsCapacity) {
    const Capacity capacity{.ops = 100'000, .bytes = 1'000'000'000};
    const Parts parts = parts_of({.read_ops = 10'000,
                                  .all_ops = 20'000,
                                  .read_bytes = 300'000'000,
                                  .write_bytes = 200'000'000},
                                 capacity);
    EXPECT_EQ(parts, (Parts{.read = 0.3, .write = 0.2, .all = 0.2}));
    EXPECT_DOUBLE_EQ(parts.sum(), 0.5);
    EXPECT_DOUBLE_EQ((Parts{.read = 0.1, .write = 0.1, .all = 0.4}.sum()), 0.4);
    EXPECT_EQ(parts_of({}, capacity), Parts{});
}

TEST(Pool, Request_takesTheLongerOfItsTimes) {
    Pool pool;
    pool.set({.ops = 10'000, .bytes = 100'000'000});
    EXPECT_EQ(pool.time_of(0), 100us);
    EXPECT_EQ(pool.time_of(5'000), 100us);
    EXPECT_EQ(pool.time_of(50'000), 500us);
    pool.set({.ops = 10'000});
    EXPECT_EQ(pool.time_of(std::uint64_t{1} << 40), 100us) << "bytes do not matter there";
    pool.set({.bytes = 1});
    EXPECT_EQ(pool.time_of(~std::uint64_t{0}), 1h) << "bounded: no sum overflows";
}

TEST(Share, WithoutAMinimum_waitsForItsTurn) {
    Pool pool;
    pool.set({.ops = 1000});
    Share share;
    share.set(&pool, {});
    EXPECT_EQ(share.reserve(pool, Way::Read, 10ms, kNow), kNow - TimeLine::kCredit);
    EXPECT_EQ(share.reserve(pool, Way::Write, 10ms, kNow), kNow + 5ms);
    EXPECT_EQ(share.reserve(pool, Way::Read, 10ms, kNow), kNow + 15ms);
}

TEST(Share, Minimum_isDueBeforeTheTurn_andPushesTheOthersBack) {
    Pool pool;
    pool.set({.ops = 1000});
    Share greedy;
    greedy.set(&pool, {});
    Share sure;
    sure.set(&pool, {.all = 0.5});
    (void)greedy.reserve(pool, Way::Read, 1005ms, kNow);  // until a second from now
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(sure.reserve(pool, i % 2 == 0 ? Way::Read : Way::Write, 10ms, kNow),
                  kNow - TimeLine::kCredit + i * 20ms);
    }
    EXPECT_EQ(greedy.reserve(pool, Way::Read, 10ms, kNow), kNow + 1100ms);
}

TEST(Share, GoingAheadOfTheMinimum_makesNoDebt) {
    Pool pool;
    pool.set({.ops = 1000});
    Share greedy;
    greedy.set(&pool, {});
    Share sure;
    sure.set(&pool, {.write = 0.1});
    Nanos now = kNow;
    for (int i = 0; i < 100; ++i) {  // ten times its minimum, since nobody else is there
        EXPECT_LE(sure.reserve(pool, Way::Write, 10ms, now), now);
        now += 10ms;
    }
    (void)greedy.reserve(pool, Way::Read, 10s, now);
    EXPECT_LE(sure.reserve(pool, Way::Write, 10ms, now), now + 100ms);
}

TEST(Share, Turns_areInProportion_andOfTheShareNotOfItsLanes) {
    Pool pool;
    pool.set({.ops = 100'000});
    Share sure;
    sure.set(&pool, {.all = 0.4});
    Share none;
    none.set(&pool, {});
    EXPECT_EQ(pool.turn(), 1ms);
    EXPECT_EQ(sure.bundle_time(pool), 400us);
    EXPECT_EQ(none.bundle_time(pool), 20us);
    sure.count_waiting(1);
    sure.count_waiting(1);
    EXPECT_EQ(sure.bundle_time(pool), 200us);
    sure.count_waiting(-1);
    EXPECT_EQ(sure.bundle_time(pool), 400us);
}

}  // namespace
}  // namespace remora::services::qos
