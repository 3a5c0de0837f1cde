// SPDX-License-Identifier: Apache-2.0
// The small parts that all reactors share: locks, the log's ring, write intent; and parity.
#include <array>
#include <map>
#include <memory>
#include <vector>

#include <gtest/gtest.h>

#include "core/parity.h"
#include "core/prng.h"
#include "services/raid/intent.h"
#include "services/raid/look_again.h"
#include "services/raid/parity_log.h"
#include "services/raid/range_locks.h"

namespace remora::services::raid {
namespace {

TEST(LookAgainTest, Next_nothingGetsOn_looksEverMoreSeldom) {
    using namespace std::chrono_literals;
    LookAgain look;
    EXPECT_EQ(look.next(), LookAgain::kFirst);
    int looks = 0;
    for (core::Nanos waited{}; waited < 1s; waited += look.next()) {
        ++looks;
    }
    EXPECT_LT(looks, 1010) << "a member that does not answer must not cost a core";
    look.reset();
    EXPECT_EQ(look.next(), LookAgain::kFirst);
    EXPECT_EQ(look.next(), 2 * LookAgain::kFirst);
}

TEST(RangeLocksTest, Of_rangesOfOnePlace_overlapWhereTheyShareARow) {
    const auto lock = [](std::uint64_t begin, std::uint64_t bytes) {
        return RangeLocks::of(9, begin, bytes);
    };
    EXPECT_TRUE(lock(0, 512).overlaps(lock(3584, 512)));
    EXPECT_FALSE(lock(0, 4096).overlaps(lock(4096, 4096)));
    EXPECT_TRUE(lock(0, 4097).overlaps(lock(4096, 1)));
    EXPECT_EQ(lock(0, RangeLocks::kSpanBytes).mask, ~0ULL);
    EXPECT_EQ(lock(RangeLocks::kSpanBytes - 1, 1).mask, 1ULL << 63U);
}

TEST(RangeLocksTest, TryAcquire_anyOverlap_takesNothing) {
    auto locks = std::make_unique<RangeLocks>();
    const auto first = RangeLocks::of(1, 4096, 8192);
    const auto wide = RangeLocks::of(1, 0, 8192);
    const auto free = RangeLocks::of(1, 0, 4096);
    EXPECT_TRUE(locks->try_acquire(first));
    EXPECT_FALSE(locks->try_acquire(wide));
    EXPECT_TRUE(locks->try_acquire(free)) << "the refused one has left its first row alone";
    locks->release(first);
    EXPECT_FALSE(locks->try_acquire(wide));
    locks->release(free);
    EXPECT_TRUE(locks->try_acquire(wide));
    locks->release(wide);
}

// The proof in parity_log.h, tried: whatever order entries end in, and whichever of those begun
// have reached the medium, a replay finds every one that is not settled, and all that came after.
TEST(LogRingTest, Crash_atAnyMoment_replayFindsAllThatIsNotSettled) {
    core::Prng prng(8);
    for (int run = 0; run < 300; ++run) {
        LogRing ring;
        std::array<std::uint64_t, LogRing::kSlots> medium{};  // sequence + 1
        std::map<std::uint64_t, bool> durable;                // entries begun, and not finished
        std::uint64_t newest = 0;
        std::uint64_t tail = 0;
        for (int step = 0; step < 600; ++step) {
            std::uint64_t sequence = 0;
            const std::uint64_t what = prng.below(5);
            if (what < 2 && ring.begin(sequence)) {
                medium[sequence % LogRing::kSlots] = 0;  // torn, until it is durable
                durable[sequence] = false;
            } else if (what == 2 && !durable.empty()) {
                auto at = std::next(durable.begin(),
                                    static_cast<std::ptrdiff_t>(prng.below(durable.size())));
                at->second = true;
                medium[at->first % LogRing::kSlots] = at->first + 1;
                newest = std::max(newest, at->first + 1);
            } else if (what == 3 && !durable.empty()) {
                auto at = std::next(durable.begin(),
                                    static_cast<std::ptrdiff_t>(prng.below(durable.size())));
                if (at->second) {
                    ring.finish(at->first);
                    durable.erase(at);
                }
            } else if (what == 4) {
                tail = ring.finished();
                ring.settle(tail);
            }
            const std::uint64_t lowest = newest > LogRing::kWindow ? newest - LogRing::kWindow : 0;
            for (std::uint64_t at = tail; at < newest; ++at) {
                const auto entry = durable.find(at);
                const bool written = entry == durable.end() || entry->second;
                ASSERT_TRUE(!written || (at >= lowest && medium[at % LogRing::kSlots] == at + 1))
                    << at << " is not settled and not found";
            }
            for (std::uint64_t at = lowest; at < newest; ++at) {
                const auto entry = durable.find(at);
                const bool written = entry == durable.end() || entry->second;
                ASSERT_TRUE(!written || medium[at % LogRing::kSlots] == at + 1)
                    << at << " is overwritten while one before it would be replayed";
            }
        }
    }
}

TEST(LogRingTest, Begin_fullWindow_waitsForTheOldest) {
    LogRing ring;
    std::uint64_t sequence = 0;
    for (std::uint64_t i = 0; i < LogRing::kWindow; ++i) {
        ASSERT_TRUE(ring.begin(sequence));
    }
    EXPECT_FALSE(ring.begin(sequence));
    ring.finish(1);
    ring.settle(ring.finished());
    EXPECT_FALSE(ring.begin(sequence)) << "the oldest is not finished";
    ring.finish(0);
    ring.settle(ring.finished());
    EXPECT_EQ(ring.open(), LogRing::kWindow - 2);
    EXPECT_TRUE(ring.begin(sequence));
    EXPECT_EQ(sequence, LogRing::kWindow);
}

TEST(WriteIntentTest, Mark_isTakenAwayOnlyWhenIdleForARound) {
    WriteIntent intent(2);
    intent.enter(0);
    EXPECT_FALSE(intent.is_marked(0));
    EXPECT_TRUE(intent.ask(0));
    EXPECT_FALSE(intent.ask(0)) << "asked already";
    intent.mark(0);
    EXPECT_TRUE(intent.is_marked(0));
    EXPECT_FALSE(intent.unmark_if_idle(0)) << "a write is under way";
    intent.enter(0);
    intent.leave(0);
    intent.leave(0);
    EXPECT_FALSE(intent.unmark_if_idle(0)) << "it was used since";
    EXPECT_TRUE(intent.unmark_if_idle(0));
    EXPECT_FALSE(intent.is_marked(0));
    EXPECT_FALSE(intent.is_marked(1));
}

TEST(WriteIntentTest, Unsynced_regionKeepsItsMark) {
    WriteIntent intent(1);
    intent.set_unsynced(0);
    EXPECT_TRUE(intent.is_marked(0));
    EXPECT_FALSE(intent.unmark_if_idle(0));
    EXPECT_FALSE(intent.unmark_if_idle(0));
    intent.set_synced(0);
    EXPECT_TRUE(intent.unmark_if_idle(0));
}

TEST(ParityTest, XorOf_anyCountAndLength_isByteByByte) {
    core::Prng prng(2);
    for (std::size_t count = 2; count <= core::kMaxParitySources; ++count) {
        for (const std::size_t bytes : {512U, 4096U, 12288U}) {
            std::vector<const std::byte*> sources;
            alignas(4096) static std::array<std::array<std::byte, 12288>, 33> room;
            for (std::size_t i = 0; i < count; ++i) {
                for (std::size_t at = 0; at < bytes; ++at) {
                    room[i][at] = static_cast<std::byte>(prng.next());
                }
                sources.push_back(room[i].data());
            }
            core::xor_of(sources, room[32].data(), bytes);
            for (std::size_t at = 0; at < bytes; ++at) {
                std::byte expected{0};
                for (std::size_t i = 0; i < count; ++i) {
                    expected ^= room[i][at];
                }
                ASSERT_EQ(room[32][at], expected);
            }
        }
    }
}

}  // namespace
}  // namespace remora::services::raid
