// SPDX-License-Identifier: Apache-2.0
// The main oracle: whatever is asked for, by two reactors, in any order, overlapping, and whenever
// the disk below or the process dies, every block reads afterwards as the last version that was
// flushed, or a newer one, or one that was under way; and never does a block look damaged.
//
// It has been seen to fail without each of these, at the seed named:
//
//   1  a block is written only when its page has been          5  flushes are counted from their
//   begin 1  what may never have been written is no mismatch         5  writes wait for a page's
//   next write 1  requests to the same block wait for each other             if they came during
//   one 5  undurable blocks stay so in memory until a flush        9  pages are written with FUA 5
//   and are flushed before they are written again           9  zeroes forget what was undurable 5
//   a first mismatch is no proof: it is read again 9, 221  a block that a crash left undecided is
//   looked at before it is written: taken for the old
//           version, or for the new
//  65  a write whose page was not written is not done
//  65  what matches neither, when it is looked at, is not taken for the new version
// 101  a page with undurable blocks is not evicted
// 185  a failed write leaves either version
// 237  the page of a discard is durable before the discard
//
// Some are too rare for it, or no matter of crashes, and have tests of their own beside it: the
// salt, settling, the flush at open, the page that is written before it makes room.
#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "core/log.h"
#include "tests/unit/integrity/crash_world.h"

namespace remora::services::integrity {
namespace {

std::uint64_t number_of(const char* variable, std::uint64_t otherwise) {
    const char* text = std::getenv(variable);
    return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

void drop_line(core::log::Level /*level*/, std::string_view /*line*/) {}

class IntegrityCrashTest : public testing::Test {
  public:
    IntegrityCrashTest() { core::log::set_sink(drop_line); }
    ~IntegrityCrashTest() override { core::log::set_sink(nullptr); }
};

std::string trouble_with(std::uint64_t seed, const CrashWorld::Shape& shape) {
    CrashWorld world(seed, shape);
    world.live();
    return world.failures().empty() ? "" : world.failures().front();
}

// In parts, so that they can be run beside each other. REMORA_INTEGRITY_SEEDS: how many in all;
// REMORA_INTEGRITY_SEED: the first.
class IntegrityCrashSeedsTest : public IntegrityCrashTest,
                                public testing::WithParamInterface<std::uint64_t> {};
constexpr std::uint64_t kParts = 4;

TEST_P(IntegrityCrashSeedsTest, Crash_anyTime_everyBlockIsOneThatMayBe) {
    const std::uint64_t first = number_of("REMORA_INTEGRITY_SEED", 1);
    const std::uint64_t count = number_of("REMORA_INTEGRITY_SEEDS", 2000);
    for (std::uint64_t seed = first + GetParam(); seed < first + count; seed += kParts) {
        const std::string trouble = trouble_with(seed, CrashWorld::shape_of(seed));
        ASSERT_EQ(trouble, "") << "REMORA_INTEGRITY_SEED=" << seed;
    }
}

INSTANTIATE_TEST_SUITE_P(Parts, IntegrityCrashSeedsTest, testing::Range<std::uint64_t>(0, kParts));

// The oracle sees what it is there for.
TEST_F(IntegrityCrashTest, Crash_diskLiesAboutWhatIsDurable_isFound) {
    std::uint64_t found = 0;
    for (std::uint64_t seed = 1; seed < 100; ++seed) {
        CrashWorld::Shape shape;
        shape.drop_fua = true;
        found += trouble_with(seed, shape).empty() ? 0 : 1;
    }
    EXPECT_GT(found, 20U);
}

}  // namespace
}  // namespace remora::services::integrity
