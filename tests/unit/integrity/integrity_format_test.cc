// SPDX-License-Identifier: Apache-2.0
// The bytes of superblocks and pages: every length, every flipped bit, every stray leaf.
#include "services/integrity/integrity_format.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/byte_reader.h"
#include "core/endian.h"
#include "core/units.h"
#include "tests/support/block_client.h"

namespace remora::services::integrity {
namespace {

using core::ErrorKind;
using PageBytes = std::array<std::byte, kPageBytes>;
using Entries = std::vector<Checksums>;

Superblock example() {
    Superblock superblock;
    superblock.uuid.bytes = {0xab, 1, 2, 3};
    superblock.format = 0x1122334455667788;
    superblock.generation = 9;
    superblock.layout = {
        .block_size = 4096, .block_count = 5000, .page_count = 10, .data_start = 12};
    return superblock;
}

std::vector<std::byte> encoded(const Superblock& superblock) {
    std::vector<std::byte> bytes(kSuperblockBytes);
    encode_superblock(superblock, std::span<std::byte, kSuperblockBytes>(bytes));
    return bytes;
}

Layout layout_of(std::uint32_t block_size) {
    return *plan_layout({.block_size = block_size, .block_count = 8 * core::kMiB / block_size});
}

Entries entries_of(const Layout& layout) {
    Entries entries(layout.page_entries());
    core::Prng prng(3);
    for (Checksums& entry : entries) {
        entry = {static_cast<std::uint32_t>(prng.next()), static_cast<std::uint32_t>(prng.next())};
    }
    return entries;
}

const ChecksumSalt& salt() {
    static const ChecksumSalt made(example().uuid, 4);
    return made;
}

PageBytes page_of(const Layout& layout, std::uint64_t number, const Entries& entries) {
    PageBytes bytes;
    bytes.fill(std::byte{0xcc});
    encode_page(layout, salt(), number, entries, bytes);
    return bytes;
}

TEST(IntegrityFormatTest, Superblock_encoded_isDecoded) {
    const auto found = decode_superblock(encoded(example()));
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, example());
}

TEST(IntegrityFormatTest, Superblock_everyTruncation_isRefused) {
    std::vector<std::byte> bytes = encoded(example());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_FALSE(decode_superblock(std::span(bytes).first(size))) << size;
    }
    bytes.push_back({});
    EXPECT_FALSE(decode_superblock(bytes));
}

TEST(IntegrityFormatTest, Superblock_everyFlippedBit_isRefused) {
    std::vector<std::byte> bytes = encoded(example());
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        const auto mask = static_cast<std::byte>(1U << (bit % 8));
        bytes[bit / 8] ^= mask;
        const auto found = decode_superblock(bytes);
        ASSERT_FALSE(found) << bit;
        EXPECT_EQ(found.error().kind, bit < 64 ? ErrorKind::NotFound : ErrorKind::DataLoss) << bit;
        bytes[bit / 8] ^= mask;
    }
}

/// As somebody would write it who can compute its checksum.
void seal(std::vector<std::byte>& bytes) {
    const core::le32 sum = core::crc32c(std::span(bytes).first(kSuperblockBytes - 4));
    std::memcpy(bytes.data() + kSuperblockBytes - 4, &sum, sizeof(sum));
}

TEST(IntegrityFormatTest, Superblock_ofAnotherVersion_saysSo) {
    std::vector<std::byte> bytes = encoded(example());
    bytes[8] = std::byte{2};
    seal(bytes);
    const auto found = decode_superblock(bytes);
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, ErrorKind::FailedPrecondition);
    EXPECT_NE(found.error().message.find("version 2"), std::string::npos);
}

TEST(IntegrityFormatTest, Superblock_impossibleLayout_isRefused) {
    const auto refuses = [](auto change) {
        Superblock superblock = example();
        change(superblock.layout);
        const auto found = decode_superblock(encoded(superblock));
        return !found && found.error().kind == ErrorKind::DataLoss;
    };
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_size = 0; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_size = 513; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_size = 8192; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_count = 0; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_count = ~0ULL; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.block_count = 5101; }));  // entries for 5100
    EXPECT_TRUE(refuses([](Layout& layout) { layout.page_count = 0; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.page_count = ~0ULL; }));
    EXPECT_TRUE(refuses([](Layout& layout) { layout.data_start = 11; }));  // in the last page
    EXPECT_TRUE(refuses([](Layout& layout) { layout.data_start = ~0ULL; }));
    EXPECT_FALSE(refuses([](Layout& layout) { layout.data_start = 13; }));
}

TEST(IntegrityFormatTest, Layout_anySize_usesTheDeviceAndFitsIt) {
    for (const std::uint32_t block_size : {512U, 1024U, 2048U, 4096U}) {
        for (std::uint64_t blocks = 1; blocks < 300'000; blocks += 1 + blocks / 50) {
            const auto layout = plan_layout({.block_size = block_size, .block_count = blocks});
            if (!layout) {
                EXPECT_LE(blocks * block_size, 3U * 4096U);
                continue;
            }
            const std::uint64_t overhead = (blocks - layout->block_count) * block_size;
            EXPECT_LE(layout->data_start + layout->block_count, blocks);
            EXPECT_GE(layout->data_start, layout->page_block(layout->page_count));
            EXPECT_GE(layout->page_count * layout->page_entries(), layout->block_count);
            EXPECT_LE(overhead, (layout->page_count + 3) * kPageBytes);
            EXPECT_LE(layout->page_count, layout->block_count / layout->page_entries() + 2);
        }
    }
}

TEST(IntegrityFormatTest, Layout_deviceWithAPreference_dataIsAligned) {
    const auto layout =
        plan_layout({.block_size = 512, .block_count = 1U << 20U, .optimal_blocks = 128});
    ASSERT_TRUE(layout);
    EXPECT_EQ(layout->data_start % 128, 0U);
}

TEST(IntegrityFormatTest, Page_encoded_isDecoded) {
    for (const std::uint32_t block_size : {512U, 1024U, 2048U, 4096U}) {
        const Layout layout = layout_of(block_size);
        const Entries entries = entries_of(layout);
        Entries found(entries.size());
        EXPECT_EQ(decode_page(layout, salt(), 7, page_of(layout, 7, entries), found), 0U);
        EXPECT_EQ(found, entries);
    }
}

// Whatever bit it is, also of what is zero: its leaf is lost, and no other.
TEST(IntegrityFormatTest, Page_everyFlippedBit_losesItsLeafAlone) {
    for (const std::uint32_t block_size : {512U, 4096U}) {
        const Layout layout = layout_of(block_size);
        const Entries entries = entries_of(layout);
        PageBytes bytes = page_of(layout, 7, entries);
        Entries found(entries.size());
        for (std::size_t bit = 0; bit < kPageBytes * 8; ++bit) {
            const auto mask = static_cast<std::byte>(1U << (bit % 8));
            bytes[bit / 8] ^= mask;
            ASSERT_EQ(decode_page(layout, salt(), 7, bytes, found), 1U) << bit;
            const std::size_t leaf = bit / 8 / block_size;
            for (std::size_t i = 0; i < found.size(); ++i) {
                const bool lost = i / layout.leaf_entries() == leaf;
                ASSERT_EQ(found[i], lost ? (Checksums{kLost, kLost}) : entries[i]) << bit;
            }
            bytes[bit / 8] ^= mask;
        }
    }
}

// What a crash amid a write of 4 KiB leaves on a device with smaller blocks.
TEST(IntegrityFormatTest, Page_tornBetweenBlocks_isOldAndNewEntries) {
    const Layout layout = layout_of(512);
    const Entries old_entries(layout.page_entries());
    const Entries new_entries = entries_of(layout);
    PageBytes bytes = page_of(layout, 2, old_entries);
    const PageBytes later = page_of(layout, 2, new_entries);
    std::copy_n(later.begin() + 1024, 512, bytes.begin() + 1024);

    Entries found(layout.page_entries());
    EXPECT_EQ(decode_page(layout, salt(), 2, bytes, found), 0U);

    for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_EQ(found[i], i / layout.leaf_entries() == 2 ? new_entries[i] : old_entries[i]);
    }
}

TEST(IntegrityFormatTest, Page_ofAnotherPlaceVolumeOrFormat_isLost) {
    const Layout layout = layout_of(512);
    const Entries entries = entries_of(layout);
    const PageBytes bytes = page_of(layout, 7, entries);
    const ChecksumSalt other_volume({}, 4);
    const ChecksumSalt other_format(example().uuid, 5);
    Entries found(entries.size());
    EXPECT_EQ(decode_page(layout, salt(), 6, bytes, found), 8U);
    EXPECT_EQ(decode_page(layout, other_volume, 7, bytes, found), 8U);
    EXPECT_EQ(decode_page(layout, other_format, 7, bytes, found), 8U);
    EXPECT_EQ(decode_page(layout, salt(), 7, PageBytes{}, found), 8U);
    EXPECT_TRUE(std::ranges::all_of(
        found, [](const Checksums& entry) { return entry == Checksums{kLost, kLost}; }));
}

TEST(IntegrityFormatTest, Checksum_dependsOnPlaceVolumeAndFormat) {
    const std::vector<std::byte> block = test::pattern(512, 1);
    const std::uint32_t sum = salt().block(5, block);
    EXPECT_EQ(sum, salt().block(5, block));
    for (unsigned bit = 0; bit < 63; ++bit) {
        EXPECT_NE(sum, salt().block(5 ^ (std::uint64_t{1} << bit), block)) << bit;
    }
    EXPECT_NE(sum, ChecksumSalt({}, 4).block(5, block));
    EXPECT_NE(sum, ChecksumSalt(example().uuid, 5).block(5, block));
    EXPECT_NE(sum, salt().leaf(5, block));
}

TEST(IntegrityFormatTest, Checksum_neverIsOneOfTheValuesThatAreNone) {
    // Bytes whose CRC32C is 0 and 1: four bytes can make it anything.
    const ChecksumSalt& any = salt();
    const core::Crc32c begun = any.begin_block(0);
    std::vector<std::uint32_t> found;
    for (const std::uint32_t wanted : {0U, 1U}) {
        // The CRC is linear in the last four bytes: solve for them bit by bit (Gauss over GF(2)).
        const auto sum_with = [&begun](std::uint32_t word) {
            core::Crc32c crc = begun;
            crc.update(core::as_bytes_of(core::le32(word)));
            return crc.value();
        };
        std::array<std::uint64_t, 32> rows{};
        for (unsigned bit = 0; bit < 32; ++bit) {
            rows[bit] = (std::uint64_t{sum_with(1U << bit) ^ sum_with(0)} << 32U) | (1U << bit);
        }
        std::uint64_t target = std::uint64_t{sum_with(0) ^ wanted} << 32U;
        for (unsigned bit = 63; bit >= 32; --bit) {
            const auto pivot =
                std::ranges::find_if(rows, [bit](std::uint64_t row) { return row >> bit == 1; });
            ASSERT_NE(pivot, rows.end());
            const std::uint64_t row = *pivot;
            for (std::uint64_t& other : rows) {
                other ^= ((other >> bit) & 1U) != 0 ? row : 0;
            }
            target ^= ((target >> bit) & 1U) != 0 ? row : 0;
        }
        const auto word = static_cast<std::uint32_t>(target);
        ASSERT_EQ(sum_with(word), wanted);
        found.push_back(any.block(0, core::as_bytes_of(core::le32(word))));
    }
    EXPECT_EQ(found, (std::vector<std::uint32_t>{2, 3}));
}

}  // namespace
}  // namespace remora::services::integrity
