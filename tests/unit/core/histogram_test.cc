// SPDX-License-Identifier: Apache-2.0
#include "core/histogram.h"

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::core {
namespace {

/// The value that the given part of the sorted values lies at.
std::uint64_t truth(const std::vector<std::uint64_t>& sorted, double part) {
    const auto at = static_cast<std::size_t>(static_cast<double>(sorted.size()) * part);
    return sorted[std::min(at, sorted.size() - 1)];
}

TEST(Histogram, Empty_isZeroEverywhere) {
    const Histogram histogram;
    EXPECT_EQ(histogram.count(), 0U);
    EXPECT_EQ(histogram.max(), 0U);
    EXPECT_EQ(histogram.percentile(0.5), 0U);
}

TEST(Histogram, SmallValues_areExact) {
    Histogram histogram;
    for (std::uint64_t value = 0; value < 16; ++value) {
        histogram.record(value);
    }
    EXPECT_EQ(histogram.percentile(0.0), 0U);
    EXPECT_EQ(histogram.percentile(0.5), 8U);
    EXPECT_EQ(histogram.percentile(1.0), 15U);
}

TEST(Histogram, OneValue_isEveryPercentile) {
    for (const std::uint64_t value : {std::uint64_t{0}, std::uint64_t{17}, std::uint64_t{1'000'003},
                                      std::numeric_limits<std::uint64_t>::max()}) {
        Histogram histogram;
        histogram.record(value);
        EXPECT_EQ(histogram.percentile(0.0), value);
        EXPECT_EQ(histogram.percentile(0.99), value);
        EXPECT_EQ(histogram.percentile(1.0), value);
        EXPECT_EQ(histogram.max(), value);
    }
}

TEST(Histogram, Percentile_randomValues_isWithinOneSixteenthAbove) {
    Prng prng(2024);
    for (int round = 0; round < 20; ++round) {
        auto histogram = std::make_unique<Histogram>();
        std::vector<std::uint64_t> values;
        for (int i = 0; i < 1000; ++i) {
            const std::uint64_t value = prng.next() >> prng.below(64);
            values.push_back(value);
            histogram->record(value);
        }
        std::ranges::sort(values);
        for (const double part : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
            const std::uint64_t exact = truth(values, part);
            const std::uint64_t shown = histogram->percentile(part);
            EXPECT_GE(shown, exact) << "part " << part << " round " << round;
            EXPECT_LE(shown - exact, exact / 16) << "part " << part << " round " << round;
        }
    }
}

TEST(Histogram, Percentile_moreOfTheValues_neverLess) {
    Histogram histogram;
    Prng prng(7);
    for (int i = 0; i < 500; ++i) {
        histogram.record(prng.below(1'000'000));
    }
    std::uint64_t before = 0;
    for (int percent = 0; percent <= 100; ++percent) {
        const std::uint64_t now = histogram.percentile(percent / 100.0);
        EXPECT_GE(now, before);
        before = now;
    }
    EXPECT_EQ(before, histogram.max());
}

TEST(Histogram, Add_twoHalves_equalsTheWhole) {
    auto whole = std::make_unique<Histogram>();
    auto first = std::make_unique<Histogram>();
    auto second = std::make_unique<Histogram>();
    Prng prng(5);
    for (int i = 0; i < 1000; ++i) {
        const std::uint64_t value = prng.below(std::uint64_t{1} << 40U);
        whole->record(value);
        (i % 3 == 0 ? first : second)->record(value);
    }

    first->add(*second);

    EXPECT_EQ(first->count(), whole->count());
    EXPECT_EQ(first->max(), whole->max());
    for (const double part : {0.1, 0.5, 0.99}) {
        EXPECT_EQ(first->percentile(part), whole->percentile(part));
    }
}

}  // namespace
}  // namespace remora::core
