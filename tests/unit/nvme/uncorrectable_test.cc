// SPDX-License-Identifier: Apache-2.0
// The set of blocks that a host has marked uncorrectable, beside a plain table of blocks.
#include "nvme/uncorrectable.h"

#include <limits>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::nvme {
namespace {

using Ranges = std::vector<BlockRange>;

constexpr std::uint64_t kLast = std::numeric_limits<std::uint64_t>::max();

UncorrectableBlocks marks_of(const Ranges& ranges) {
    const auto made = UncorrectableBlocks::from(ranges);
    EXPECT_TRUE(made.has_value());
    return made.value_or(UncorrectableBlocks());
}

/// `count` ranges of `blocks`, one free block between two.
Ranges comb(std::size_t count, std::uint64_t blocks = 1) {
    Ranges ranges;
    for (std::size_t i = 0; i < count; ++i) {
        ranges.push_back({i * (blocks + 1), blocks});
    }
    return ranges;
}

TEST(BlockRange, overlaps_onlyWhereBothHaveABlock) {
    const BlockRange range{10, 5};
    EXPECT_TRUE(range.overlaps({14, 1}));
    EXPECT_TRUE(range.overlaps({0, 11}));
    EXPECT_TRUE(range.overlaps({0, kLast}));
    EXPECT_FALSE(range.overlaps({15, 1}));
    EXPECT_FALSE(range.overlaps({5, 5}));
    EXPECT_FALSE(range.overlaps({12, 0}));
    EXPECT_FALSE((BlockRange{12, 0}.overlaps(range)));
}

TEST(UncorrectableBlocks, mark_mergesWhatItOverlapsOrTouches) {
    UncorrectableBlocks marks;
    EXPECT_TRUE(marks.empty());
    EXPECT_TRUE(marks.mark({10, 5}));
    EXPECT_TRUE(marks.mark({20, 5}));
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 5}, {20, 5}}));
    EXPECT_TRUE(marks.mark({15, 2}));
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 7}, {20, 5}}));
    EXPECT_TRUE(marks.mark({18, 2}));
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 7}, {18, 7}}));
    EXPECT_TRUE(marks.mark({0, 30}));
    EXPECT_EQ(marks.ranges(), (Ranges{{0, 30}}));
    EXPECT_TRUE(marks.mark({3, 4}));
    EXPECT_EQ(marks.ranges(), (Ranges{{0, 30}}));
}

TEST(UncorrectableBlocks, clear_takesTheseBlocksOnly) {
    UncorrectableBlocks marks = marks_of({{10, 10}, {30, 10}, {50, 10}});
    EXPECT_TRUE(marks.clear({12, 3}));
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 2}, {15, 5}, {30, 10}, {50, 10}}));
    EXPECT_TRUE(marks.clear({18, 35}));
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 2}, {15, 3}, {53, 7}}));
    EXPECT_TRUE(marks.clear({12, 3}));  // beside them
    EXPECT_EQ(marks.ranges(), (Ranges{{10, 2}, {15, 3}, {53, 7}}));
    EXPECT_TRUE(marks.clear({0, 100}));
    EXPECT_TRUE(marks.empty());
}

TEST(UncorrectableBlocks, mark_beyondTheMost_changesNothing) {
    UncorrectableBlocks marks;
    for (const BlockRange& range : comb(UncorrectableBlocks::kMostMarked)) {
        EXPECT_TRUE(marks.mark(range));
    }
    const UncorrectableBlocks before = marks;
    EXPECT_FALSE(marks.mark({1000, 1}));
    EXPECT_EQ(marks, before);
    EXPECT_TRUE(marks.mark({1, 1}));  // joins two
    EXPECT_TRUE(marks.mark({1000, 1}));
    EXPECT_FALSE(marks.mark({2000, 1}));
}

TEST(UncorrectableBlocks, clear_goesOnWhereMarkMayNot_asFarAsItsOwnMost) {
    UncorrectableBlocks marks = marks_of(comb(UncorrectableBlocks::kMostRanges, 3));
    const UncorrectableBlocks before = marks;
    EXPECT_FALSE(marks.clear({1, 1}));
    EXPECT_EQ(marks, before);
    EXPECT_TRUE(marks.clear({0, 2}));  // splits none
    EXPECT_TRUE(marks.mark({0, 2}));   // and none more than there was
    EXPECT_EQ(marks, before);
    EXPECT_TRUE(marks.clear({0, 3}));
    EXPECT_TRUE(marks.clear({5, 1}));
    EXPECT_EQ(marks.ranges().size(), UncorrectableBlocks::kMostRanges);
}

TEST(UncorrectableBlocks, from_takesOnlyWhatItGives) {
    EXPECT_TRUE(UncorrectableBlocks::from({}).has_value());
    EXPECT_TRUE(UncorrectableBlocks::from({{0, 1}, {2, 1}, {kLast - 1, 1}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{0, 0}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{0, 2}, {1, 2}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{0, 2}, {2, 2}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{5, 1}, {1, 1}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{kLast, 1}, {kLast, 1}}).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from({{2, kLast}}).has_value());
    EXPECT_TRUE(UncorrectableBlocks::from(comb(UncorrectableBlocks::kMostRanges)).has_value());
    EXPECT_FALSE(UncorrectableBlocks::from(comb(UncorrectableBlocks::kMostRanges + 1)).has_value());
}

TEST(UncorrectableBlocks, agreesWithATableOfBlocks) {
    constexpr std::uint64_t kBlocks = 400;
    for (std::uint64_t seed = 0; seed < 30; ++seed) {
        core::Prng prng(seed);
        UncorrectableBlocks marks;
        std::vector<bool> table(kBlocks);
        const std::uint64_t longest = seed % 3 == 0 ? 2 : 40;  // short ones reach the limits
        for (int step = 0; step < 1500; ++step) {
            const std::uint64_t lba = prng.below(kBlocks);
            const std::uint64_t blocks = std::min(prng.below(longest + 1), kBlocks - lba);
            const BlockRange range{lba, blocks};
            bool any = false;
            for (std::uint64_t i = lba; i < lba + blocks; ++i) {
                any = any || table[i];
            }
            ASSERT_EQ(marks.overlaps(range), any);
            const bool set = prng.below(8) < 5;
            const UncorrectableBlocks before = marks;
            const bool changed = set ? marks.mark(range) : marks.clear(range);
            if (changed) {
                std::fill_n(table.begin() + static_cast<std::ptrdiff_t>(lba), blocks, set);
            } else {
                ASSERT_EQ(marks, before);
                ASSERT_GE(marks.ranges().size(), UncorrectableBlocks::kMostMarked);
            }
            ASSERT_EQ(UncorrectableBlocks::from(marks.ranges()), marks);
            std::vector<bool> shown(kBlocks);
            for (const BlockRange& one : marks.ranges()) {
                std::fill_n(shown.begin() + static_cast<std::ptrdiff_t>(one.lba), one.blocks, true);
            }
            ASSERT_EQ(shown, table);
        }
    }
}

}  // namespace
}  // namespace remora::nvme
