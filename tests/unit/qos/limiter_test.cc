// SPDX-License-Identifier: Apache-2.0
#include "services/qos/limiter.h"

#include <gtest/gtest.h>

namespace remora::services::qos {
namespace {

using namespace std::chrono_literals;

constexpr Nanos kNow = 1h;

TEST(Limiter, NoRates_limitNothing) {
    Limiter limiter;
    limiter.set({});
    EXPECT_FALSE(limiter.is_limited(Way::Read));
    EXPECT_FALSE(limiter.is_limited(Way::Write));
    EXPECT_EQ(limiter.time_of(Way::Read, {.ops = 1000, .bytes = 1 << 30}), 0ns);
    EXPECT_LE(limiter.reserve(Way::Read, {.ops = 1000, .bytes = 1 << 30}, kNow), kNow);
}

TEST(Limiter, EachRate_countsForItsWays) {
    struct Case {
        Rates rates;
        bool reads;
        bool writes;
    };
    const Case cases[] = {{{.read_ops = 1}, true, false},    {{.write_ops = 1}, false, true},
                          {{.all_ops = 1}, true, true},      {{.read_bytes = 1}, true, false},
                          {{.write_bytes = 1}, false, true}, {{.all_bytes = 1}, true, true}};
    for (const Case& one : cases) {
        Limiter limiter;
        limiter.set(one.rates);
        EXPECT_EQ(limiter.is_limited(Way::Read), one.reads);
        EXPECT_EQ(limiter.is_limited(Way::Write), one.writes);
    }
}

TEST(Limiter, SlowestRate_counts) {
    Limiter limiter;
    limiter.set({.read_ops = 1000, .all_bytes = 1'000'000});
    EXPECT_EQ(limiter.time_of(Way::Read, {.ops = 1, .bytes = 512}), 1ms);
    EXPECT_EQ(limiter.time_of(Way::Read, {.ops = 1, .bytes = 4000}), 4ms);
    EXPECT_EQ(limiter.time_of(Way::Write, {.ops = 1, .bytes = 500}), 500us);
}

TEST(Limiter, Reservations_followEachOther) {
    Limiter limiter;
    limiter.set({.all_ops = 1000});
    // The credit of an idle object first, then one a millisecond.
    EXPECT_EQ(limiter.reserve(Way::Read, {.ops = 1}, kNow), kNow - Limiter::kCredit);
    for (int i = 1; i < 50; ++i) {
        EXPECT_EQ(limiter.reserve(i % 2 == 0 ? Way::Read : Way::Write, {.ops = 1}, kNow),
                  kNow - Limiter::kCredit + i * 1ms);
    }
}

TEST(Limiter, LargeRequest_goesAtOnceAndIsPaidAfterwards) {
    Limiter limiter;
    limiter.set({.write_bytes = 1'000'000});
    EXPECT_LE(limiter.reserve(Way::Write, {.ops = 1, .bytes = 2'000'000}, kNow), kNow);
    EXPECT_EQ(limiter.reserve(Way::Write, {.ops = 1, .bytes = 1}, kNow),
              kNow - Limiter::kCredit + 2s);
}

TEST(Limiter, SetAgain_forgetsDebtsAndCredit) {
    Limiter limiter;
    limiter.set({.write_bytes = 1});
    (void)limiter.reserve(Way::Write, {.ops = 1, .bytes = 3000}, kNow);
    limiter.set({.write_bytes = 1000});
    EXPECT_LE(limiter.reserve(Way::Write, {.ops = 1, .bytes = 1000}, kNow), kNow);
}

TEST(Limiter, AbsurdNumbers_overflowNothing) {
    Limiter limiter;
    limiter.set({.read_ops = 1, .read_bytes = 1});
    constexpr std::uint64_t kHuge = ~std::uint64_t{0};
    Nanos last = kNow - Limiter::kCredit;
    for (int i = 0; i < 100; ++i) {
        const Nanos start = limiter.reserve(Way::Read, {.ops = kHuge, .bytes = kHuge}, kNow);
        EXPECT_GE(start, last);
        last = start;
    }
}

}  // namespace
}  // namespace remora::services::qos
