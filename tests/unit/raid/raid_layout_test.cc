// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_layout.h"

#include <map>
#include <set>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::services::raid {
namespace {

constexpr std::uint32_t kChunk = 4096;
constexpr std::uint64_t kStep = 512;

/// Where byte `at` lies, the slow way.
std::pair<std::size_t, std::uint64_t> place(Level level, std::size_t slots, std::uint64_t at) {
    const std::uint64_t chunk = at / kChunk;
    const std::uint64_t within = at % kChunk;
    switch (level) {
        case Level::Raid0:
            return {chunk % slots, chunk / slots * kChunk + within};
        case Level::Raid10:
            return {chunk % (slots / 2) * 2, chunk / (slots / 2) * kChunk + within};
        case Level::Raid5: {
            const std::uint64_t stripe = chunk / (slots - 1);
            std::size_t slot = slots - 1 - stripe % slots;  // the parity's
            for (std::uint64_t i = 0; i <= chunk % (slots - 1); ++i) {
                slot = (slot + 1) % slots;
            }
            return {slot, stripe * kChunk + within};
        }
        case Level::Concat:
        case Level::Raid1:
            break;
    }
    return {0, at};
}

TEST(RaidLayoutTest, Find_everyByte_isWhereTheModelHasIt) {
    for (const Level level : {Level::Raid0, Level::Raid1, Level::Raid5, Level::Raid10}) {
        for (const std::size_t slots : {4U, 6U}) {
            const RaidLayout layout(level, kChunk, std::vector<std::uint64_t>(slots, 12 * kChunk));
            std::set<std::pair<std::size_t, std::uint64_t>> seen;
            for (std::uint64_t at = 0; at < layout.array_bytes(); at += kStep) {
                const auto run = layout.find(at, kStep);
                EXPECT_EQ(std::pair(run.slot, run.offset), place(level, slots, at));
                EXPECT_EQ(run.bytes, kStep);
                EXPECT_LT(run.offset, layout.slot_bytes(run.slot));
                EXPECT_TRUE(seen.emplace(run.slot, run.offset).second) << "two bytes at one place";
                if (level == Level::Raid5) {
                    EXPECT_NE(run.slot, layout.parity_slot(run.offset / kChunk));
                }
            }
        }
    }
}

TEST(RaidLayoutTest, Find_longRange_runsCoverItInOrder) {
    const RaidLayout layout(Level::Concat, kChunk, {8192, 4096, 16384});
    EXPECT_EQ(layout.array_bytes(), 28672U);
    std::uint64_t at = 0;
    std::vector<std::size_t> slots;
    while (at < layout.array_bytes()) {
        const auto run = layout.find(at, layout.array_bytes() - at);
        EXPECT_EQ(run.offset, 0U);
        slots.push_back(run.slot);
        at += run.bytes;
    }
    EXPECT_EQ(slots, (std::vector<std::size_t>{0, 1, 2}));
    EXPECT_EQ(layout.find(9000, 1).offset, 9000U - 8192U);
}

TEST(RaidLayoutTest, Parity_visitsEverySlot) {
    const RaidLayout layout(Level::Raid5, kChunk, std::vector<std::uint64_t>(5, 10 * kChunk));
    std::map<std::size_t, int> count;
    for (std::uint64_t stripe = 0; stripe < layout.stripes(); ++stripe) {
        ++count[layout.parity_slot(stripe)];
    }
    EXPECT_EQ(count.size(), 5U);
    EXPECT_EQ(count[0], 2);
}

TEST(RaidLayoutTest, Bands_ofAnyWrite_coverItOnce) {
    core::Prng prng(3);
    const RaidLayout layout(Level::Raid5, kChunk, std::vector<std::uint64_t>(6, 4 * kChunk));
    for (int i = 0; i < 5000; ++i) {
        const std::uint64_t blocks = layout.stripe_bytes() / kStep;
        const std::uint64_t begin = prng.below(blocks);
        const std::uint64_t end = begin + 1 + prng.below(blocks - begin);
        std::map<std::uint64_t, int> touched;
        int bands = 0;
        for (std::uint32_t row = 0;; ++bands) {
            const auto band = layout.find_band(begin * kStep, end * kStep, row);
            if (band.row_bytes == 0) {
                break;
            }
            EXPECT_GE(band.row_begin, row);
            for (std::uint32_t chunk = 0; chunk < band.chunk_count; ++chunk) {
                for (std::uint32_t at = 0; at < band.row_bytes; at += kStep) {
                    ++touched[((band.first_chunk + chunk) * kChunk + band.row_begin + at) / kStep];
                }
            }
            row = band.row_begin + band.row_bytes;
        }
        EXPECT_LE(bands, 3);
        EXPECT_EQ(touched.size(), end - begin);
        for (std::uint64_t block = begin; block < end; ++block) {
            EXPECT_EQ(touched[block], 1);
        }
    }
}

}  // namespace
}  // namespace remora::services::raid
