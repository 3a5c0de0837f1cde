// SPDX-License-Identifier: Apache-2.0
#include "memory/guest_memory.h"

#include <array>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

namespace remora::memory {
namespace {

constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();

/// Three regions: [0x1000, 0x2000) and [0x2000, 0x2800) touch, [0x8000, 0x9000) stands alone.
/// Behind them, memory of the test whose bytes are numbered.
class GuestMemoryTest : public testing::Test {
  public:
    GuestMemoryTest() {
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            bytes[i] = static_cast<std::byte>(i * 7 + i / 256);
        }
        // Given out of order; the table sorts.
        EXPECT_TRUE(memory.set_regions(std::array{alone, low, touching}));
    }

    [[nodiscard]] std::span<std::byte> part(std::size_t offset, std::size_t size) {
        return std::span(bytes).subspan(offset, size);
    }

    std::vector<std::byte> bytes = std::vector<std::byte>(0x4000);
    GuestMemory::Region low{0x1000, 0x7f0000001000, part(0, 0x1000)};
    // Not behind `low` in our memory, though it is in the guest's.
    GuestMemory::Region touching{0x2000, 0x7f0000010000, part(0x3000, 0x800)};
    GuestMemory::Region alone{0x8000, 0x7f0000020000, part(0x1000, 0x1000)};
    GuestMemory memory;
};

bool same(std::span<const std::byte> a, std::span<const std::byte> b) {
    return a.data() == b.data() && a.size() == b.size();
}

TEST_F(GuestMemoryTest, SetRegions_anyOrder_areSortedByGuestAddress) {
    ASSERT_EQ(memory.regions().size(), 3U);
    EXPECT_EQ(memory.regions()[0].guest_address, 0x1000U);
    EXPECT_EQ(memory.regions()[1].guest_address, 0x2000U);
    EXPECT_EQ(memory.regions()[2].guest_address, 0x8000U);
}

TEST_F(GuestMemoryTest, RunAt_inOneRegion_givesTheBytes) {
    EXPECT_TRUE(same(memory.run_at(0x1010, 16), part(0x10, 16)));
    EXPECT_TRUE(same(memory.run_at(0x2000, 0x800), part(0x3000, 0x800)));
    EXPECT_TRUE(same(memory.run_at(0x8fff, 1), part(0x1fff, 1)));
}

TEST_F(GuestMemoryTest, RunAt_overTheEndOfARegion_givesTheRunUpToIt) {
    EXPECT_TRUE(same(memory.run_at(0x1ff0, 0x100), part(0xff0, 0x10)));
    EXPECT_TRUE(same(memory.run_at(0x8000, kMax), part(0x1000, 0x1000)));
}

TEST_F(GuestMemoryTest, RunAt_inAHoleOrOutside_isEmpty) {
    for (const std::uint64_t address :
         {std::uint64_t{0}, std::uint64_t{0xfff}, std::uint64_t{0x2800}, std::uint64_t{0x7fff},
          std::uint64_t{0x9000}, kMax}) {
        EXPECT_TRUE(memory.run_at(address, 1).empty()) << address;
    }
}

TEST_F(GuestMemoryTest, RunAt_afterAnotherRegionAnswered_isNotMisled) {
    EXPECT_FALSE(memory.run_at(0x8000, 1).empty());
    EXPECT_TRUE(same(memory.run_at(0x1000, 1), part(0, 1)));
    EXPECT_TRUE(memory.run_at(0x9000, 1).empty());
}

TEST_F(GuestMemoryTest, WholeAt_fitsOneRegion_orIsEmpty) {
    EXPECT_TRUE(same(memory.whole_at(0x1000, 0x1000), part(0, 0x1000)));
    EXPECT_TRUE(memory.whole_at(0x1000, 0x1001).empty());
    EXPECT_TRUE(memory.whole_at(0x1fff, 2).empty());
    EXPECT_TRUE(memory.whole_at(0x1800, kMax).empty());
    EXPECT_TRUE(memory.whole_at(0x1800, kMax - 0x1800 + 1).empty());
}

TEST_F(GuestMemoryTest, WholeAtUser_usesTheFrontEndsAddresses) {
    EXPECT_TRUE(same(memory.whole_at_user(0x7f0000001010, 8), part(0x10, 8)));
    EXPECT_TRUE(same(memory.whole_at_user(0x7f0000010000, 0x800), part(0x3000, 0x800)));
    EXPECT_TRUE(memory.whole_at_user(0x7f0000010000, 0x801).empty());
    EXPECT_TRUE(memory.whole_at_user(0x1000, 8).empty());
    EXPECT_TRUE(memory.whole_at_user(0x7f0000000fff, 8).empty());
    EXPECT_TRUE(memory.whole_at_user(0x7f0000001000, kMax).empty());
}

TEST_F(GuestMemoryTest, CopyOut_acrossTouchingRegions_takesFromBoth) {
    std::array<std::byte, 0x20> out{};
    ASSERT_TRUE(memory.copy_out(0x1ff0, out));
    EXPECT_TRUE(std::ranges::equal(std::span(out).first(0x10), part(0xff0, 0x10)));
    EXPECT_TRUE(std::ranges::equal(std::span(out).last(0x10), part(0x3000, 0x10)));
}

TEST_F(GuestMemoryTest, CopyIn_acrossTouchingRegions_writesToBoth) {
    const std::array<std::byte, 4> in{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}};
    ASSERT_TRUE(memory.copy_in(0x1ffe, in));
    EXPECT_EQ(bytes[0xffe], std::byte{1});
    EXPECT_EQ(bytes[0xfff], std::byte{2});
    EXPECT_EQ(bytes[0x3000], std::byte{3});
    EXPECT_EQ(bytes[0x3001], std::byte{4});
}

TEST_F(GuestMemoryTest, Copy_intoAHole_fails) {
    std::array<std::byte, 0x20> some{};
    EXPECT_FALSE(memory.copy_out(0x27f0, some));
    EXPECT_FALSE(memory.copy_in(0x27f0, some));
    EXPECT_FALSE(memory.copy_out(0x9000, some));
    EXPECT_TRUE(memory.copy_out(0x9000, {}));
}

TEST_F(GuestMemoryTest, Clear_forgetsEverything) {
    EXPECT_FALSE(memory.run_at(0x1000, 1).empty());
    memory.clear();
    EXPECT_TRUE(memory.regions().empty());
    EXPECT_TRUE(memory.run_at(0x1000, 1).empty());
    EXPECT_TRUE(memory.whole_at_user(0x7f0000001010, 8).empty());
}

TEST_F(GuestMemoryTest, SetRegions_replacesTheTable) {
    ASSERT_TRUE(memory.set_regions(std::array{alone}));
    EXPECT_TRUE(memory.run_at(0x1000, 1).empty());
    EXPECT_FALSE(memory.run_at(0x8000, 1).empty());
}

/// A table that must be refused, and the old one kept.
class RefusedRegions : public GuestMemoryTest {
  public:
    void refuse(std::span<const GuestMemory::Region> regions) {
        const auto result = memory.set_regions(regions);
        ASSERT_FALSE(result);
        EXPECT_EQ(result.error().kind, core::ErrorKind::InvalidArgument);
        EXPECT_EQ(memory.regions().size(), 3U);
        EXPECT_TRUE(same(memory.run_at(0x1010, 16), part(0x10, 16)));
    }
};

TEST_F(RefusedRegions, Empty_isRefused) {
    refuse(std::array{GuestMemory::Region{0x1000, 0, {}}});
}

TEST_F(RefusedRegions, Overlapping_byOneByte_isRefused) {
    refuse(std::array{low, GuestMemory::Region{0x1fff, 0x1000, part(0x2000, 0x100)}});
    refuse(std::array{GuestMemory::Region{0xfff, 0x1000, part(0x2000, 2)}, low});
}

TEST_F(RefusedRegions, Same_twice_isRefused) {
    refuse(std::array{low, low});
}

TEST_F(RefusedRegions, Wrapping_guestAddress_isRefused) {
    refuse(std::array{GuestMemory::Region{kMax - 0xfff, 0, part(0, 0x1001)}});
}

TEST_F(RefusedRegions, Wrapping_userAddress_isRefused) {
    refuse(std::array{GuestMemory::Region{0, kMax - 0xfff, part(0, 0x1001)}});
}

TEST_F(RefusedRegions, MoreThanTheLimit_isRefused) {
    std::vector<GuestMemory::Region> many;
    for (std::size_t i = 0; i < GuestMemory::kMaxRegions + 1; ++i) {
        many.push_back({i * 0x100, i * 0x100, part(i * 0x10, 0x10)});
    }
    refuse(many);
    many.pop_back();
    EXPECT_TRUE(memory.set_regions(many));
    EXPECT_EQ(memory.run_at(63 * 0x100 + 0xf, 1).size(), 1U);
}

}  // namespace
}  // namespace remora::memory
