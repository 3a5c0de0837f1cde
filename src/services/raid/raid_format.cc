// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_format.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/crc32c.h"
#include "core/endian.h"

namespace remora::services::raid {

namespace {

using core::ErrorKind;
using core::le;
using core::le32;
using core::le64;
using WireUuid = std::array<unsigned char, 16>;

constexpr std::uint64_t kSuperMagic = 0x3144494152'524d52ULL;   // "RMRRAID1"
constexpr std::uint64_t kBitmapMagic = 0x3150414d42'524d52ULL;  // "RMRBMAP1"
constexpr std::uint64_t kLogMagic = 0x31474f4c52'524d52ULL;     // "RMRRLOG1"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint64_t kMaxBytes = 1ULL << 62U;

struct SlotWire {
    WireUuid current{};
    WireUuid incoming{};
    le64 data_bytes;
    std::array<char, SlotRecord::kMaxName + 1> name{};  // ends with a zero
    std::array<char, SlotRecord::kMaxName + 1> incoming_name{};
};
static_assert(sizeof(SlotWire) == 168 && alignof(SlotWire) == 1);

struct SuperWire {
    le64 magic;
    le32 version;
    le32 crc;  // of all the block, with this as zero
    WireUuid array{};
    WireUuid member{};
    le64 generation;
    le64 log_epoch;
    le64 rebuilt_bytes;
    le64 synced_bytes;
    le64 data_offset;
    le32 chunk_bytes;
    le32 block_size;
    le<std::uint8_t> level;
    le<std::uint8_t> slot_count;
    le<std::uint8_t> spare;
    std::array<unsigned char, 5> reserved{};
    std::array<SlotWire, kMaxMembers> slots{};
};
static_assert(sizeof(SuperWire) <= kMetaBytes && alignof(SuperWire) == 1);
static_assert(offsetof(SuperWire, crc) == 12 && offsetof(SuperWire, slots) == 104);

struct BitmapWire {
    le64 magic;
    le32 crc;
    le32 regions;
    WireUuid array{};
    le64 region_bytes;
};
static_assert(sizeof(BitmapWire) == Bitmap::kHeaderBytes && offsetof(BitmapWire, crc) == 8);

struct LogWire {
    le64 magic;
    le32 crc;  // of this with it as zero, and the payload
    le32 row_begin;
    WireUuid array{};
    le64 epoch;
    le64 sequence;
    le64 stripe;
    le32 row_bytes;
    le32 first_chunk;
    le32 chunk_count;
    le32 reserved;
};
static_assert(sizeof(LogWire) == 72 && alignof(LogWire) == 1);

template <std::size_t N>
void put_name(std::array<char, N>& to, const std::string& name) {
    std::memcpy(to.data(), name.data(), std::min(name.size(), N - 1));
}

template <std::size_t N>
std::string get_name(const std::array<char, N>& from) {
    return {from.data(), static_cast<std::size_t>(std::ranges::find(from, '\0') - from.begin())};
}

template <typename Wire>
std::uint32_t crc_of(Wire wire, std::span<const std::byte> rest) {
    wire.crc = 0;
    core::Crc32c crc;
    crc.update(core::as_bytes_of(wire));
    crc.update(rest);
    return crc.value();
}

std::unexpected<core::Error> damaged(const std::string& what) {
    return core::fail(ErrorKind::DataLoss, "the superblock is damaged: " + what);
}

core::Result<void> check_shape(const Superblock& superblock, const SuperWire& wire) {
    if (auto right = check_member_count(superblock.level, wire.slot_count); !right) {
        return damaged(right.error().message);
    }
    if (auto right = check_chunk(superblock.level, superblock.chunk_bytes); !right) {
        return damaged(right.error().message);
    }
    const std::uint32_t block = superblock.block_size;
    if (!std::has_single_bit(block) || block < 512 || block > 4096) {
        return damaged("its block size is " + std::to_string(block));
    }
    if (wire.data_offset != data_offset_of(superblock.level)) {
        return damaged("its data begins at " + std::to_string(wire.data_offset.get()));
    }
    const SlotRecord& first = superblock.slots.front();
    std::size_t incoming = 0;
    for (const SlotRecord& slot : superblock.slots) {
        const std::uint64_t unit =
            has_chunks(superblock.level) ? superblock.chunk_bytes : superblock.block_size;
        if (slot.data_bytes == 0 || slot.data_bytes > kMaxBytes / kMaxMembers ||
            slot.data_bytes % unit != 0 ||
            (superblock.level != Level::Concat && slot.data_bytes != first.data_bytes)) {
            return damaged("a member of " + std::to_string(slot.data_bytes) + " bytes");
        }
        incoming += slot.incoming.is_nil() ? 0U : 1U;
    }
    if (incoming > 1 || (incoming > 0 && !is_redundant(superblock.level))) {
        return damaged("more than one rebuild");
    }
    if (superblock.rebuilt_bytes > first.data_bytes || superblock.synced_bytes > first.data_bytes) {
        return damaged("more is rebuilt than there is");
    }
    return {};
}

}  // namespace

core::Result<void> check_member_count(Level level, std::size_t count) {
    std::string_view rule;
    switch (level) {
        case Level::Concat:
        case Level::Raid0:
            rule = count >= 1 ? "" : "1 or more";
            break;
        case Level::Raid1:
            rule = count >= 2 ? "" : "2 or more";
            break;
        case Level::Raid5:
            rule = count >= 3 ? "" : "3 or more";
            break;
        case Level::Raid10:
            rule = count >= 4 && count % 2 == 0 ? "" : "4 or more, an even number";
            break;
    }
    if (rule.empty() && count <= kMaxMembers) {
        return {};
    }
    return core::fail(
        ErrorKind::InvalidArgument,
        std::string(to_string(level)) + " has " +
            (rule.empty() ? "at most " + std::to_string(kMaxMembers) : std::string(rule)) +
            " members, not " + std::to_string(count));
}

core::Result<void> check_chunk(Level level, std::uint32_t chunk_bytes) {
    if (!has_chunks(level) || (std::has_single_bit(chunk_bytes) && chunk_bytes >= kMinChunkBytes &&
                               chunk_bytes <= kMaxChunkBytes)) {
        return {};
    }
    return core::fail(ErrorKind::InvalidArgument, "a chunk of " + std::to_string(chunk_bytes) +
                                                      " bytes is no power of two from 4 KiB to "
                                                      "256 KiB");
}

void encode(const Superblock& superblock, std::span<std::byte, kMetaBytes> to) {
    CHECK(superblock.slots.size() <= kMaxMembers);
    SuperWire wire;
    wire.magic = kSuperMagic;
    wire.version = kVersion;
    wire.array = superblock.array.bytes;
    wire.member = superblock.member.bytes;
    wire.generation = superblock.generation;
    wire.log_epoch = superblock.log_epoch;
    wire.rebuilt_bytes = superblock.rebuilt_bytes;
    wire.synced_bytes = superblock.synced_bytes;
    wire.data_offset = data_offset_of(superblock.level);
    wire.chunk_bytes = superblock.chunk_bytes;
    wire.block_size = superblock.block_size;
    wire.level = static_cast<std::uint8_t>(superblock.level);
    wire.slot_count = static_cast<std::uint8_t>(superblock.slots.size());
    wire.spare = superblock.spare ? 1 : 0;
    for (std::size_t i = 0; i < superblock.slots.size(); ++i) {
        const SlotRecord& slot = superblock.slots[i];
        wire.slots[i].current = slot.current.bytes;
        wire.slots[i].incoming = slot.incoming.bytes;
        wire.slots[i].data_bytes = slot.data_bytes;
        put_name(wire.slots[i].name, slot.name);
        put_name(wire.slots[i].incoming_name, slot.incoming_name);
    }
    std::ranges::fill(to, std::byte{0});
    wire.crc = crc_of(wire, to.subspan(sizeof wire));
    std::memcpy(to.data(), &wire, sizeof wire);
}

core::Result<Superblock> decode_superblock(std::span<const std::byte> from) {
    core::ByteReader reader(from);
    SuperWire wire;
    if (from.size() != kMetaBytes || !reader.read(wire) || wire.magic != kSuperMagic) {
        return core::fail(ErrorKind::NotFound, "there is no superblock");
    }
    if (wire.version != kVersion) {
        return core::fail(
            ErrorKind::Unimplemented,
            "the superblock is of version " + std::to_string(wire.version.get()) + ", this is 1");
    }
    if (wire.crc != crc_of(wire, from.subspan(sizeof wire))) {
        return damaged("its checksum is wrong");
    }
    if (wire.level > static_cast<std::uint8_t>(Level::Raid10)) {
        return damaged("level " + std::to_string(wire.level.get()));
    }
    Superblock out;
    out.array.bytes = wire.array;
    out.member.bytes = wire.member;
    out.spare = wire.spare != 0;
    out.level = static_cast<Level>(wire.level.get());
    out.chunk_bytes = wire.chunk_bytes;
    out.block_size = wire.block_size;
    out.generation = wire.generation;
    out.log_epoch = wire.log_epoch;
    out.rebuilt_bytes = wire.rebuilt_bytes;
    out.synced_bytes = wire.synced_bytes;
    for (std::size_t i = 0; i < std::min<std::size_t>(wire.slot_count, kMaxMembers); ++i) {
        const SlotWire& slot = wire.slots[i];
        out.slots.push_back({.name = get_name(slot.name),
                             .current = {slot.current},
                             .incoming = {slot.incoming},
                             .incoming_name = get_name(slot.incoming_name),
                             .data_bytes = slot.data_bytes});
    }
    if (out.slots.empty()) {
        return damaged("it has no members");
    }
    if (auto right = check_shape(out, wire); !right) {
        return std::unexpected(right.error());
    }
    return out;
}

void encode(const Bitmap& bitmap, std::span<std::byte, kMetaBytes> to) {
    CHECK(bitmap.marked.size() <= Bitmap::kMaxRegions);
    BitmapWire wire;
    wire.magic = kBitmapMagic;
    wire.regions = static_cast<std::uint32_t>(bitmap.marked.size());
    wire.array = bitmap.array.bytes;
    wire.region_bytes = bitmap.region_bytes;
    std::ranges::fill(to, std::byte{0});
    const auto bits = to.subspan(sizeof wire);
    for (std::size_t i = 0; i < bitmap.marked.size(); ++i) {
        if (bitmap.marked[i]) {
            bits[i / 8] |= static_cast<std::byte>(1U << (i % 8));
        }
    }
    wire.crc = crc_of(wire, bits);
    std::memcpy(to.data(), &wire, sizeof wire);
}

std::optional<Bitmap> decode_bitmap(std::span<const std::byte> from,
                                    const core::Uuid& array,
                                    std::uint64_t region_bytes,
                                    std::size_t regions) {
    core::ByteReader reader(from);
    BitmapWire wire;
    if (from.size() != kMetaBytes || !reader.read(wire) || wire.magic != kBitmapMagic ||
        wire.array != array.bytes || wire.region_bytes != region_bytes || wire.regions != regions ||
        regions > Bitmap::kMaxRegions) {
        return std::nullopt;
    }
    const auto bits = from.subspan(sizeof wire);
    if (wire.crc != crc_of(wire, bits)) {
        return std::nullopt;
    }
    Bitmap out{.array = array, .region_bytes = region_bytes, .marked = {}};
    out.marked.resize(regions);
    for (std::size_t i = 0; i < regions; ++i) {
        out.marked[i] = (bits[i / 8] & static_cast<std::byte>(1U << (i % 8))) != std::byte{0};
    }
    return out;
}

void encode(const LogEntry& entry, std::span<std::byte> slot) {
    CHECK(slot.size() == kMetaBytes + entry.payload_bytes());
    LogWire wire;
    wire.magic = kLogMagic;
    wire.row_begin = entry.row_begin;
    wire.array = entry.array.bytes;
    wire.epoch = entry.epoch;
    wire.sequence = entry.sequence;
    wire.stripe = entry.stripe;
    wire.row_bytes = entry.row_bytes;
    wire.first_chunk = entry.first_chunk;
    wire.chunk_count = entry.chunk_count;
    std::ranges::fill(slot.first(kMetaBytes), std::byte{0});
    wire.crc = crc_of(wire, slot.subspan(kMetaBytes));
    std::memcpy(slot.data(), &wire, sizeof wire);
}

bool may_be_log_entry(std::span<const std::byte> header,
                      const core::Uuid& array,
                      std::uint64_t epoch) {
    core::ByteReader reader(header);
    LogWire wire;
    return reader.read(wire) && wire.magic == kLogMagic && wire.array == array.bytes &&
           wire.epoch == epoch;
}

std::optional<LogEntry> decode_log_entry(std::span<const std::byte> slot,
                                         const core::Uuid& array,
                                         std::uint64_t epoch,
                                         std::uint32_t chunk_bytes,
                                         std::size_t data_chunks) {
    if (slot.size() < kMetaBytes || !may_be_log_entry(slot, array, epoch)) {
        return std::nullopt;
    }
    LogWire wire;
    std::memcpy(&wire, slot.data(), sizeof wire);
    const LogEntry entry{.array = array,
                         .epoch = epoch,
                         .sequence = wire.sequence,
                         .stripe = wire.stripe,
                         .row_begin = wire.row_begin,
                         .row_bytes = wire.row_bytes,
                         .first_chunk = wire.first_chunk,
                         .chunk_count = wire.chunk_count};
    if (entry.row_bytes == 0 || entry.row_begin >= chunk_bytes ||
        entry.row_bytes > chunk_bytes - entry.row_begin || entry.chunk_count == 0 ||
        entry.first_chunk >= data_chunks || entry.chunk_count > data_chunks - entry.first_chunk ||
        entry.payload_bytes() > slot.size() - kMetaBytes) {
        return std::nullopt;
    }
    if (wire.crc != crc_of(wire, slot.subspan(kMetaBytes, entry.payload_bytes()))) {
        return std::nullopt;
    }
    return entry;
}

}  // namespace remora::services::raid
