// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_format.h"

#include <cstring>

#include <gtest/gtest.h>

#include "core/crc32c.h"
#include "core/prng.h"

namespace remora::services::raid {
namespace {

Superblock sample() {
    core::Prng prng(1);
    Superblock out;
    out.array = core::Uuid::random(prng);
    out.member = core::Uuid::random(prng);
    out.level = Level::Raid5;
    out.chunk_bytes = 65536;
    out.block_size = 512;
    out.generation = 77;
    out.log_epoch = 3;
    out.rebuilt_bytes = 4 * 65536;
    out.synced_bytes = 8 * 65536;
    for (int i = 0; i < 4; ++i) {
        out.slots.push_back({.name = "disk" + std::to_string(i),
                             .current = core::Uuid::random(prng),
                             .incoming = {},
                             .incoming_name = {},
                             .data_bytes = 64 * 65536});
    }
    out.slots[2].current = {};
    out.slots[2].incoming = core::Uuid::random(prng);
    out.slots[2].incoming_name = "spare";
    return out;
}

MetaBlock encoded(const Superblock& superblock) {
    MetaBlock block;
    encode(superblock, block);
    return block;
}

TEST(RaidFormatTest, Superblock_encoded_decodesToItself) {
    const auto decoded = decode_superblock(encoded(sample()));
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(*decoded, sample());
}

TEST(RaidFormatTest, Superblock_zerosOrOtherLength_isNone) {
    EXPECT_EQ(decode_superblock(MetaBlock{}).error().kind, core::ErrorKind::NotFound);
    const MetaBlock block = encoded(sample());
    for (std::size_t length = 0; length < block.size(); ++length) {
        EXPECT_FALSE(decode_superblock(std::span(block).first(length))) << length;
    }
}

TEST(RaidFormatTest, Superblock_anyBitFlipped_isRefused) {
    MetaBlock block = encoded(sample());
    for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
        const auto flip = static_cast<std::byte>(1U << (bit % 8));
        block[bit / 8] ^= flip;
        EXPECT_FALSE(decode_superblock(block)) << bit;
        block[bit / 8] ^= flip;
    }
}

TEST(RaidFormatTest, Superblock_hostileFieldsWithARightChecksum_keepsItsPromisesOrFails) {
    core::Prng prng(5);
    int accepted = 0;
    for (int i = 0; i < 20'000; ++i) {
        MetaBlock block = encoded(sample());
        for (std::uint64_t n = 1 + prng.below(4); n > 0; --n) {
            const std::size_t at = 16 + prng.below(prng.below(2) == 0 ? 88 : 400);
            block[at] = static_cast<std::byte>(prng.next());
        }
        std::memset(block.data() + 12, 0, 4);
        const std::uint32_t crc = core::crc32c(block);
        std::memcpy(block.data() + 12, &crc, 4);
        const auto decoded = decode_superblock(block);
        if (!decoded) {
            continue;
        }
        ++accepted;
        EXPECT_TRUE(check_member_count(decoded->level, decoded->slots.size()));
        EXPECT_TRUE(check_chunk(decoded->level, decoded->chunk_bytes));
        EXPECT_LE(decoded->rebuilt_bytes, decoded->slots[0].data_bytes);
        EXPECT_LE(decoded->synced_bytes, decoded->slots[0].data_bytes);
        for (const SlotRecord& slot : decoded->slots) {
            EXPECT_GT(slot.data_bytes, 0U);
            EXPECT_LE(slot.name.size(), SlotRecord::kMaxName);
        }
    }
    EXPECT_GT(accepted, 0);
    EXPECT_LT(accepted, 20'000);
}

TEST(RaidFormatTest, Superblock_laterVersion_saysSo) {
    MetaBlock block = encoded(sample());
    block[8] = std::byte{2};
    EXPECT_EQ(decode_superblock(block).error().kind, core::ErrorKind::Unimplemented);
}

TEST(RaidFormatTest, MemberCount_table) {
    const auto good = [](Level level, std::size_t count) {
        return check_member_count(level, count).has_value();
    };
    for (const Level level : {Level::Concat, Level::Raid0}) {
        EXPECT_FALSE(good(level, 0));
        EXPECT_TRUE(good(level, 1));
        EXPECT_TRUE(good(level, 16));
        EXPECT_FALSE(good(level, 17));
    }
    EXPECT_FALSE(good(Level::Raid1, 1));
    EXPECT_TRUE(good(Level::Raid1, 2));
    EXPECT_FALSE(good(Level::Raid5, 2));
    EXPECT_TRUE(good(Level::Raid5, 3));
    EXPECT_FALSE(good(Level::Raid10, 2));
    EXPECT_FALSE(good(Level::Raid10, 5));
    EXPECT_TRUE(good(Level::Raid10, 6));
}

TEST(RaidFormatTest, Bitmap_roundTripAndEveryFlip) {
    Bitmap bitmap{.array = sample().array, .region_bytes = 1 << 18, .marked = {}};
    bitmap.marked.resize(Bitmap::kMaxRegions);
    for (std::size_t i = 0; i < bitmap.marked.size(); i += 7) {
        bitmap.marked[i] = true;
    }
    MetaBlock block;
    encode(bitmap, block);
    const auto read = [&](std::size_t regions) {
        return decode_bitmap(block, bitmap.array, bitmap.region_bytes, regions);
    };
    const auto decoded = read(Bitmap::kMaxRegions);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->marked, bitmap.marked);
    EXPECT_FALSE(read(100));
    EXPECT_FALSE(decode_bitmap(block, {}, bitmap.region_bytes, Bitmap::kMaxRegions));
    for (std::size_t bit = 0; bit < block.size() * 8; ++bit) {
        const auto flip = static_cast<std::byte>(1U << (bit % 8));
        block[bit / 8] ^= flip;
        EXPECT_FALSE(read(Bitmap::kMaxRegions)) << bit;
        block[bit / 8] ^= flip;
    }
}

TEST(RaidFormatTest, LogEntry_roundTripAndEveryFlipAndTruncation) {
    const LogEntry entry{.array = sample().array,
                         .epoch = 9,
                         .sequence = 41,
                         .stripe = 7,
                         .row_begin = 512,
                         .row_bytes = 1024,
                         .first_chunk = 1,
                         .chunk_count = 2};
    std::vector<std::byte> slot(kMetaBytes + entry.payload_bytes(), std::byte{0x5a});
    encode(entry, slot);
    const auto read = [&](std::span<const std::byte> bytes) {
        return decode_log_entry(bytes, entry.array, 9, 65536, 3);
    };
    const auto decoded = read(slot);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(decoded->sequence, 41U);
    EXPECT_EQ(decoded->payload_bytes(), 3072U);
    EXPECT_FALSE(decode_log_entry(slot, entry.array, 10, 65536, 3)) << "another epoch";
    EXPECT_FALSE(decode_log_entry(slot, {}, 9, 65536, 3)) << "another array";
    EXPECT_FALSE(decode_log_entry(slot, entry.array, 9, 1024, 3)) << "rows past the chunk";
    EXPECT_FALSE(decode_log_entry(slot, entry.array, 9, 65536, 2)) << "chunks past the stripe";
    for (std::size_t length = 0; length < slot.size(); length += 64) {
        EXPECT_FALSE(read(std::span(slot).first(length))) << length;
    }
    for (std::size_t at = 0; at < slot.size(); at = at == 71 ? kMetaBytes : at + 1) {
        slot[at] ^= std::byte{0x10};
        const auto flipped = read(slot);
        EXPECT_TRUE(!flipped || (at >= 68 && at < 72)) << at;
        slot[at] ^= std::byte{0x10};
    }
}

}  // namespace
}  // namespace remora::services::raid
