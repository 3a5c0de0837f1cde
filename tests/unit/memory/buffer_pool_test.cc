// SPDX-License-Identifier: Apache-2.0
#include "memory/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/prng.h"

namespace remora::memory {
namespace {

using Buffer = std::span<std::byte>;
constexpr std::size_t kMiB = BufferPool::kMaxBytes;

std::unique_ptr<BufferPool> make_pool(std::size_t bytes) {
    auto pool = BufferPool::create(bytes);
    EXPECT_TRUE(pool);
    return std::move(*pool);
}

std::size_t class_of(std::size_t bytes) {
    return std::max(std::bit_ceil(bytes), BufferPool::kMinBytes);
}

bool aligned(const Buffer& buffer, std::size_t alignment) {
    return reinterpret_cast<std::uintptr_t>(buffer.data()) % alignment == 0;
}

/// Everything the pool has, in buffers of one size.
std::vector<Buffer> take_all(BufferPool& pool, std::size_t bytes) {
    std::vector<Buffer> out;
    for (Buffer buffer = pool.allocate(bytes); !buffer.empty(); buffer = pool.allocate(bytes)) {
        out.push_back(buffer);
    }
    return out;
}

void give_back(BufferPool& pool, const std::vector<Buffer>& buffers) {
    for (const Buffer buffer : buffers) {
        pool.release(buffer);
    }
}

TEST(BufferPool, Create_roundsDownToWholeMiBButNeverToNone) {
    EXPECT_EQ(make_pool(1)->capacity(), kMiB);
    EXPECT_EQ(make_pool(kMiB)->capacity(), kMiB);
    EXPECT_EQ(make_pool(3 * kMiB - 1)->capacity(), 2 * kMiB);
}

TEST(BufferPool, Allocate_givesTheLengthAskedForAndCountsTheClass) {
    const auto pool = make_pool(kMiB);
    const Buffer buffer = pool->allocate(5000);
    EXPECT_EQ(buffer.size(), 5000U);
    EXPECT_EQ(pool->in_use(), 8192U);
    pool->release(buffer);
    EXPECT_EQ(pool->in_use(), 0U);
}

TEST(BufferPool, Allocate_largestOfEmptyPool_givesAllOfIt) {
    const auto pool = make_pool(kMiB);
    const Buffer whole = pool->allocate(kMiB);
    ASSERT_EQ(whole.size(), kMiB);
    EXPECT_TRUE(pool->allocate(1).empty());
    pool->release(whole);
}

TEST(BufferPool, Release_thenAllocateSameClass_givesTheSameBuffer) {
    const auto pool = make_pool(kMiB);
    const Buffer first = pool->allocate(4096);
    pool->release(first);
    const Buffer second = pool->allocate(4000);
    EXPECT_EQ(second.data(), first.data());
    pool->release(second);
}

/// Each class: the arena is used up to the last byte, aligned, and comes back whole.
class BufferPoolClass : public testing::TestWithParam<std::size_t> {};

TEST_P(BufferPoolClass, Exhaustion_usesEveryByteThenGivesEmpty) {
    const auto pool = make_pool(2 * kMiB);
    const std::size_t bytes = GetParam();

    std::vector<Buffer> taken = take_all(*pool, bytes);

    EXPECT_EQ(taken.size(), 2 * kMiB / class_of(bytes));
    EXPECT_EQ(pool->in_use(), 2 * kMiB);
    EXPECT_TRUE(std::ranges::all_of(taken, [&](Buffer b) { return aligned(b, class_of(bytes)); }));
    std::ranges::sort(taken, {}, [](const Buffer& b) { return b.data(); });
    for (std::size_t i = 1; i < taken.size(); ++i) {
        ASSERT_GE(taken[i].data() - taken[i - 1].data(),
                  static_cast<std::ptrdiff_t>(class_of(bytes)));
    }
    give_back(*pool, taken);
}

TEST_P(BufferPoolClass, ReleasedInAnyOrder_mergesBackToWholeMiB) {
    const auto pool = make_pool(2 * kMiB);
    core::Prng prng(GetParam());
    for (int order = 0; order < 4; ++order) {
        std::vector<Buffer> taken = take_all(*pool, GetParam());
        if (order == 1) {
            std::ranges::reverse(taken);
        } else if (order == 2) {
            std::ranges::partition(taken, [&](const Buffer& b) {
                return std::bit_cast<std::uintptr_t>(b.data()) / class_of(GetParam()) % 2 == 0;
            });
        } else if (order == 3) {
            for (std::size_t i = taken.size(); i > 1; --i) {
                std::swap(taken[i - 1], taken[prng.below(i)]);
            }
        }
        give_back(*pool, taken);

        const std::vector<Buffer> whole = take_all(*pool, kMiB);
        EXPECT_EQ(whole.size(), 2U) << "order " << order;
        give_back(*pool, whole);
    }
}

INSTANTIATE_TEST_SUITE_P(
    Sizes,
    BufferPoolClass,
    testing::Values(
        1, 4096, 4097, 8192, 16384, 20000, 65536, 131072, 200'000, 524'288, 524'289, 1'048'576));

/// The pool beside a model that knows which bytes are out.
class PoolModel {
  public:
    PoolModel(BufferPool& pool, std::uint64_t seed) : pool_(pool), prng_(seed) {}
    PoolModel(const PoolModel&) = delete;
    PoolModel& operator=(const PoolModel&) = delete;
    ~PoolModel() { release_all(); }

    void step() {
        if (out_.empty() || prng_.below(100) < 55) {
            allocate();
        } else {
            release(prng_.below(out_.size()));
        }
        EXPECT_EQ(pool_.in_use(), used_);
    }

    void release_all() {
        while (!out_.empty()) {
            release(out_.size() - 1);
        }
    }

    [[nodiscard]] int refused() const { return refused_; }

  private:
    struct Out {
        Buffer buffer;
        std::byte mark;
    };

    void allocate() {
        const std::size_t bytes = 1 + prng_.below(kMiB >> prng_.below(9));
        const Buffer buffer = pool_.allocate(bytes);
        if (buffer.empty()) {
            ++refused_;
            return;
        }
        EXPECT_EQ(buffer.size(), bytes);
        EXPECT_TRUE(aligned(buffer, class_of(bytes)));
        // Marks at both ends of the class: an overlap would write over another's.
        const auto mark = static_cast<std::byte>(prng_.next() & 0xffU);
        std::memset(buffer.data(), static_cast<int>(mark), bytes);
        out_.push_back({buffer, mark});
        used_ += class_of(bytes);
    }

    void release(std::size_t index) {
        const Out out = out_[index];
        out_[index] = out_.back();
        out_.pop_back();
        const bool intact =
            std::ranges::all_of(out.buffer, [&](std::byte byte) { return byte == out.mark; });
        EXPECT_TRUE(intact);
        pool_.release(out.buffer);
        used_ -= class_of(out.buffer.size());
    }

    BufferPool& pool_;
    core::Prng prng_;
    std::vector<Out> out_;
    std::size_t used_ = 0;
    int refused_ = 0;
};

class BufferPoolRandom : public testing::TestWithParam<std::uint64_t> {};

TEST_P(BufferPoolRandom, Steps_neverOverlapAndAllComesBack) {
    const auto pool = make_pool(4 * kMiB);
    PoolModel model(*pool, GetParam());
    for (int i = 0; i < 1500 && !HasFailure(); ++i) {
        model.step();
    }
    EXPECT_GT(model.refused(), 0);  // or the test never saw an empty pool

    model.release_all();

    EXPECT_EQ(pool->in_use(), 0U);
    const std::vector<Buffer> whole = take_all(*pool, kMiB);
    EXPECT_EQ(whole.size(), 4U);
    give_back(*pool, whole);
}

INSTANTIATE_TEST_SUITE_P(Seeds, BufferPoolRandom, testing::Range<std::uint64_t>(1, 9));

// Every way to take and give back four buffers of every mix of classes, on the smallest arena.
TEST(BufferPool, FourBuffers_everyMixAndEveryOrder_comesBackWhole) {
    constexpr std::size_t kSizes[] = {4096, 65536, 262'144, 524'288};
    for (unsigned mix = 0; mix < 256; ++mix) {
        std::vector<std::size_t> order{0, 1, 2, 3};
        do {
            const auto pool = make_pool(kMiB);
            std::vector<Buffer> out;
            for (unsigned i = 0; i < 4; ++i) {
                out.push_back(pool->allocate(kSizes[(mix >> (2 * i)) & 3U]));
            }
            for (const std::size_t index : order) {
                if (!out[index].empty()) {
                    pool->release(out[index]);
                }
            }
            const Buffer whole = pool->allocate(kMiB);
            ASSERT_EQ(whole.size(), kMiB) << "mix " << mix;
            pool->release(whole);
        } while (mix % 16 == 0 && std::next_permutation(order.begin(), order.end()));
    }
}

TEST(BufferPool, OneSmallBufferOut_theOtherHalfIsWhole) {
    const auto pool = make_pool(kMiB);
    const Buffer small = pool->allocate(1);
    const Buffer half = pool->allocate(kMiB / 2);
    EXPECT_EQ(half.size(), kMiB / 2);
    EXPECT_TRUE(pool->allocate(kMiB / 2).empty());
    pool->release(small);
    pool->release(half);
}

TEST(BufferPoolDeathTest, Allocate_nothingOrTooMuch_dies) {
    const auto pool = make_pool(kMiB);
    EXPECT_DEATH(static_cast<void>(pool->allocate(0)), "CHECK failed");
    EXPECT_DEATH(static_cast<void>(pool->allocate(kMiB + 1)), "CHECK failed");
}

TEST(BufferPoolDeathTest, Destroy_withABufferOut_dies) {
    EXPECT_DEATH(
        {
            const auto pool = make_pool(kMiB);
            static_cast<void>(pool->allocate(1));
        },
        "CHECK failed");
}

TEST(BufferPoolDeathTest, Release_ofForeignMemory_dies) {
    const auto pool = make_pool(kMiB);
    const Buffer ours = pool->allocate(4096);
    alignas(4096) static std::array<std::byte, 4096> foreign;
    EXPECT_DEATH(pool->release(foreign), "CHECK failed");
    EXPECT_DEATH(pool->release(Buffer(ours.data() + 1, 4096)), "CHECK failed");
    pool->release(ours);
}

}  // namespace
}  // namespace remora::memory
