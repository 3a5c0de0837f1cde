// SPDX-License-Identifier: Apache-2.0
#include "core/prng.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace remora::core {
namespace {

std::vector<std::uint64_t> draws(Prng& prng, int count) {
    std::vector<std::uint64_t> out;
    for (int i = 0; i < count; ++i) {
        out.push_back(prng.next());
    }
    return out;
}

TEST(Prng, SameSeed_givesTheSameNumbers) {
    Prng a(99);
    Prng b(99);
    EXPECT_EQ(draws(a, 100), draws(b, 100));
}

TEST(Prng, OtherSeed_givesOtherNumbers) {
    Prng a(0);
    Prng b(1);
    EXPECT_NE(draws(a, 10), draws(b, 10));
}

TEST(Prng, Fork_moreDrawsInOneChild_doNotShiftTheOther) {
    Prng first_world(7);
    Prng quiet = first_world.fork();
    Prng expected = first_world.fork();

    Prng second_world(7);
    Prng noisy = second_world.fork();
    draws(noisy, 1000);
    Prng actual = second_world.fork();

    draws(quiet, 1);
    EXPECT_EQ(draws(actual, 50), draws(expected, 50));
    EXPECT_EQ(draws(second_world, 50), draws(first_world, 50));
}

TEST(Prng, Fork_childrenAndParent_shareNoNumbers) {
    Prng parent(11);
    Prng a = parent.fork();
    Prng b = parent.fork();
    const auto of_a = draws(a, 50);
    const auto of_b = draws(b, 50);
    const auto of_parent = draws(parent, 50);
    EXPECT_NE(of_a, of_b);
    EXPECT_NE(of_a, of_parent);
    EXPECT_NE(of_b, of_parent);
}

TEST(Prng, Below_staysBelowAndReachesEverything) {
    Prng prng(3);
    std::array<int, 10> seen{};
    for (int i = 0; i < 10'000; ++i) {
        const std::uint64_t value = prng.below(seen.size());
        ASSERT_LT(value, seen.size());
        ++seen[value];
    }
    for (const int count : seen) {
        EXPECT_GT(count, 800);
        EXPECT_LT(count, 1200);
    }
}

TEST(Prng, Below_zeroOrOne_isZero) {
    Prng prng(3);
    EXPECT_EQ(prng.below(0), 0U);
    EXPECT_EQ(prng.below(1), 0U);
}

}  // namespace
}  // namespace remora::core
