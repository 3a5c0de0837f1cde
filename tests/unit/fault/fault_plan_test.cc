// SPDX-License-Identifier: Apache-2.0
// Which requests a rule hits, and what delays are drawn.
#include "services/fault/fault_plan.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include <gtest/gtest.h>

namespace remora::services::fault {
namespace {

using namespace std::chrono_literals;
using block::Opcode;
using block::Request;
using block::Status;
using Distribution = DelayRule::Distribution;

constexpr OperationSet kAll{.read = true, .write = true, .flush = true, .unmap = true};

FaultSettings with_error(const ErrorRule& rule) {
    FaultSettings settings;
    settings.errors.push_back(rule);
    return settings;
}

/// A plan with what it draws from and counts in.
struct Drawn {
    explicit Drawn(const FaultSettings& settings) : plan(settings) {}

    Verdict draw(Opcode opcode, std::uint64_t lba, std::uint32_t blocks) {
        request.opcode = opcode;
        request.lba = lba;
        request.block_count = blocks;
        block::RequestBatch batch;
        batch.push_back(request);
        const bool possible = plan.may_hit(batch);
        (void)batch.pop_front();
        const Verdict verdict = plan.draw(request, prng, tally);
        // What the quick look lets pass must not have been hit.
        EXPECT_TRUE(possible || (verdict.status == Status::Ok && !verdict.delayed));
        quick += possible ? 0U : 1U;
        return verdict;
    }
    bool fails(Opcode opcode, std::uint64_t lba, std::uint32_t blocks) {
        return draw(opcode, lba, blocks).status != Status::Ok;
    }

    FaultPlan plan;
    core::Prng prng{7};
    Tally tally;
    Request request;
    std::uint64_t quick = 0;  ///< Passed by the quick look alone.
};

TEST(FaultPlan, Operations_hitWhatTheyName) {
    Drawn reads(with_error({.on = {.read = true}}));
    EXPECT_TRUE(reads.fails(Opcode::Read, 0, 1));
    for (const Opcode opcode :
         {Opcode::Write, Opcode::Flush, Opcode::WriteZeroes, Opcode::Discard}) {
        EXPECT_FALSE(reads.fails(opcode, 0, 1));
    }
    EXPECT_EQ(reads.quick, 4U);
    Drawn unmaps(with_error({.on = {.unmap = true}}));
    EXPECT_TRUE(unmaps.fails(Opcode::WriteZeroes, 0, 1));
    EXPECT_TRUE(unmaps.fails(Opcode::Discard, 0, 1));
    EXPECT_FALSE(unmaps.fails(Opcode::Read, 0, 1));
}

TEST(FaultPlan, Range_hitsWhatTouchesIt) {
    Drawn drawn(with_error({.on = kAll, .first_lba = 100, .block_count = 10}));
    EXPECT_FALSE(drawn.fails(Opcode::Read, 0, 100));
    EXPECT_FALSE(drawn.fails(Opcode::Read, 110, 100));
    EXPECT_TRUE(drawn.fails(Opcode::Read, 0, 101));
    EXPECT_TRUE(drawn.fails(Opcode::Read, 100, 1));
    EXPECT_TRUE(drawn.fails(Opcode::Write, 109, 1));
    EXPECT_TRUE(drawn.fails(Opcode::Discard, 0, 1000));
    EXPECT_TRUE(drawn.fails(Opcode::Flush, 0, 0)) << "it has no range";
    EXPECT_FALSE(drawn.fails(Opcode::Read, ~std::uint64_t{0}, 200)) << "no sum that overflows";
}

TEST(FaultPlan, RangeWithoutACount_goesToTheEnd) {
    Drawn drawn(with_error({.on = kAll, .first_lba = 100}));
    EXPECT_FALSE(drawn.fails(Opcode::Read, 99, 1));
    EXPECT_TRUE(drawn.fails(Opcode::Read, 100, 1));
    EXPECT_TRUE(drawn.fails(Opcode::Read, ~std::uint64_t{0}, 1));
}

TEST(FaultPlan, Probability_isThatOfHits) {
    for (const double probability : {0.001, 0.1, 0.5, 0.9}) {
        Drawn drawn(with_error({.on = kAll, .probability = probability}));
        constexpr int kDraws = 200'000;
        int hits = 0;
        for (int i = 0; i < kDraws; ++i) {
            hits += drawn.fails(Opcode::Read, 0, 1) ? 1 : 0;
        }
        const double deviation = std::sqrt(kDraws * probability * (1 - probability));
        EXPECT_NEAR(hits, kDraws * probability, 4 * deviation) << probability;
        EXPECT_EQ(drawn.tally.errors[0], static_cast<std::uint64_t>(hits));
    }
}

TEST(FaultPlan, Count_endsTheRule) {
    Drawn drawn(with_error({.on = kAll, .count = 3}));
    for (int i = 0; i < 10; ++i) {
        EXPECT_EQ(drawn.fails(Opcode::Read, 0, 1), i < 3);
    }
    EXPECT_EQ(drawn.tally.errors[0], 3U);
}

TEST(FaultPlan, FirstErrorThatHits_decidesTheStatus) {
    FaultSettings settings;
    settings.errors.push_back({.on = kAll, .count = 1, .status = Status::NoSpace});
    settings.errors.push_back({.on = kAll, .status = Status::PathError});
    Drawn drawn(settings);
    EXPECT_EQ(drawn.draw(Opcode::Write, 0, 1).status, Status::NoSpace);
    EXPECT_EQ(drawn.draw(Opcode::Write, 0, 1).status, Status::PathError);
    EXPECT_EQ(drawn.tally.errors[0], 1U);
    EXPECT_EQ(drawn.tally.errors[1], 1U);
}

TEST(FaultPlan, DelaysThatHit_addUpAndAnErrorHasThemToo) {
    FaultSettings settings = with_error({.on = {.write = true}});
    settings.delays.push_back({.on = kAll, .mean = 1ms});
    settings.delays.push_back({.on = {.write = true}, .mean = 20ms});
    Drawn drawn(settings);
    const Verdict read = drawn.draw(Opcode::Read, 0, 1);
    EXPECT_EQ(read.status, Status::Ok);
    EXPECT_TRUE(read.delayed);
    EXPECT_EQ(read.delay, 1ms);
    const Verdict write = drawn.draw(Opcode::Write, 0, 1);
    EXPECT_EQ(write.status, Status::IoError);
    EXPECT_EQ(write.delay, 21ms);
    EXPECT_EQ(drawn.tally.delays[0], 2U);
    EXPECT_EQ(drawn.tally.delays[1], 1U);
}

/// Many draws of one rule, in their order.
std::vector<double> draws_of(const DelayRule& rule) {
    core::Prng prng(42);
    std::vector<double> draws(200'000);
    std::ranges::generate(draws,
                          [&] { return static_cast<double>(draw_delay(rule, prng).count()); });
    std::ranges::sort(draws);
    return draws;
}

/// That the draws below `value` are the part of all that the distribution says.
void expect_part_below(const std::vector<double>& sorted, double value, double part) {
    const auto below = std::ranges::lower_bound(sorted, value) - sorted.begin();
    EXPECT_NEAR(static_cast<double>(below) / static_cast<double>(sorted.size()), part, 0.005)
        << value;
}

double mean_of(const std::vector<double>& draws) {
    double sum = 0;
    for (const double draw : draws) {
        sum += draw;
    }
    return sum / static_cast<double>(draws.size());
}

TEST(DrawDelay, Constant_isTheMean) {
    const auto draws = draws_of({.on = kAll, .mean = 3ms});
    EXPECT_EQ(draws.front(), 3e6);
    EXPECT_EQ(draws.back(), 3e6);
}

TEST(DrawDelay, Uniform_isEvenBetweenItsBorders) {
    const auto draws =
        draws_of({.on = kAll, .distribution = Distribution::Uniform, .mean = 10ms, .spread = 4ms});
    EXPECT_GE(draws.front(), 6e6);
    EXPECT_LE(draws.back(), 14e6);
    EXPECT_NEAR(mean_of(draws), 10e6, 0.02e6);
    for (const double part : {0.1, 0.25, 0.5, 0.75, 0.9}) {
        expect_part_below(draws, 6e6 + part * 8e6, part);
    }
    // Both borders belong to it.
    const auto narrow =
        draws_of({.on = kAll, .distribution = Distribution::Uniform, .mean = 2ns, .spread = 1ns});
    EXPECT_EQ(narrow.front(), 1);
    EXPECT_EQ(narrow.back(), 3);
    expect_part_below(narrow, 2, 1.0 / 3);
}

TEST(DrawDelay, Exponential_hasItsMeanAndIsCutAtTen) {
    const auto draws =
        draws_of({.on = kAll, .distribution = Distribution::Exponential, .mean = 1ms});
    EXPECT_GE(draws.front(), 0);
    EXPECT_EQ(draws.back(), 10e6) << "one in 22,000 is beyond";
    EXPECT_NEAR(mean_of(draws), 1e6, 0.01e6);
    for (const double times : {0.1, 0.5, 1.0, 2.0, 4.0}) {
        expect_part_below(draws, times * 1e6, 1 - std::exp(-times));
    }
}

TEST(DrawDelay, Normal_hasItsDeviationAndIsCut) {
    const auto draws =
        draws_of({.on = kAll, .distribution = Distribution::Normal, .mean = 10ms, .spread = 2ms});
    EXPECT_GE(draws.front(), 0);
    EXPECT_EQ(draws.back(), 18e6) << "one in 31,000 is beyond";
    EXPECT_NEAR(mean_of(draws), 10e6, 0.02e6);
    for (const double deviations : {-2.0, -1.0, 0.0, 1.0, 2.0}) {
        expect_part_below(draws, 10e6 + deviations * 2e6,
                          0.5 * std::erfc(-deviations / std::sqrt(2.0)));
    }
    // Of one as wide as its mean a sixth would be negative.
    const auto wide =
        draws_of({.on = kAll, .distribution = Distribution::Normal, .mean = 1ms, .spread = 1ms});
    EXPECT_EQ(wide.front(), 0);
    expect_part_below(wide, 1, 0.1587);
}

TEST(DrawDelay, LongestRules_stayInTheirBounds) {
    using enum Distribution;
    for (const Distribution distribution : {Constant, Uniform, Exponential, Normal}) {
        const bool spreads = distribution == Uniform || distribution == Normal;
        const DelayRule rule{.on = kAll,
                             .distribution = distribution,
                             .mean = FaultSettings::kMostDelay,
                             .spread = spreads ? FaultSettings::kMostDelay : Nanos{0}};
        const auto draws = draws_of(rule);
        EXPECT_GE(draws.front(), 0);
        EXPECT_LE(draws.back(), 600e9);
    }
}

}  // namespace
}  // namespace remora::services::fault
