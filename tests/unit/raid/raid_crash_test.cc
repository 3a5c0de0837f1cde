// SPDX-License-Identifier: Apache-2.0
// Overlapping I/O, members that fail, rebuilds and power cuts, as a seed has it; then every block
// is compared with what it may be. REMORA_RAID_SEEDS=n runs so many seeds per level, and
// REMORA_RAID_SEED=n only that one, with its log.
//
// What it finds, tried by hand: each of these steps left out makes a seed fail, at the latest by
// the number behind it, of the level that it is about.
//
//   the log entry before data and parity                   1
//   a mark before the first write of a region              2
//   the end of the log's epoch after a replay              3
//   the lock of a write's rows                             3
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/raid/crash_run.h"

namespace remora::services::raid {
namespace {

std::uint64_t number(const char* name, std::uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class RaidCrashTest : public testing::TestWithParam<Shape> {};

TEST_P(RaidCrashTest, PowerCutsAndFailures_loseNothing) {
    const std::uint64_t only = number("REMORA_RAID_SEED", 0);
    const std::uint64_t seeds = only != 0 ? 1 : number("REMORA_RAID_SEEDS", 300);
    for (std::uint64_t i = 0; i < seeds && !HasFailure(); ++i) {
        const std::uint64_t seed = only != 0 ? only : i + 1;
        SCOPED_TRACE("REMORA_RAID_SEED=" + std::to_string(seed));
        CrashRun run(GetParam(), seed);
        run.play();
    }
}

INSTANTIATE_TEST_SUITE_P(Levels,
                         RaidCrashTest,
                         testing::Values(Shape{Level::Concat, 2},
                                         Shape{Level::Raid0, 3},
                                         Shape{Level::Raid1, 2},
                                         Shape{Level::Raid1, 3},
                                         Shape{Level::Raid5, 3},
                                         Shape{Level::Raid5, 4, 4096},
                                         Shape{Level::Raid5, 5, 16384},
                                         Shape{Level::Raid10, 4}),
                         [](const auto& info) {
                             return std::string(to_string(info.param.level)) + "of" +
                                    std::to_string(info.param.members);
                         });

}  // namespace
}  // namespace remora::services::raid
