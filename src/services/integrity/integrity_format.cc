// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/integrity_format.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/endian.h"
#include "core/units.h"

namespace remora::services::integrity {

namespace {

using core::ErrorKind;
using core::fail;

constexpr std::array<char, 8> kMagic{'R', 'M', 'R', 'A', 'I', 'N', 'T', 'G'};
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kLeafMagic = 0x4c434d52;  // "RMCL"
constexpr std::uint64_t kMetadataBytes = kSuperblocks * kSuperblockBytes;
// Data begins at a multiple of what the device below prefers, up to this.
constexpr std::uint64_t kMaxAlignment = core::kMiB;
// No block has such a number, so no leaf's checksum is that of a block.
constexpr std::uint64_t kLeafMark = std::uint64_t{1} << 63U;

struct SuperblockWire {
    std::array<char, 8> magic{};
    core::le32 version;
    core::le32 block_size;
    core::le64 block_count;
    core::le64 page_count;
    core::le64 data_start;
    core::le64 generation;
    core::le64 format;
    std::array<unsigned char, 16> uuid{};
    core::le32 clean;  // 0 or 1; versions that did not know it wrote 0
    std::array<unsigned char, kSuperblockBytes - 80> zeros{};
    core::le32 checksum;  // of all before
};
static_assert(sizeof(SuperblockWire) == kSuperblockBytes);
static_assert(std::is_trivially_copyable_v<SuperblockWire>);

struct LeafHeaderWire {
    core::le32 checksum;
    core::le32 magic;
    core::le64 number;
};
static_assert(sizeof(LeafHeaderWire) == kLeafHeaderBytes);

struct EntryWire {
    core::le32 a;
    core::le32 b;
};
static_assert(sizeof(EntryWire) == sizeof(Checksums));

std::uint32_t checksum_of(const SuperblockWire& wire) {
    return core::crc32c(core::as_bytes_of(wire).first(offsetof(SuperblockWire, checksum)));
}

std::uint64_t divide_up(std::uint64_t value, std::uint64_t by) {
    return value / by + (value % by != 0 ? 1 : 0);
}

/// Whether a layout can be: what was decoded is not trusted to fit together.
bool is_possible(const Layout& layout) {
    const block::Geometry shape{.block_size = layout.block_size, .block_count = layout.block_count};
    if (!block::check_geometry(shape)) {
        return false;
    }
    constexpr std::uint64_t kMost = std::numeric_limits<std::int64_t>::max();
    if (layout.page_count == 0 || layout.page_count > kMost / kPageBytes / 2 ||
        layout.page_count < divide_up(layout.block_count, layout.page_entries())) {
        return false;
    }
    const std::uint64_t most_blocks = kMost / layout.block_size;
    return layout.data_start >= layout.page_block(layout.page_count) &&
           layout.data_start <= most_blocks &&
           layout.block_count <= most_blocks - layout.data_start;
}

/// Of the device below's preference, in bytes.
std::uint64_t alignment_of(const block::Geometry& lower) {
    const std::uint64_t wanted = std::uint64_t{lower.optimal_blocks} * lower.block_size;
    return wanted > kPageBytes && wanted <= kMaxAlignment && wanted % kPageBytes == 0 ? wanted
                                                                                      : kPageBytes;
}

}  // namespace

core::Result<Layout> plan_layout(const block::Geometry& lower) {
    const std::uint64_t size = lower.size_bytes();
    Layout layout{.block_size = lower.block_size};
    const std::uint64_t alignment = alignment_of(lower);
    if (size > kMetadataBytes) {
        // A page and the blocks that it has entries for, as often as they fit, the last in part.
        const std::uint64_t stride =
            kPageBytes + std::uint64_t{layout.page_entries()} * layout.block_size;
        layout.page_count = divide_up(size - kMetadataBytes, stride);
        const std::uint64_t start =
            divide_up(kMetadataBytes + layout.page_count * kPageBytes, alignment) * alignment;
        if (size > start) {
            layout.data_start = start / layout.block_size;
            layout.block_count = std::min((size - start) / layout.block_size,
                                          layout.page_count * layout.page_entries());
        }
    }
    if (layout.block_count == 0) {
        return fail(ErrorKind::InvalidArgument,
                    "a volume of " + core::format_size(size) +
                        " has no room for checksums and data: it takes " +
                        core::format_size(kMetadataBytes + kPageBytes) +
                        " and the data, which begins at a multiple of " +
                        core::format_size(alignment));
    }
    return layout;
}

void encode_superblock(const Superblock& superblock, std::span<std::byte, kSuperblockBytes> to) {
    SuperblockWire wire;
    wire.magic = kMagic;
    wire.version = kVersion;
    wire.block_size = superblock.layout.block_size;
    wire.block_count = superblock.layout.block_count;
    wire.page_count = superblock.layout.page_count;
    wire.data_start = superblock.layout.data_start;
    wire.generation = superblock.generation;
    wire.format = superblock.format;
    wire.uuid = superblock.uuid.bytes;
    wire.clean = superblock.clean ? 1 : 0;
    wire.checksum = checksum_of(wire);
    std::memcpy(to.data(), &wire, sizeof(wire));
}

core::Result<Superblock> decode_superblock(std::span<const std::byte> bytes) {
    SuperblockWire wire;
    core::ByteReader reader(bytes);
    if (!reader.read(wire) || reader.remaining() != 0 || wire.magic != kMagic) {
        return fail(ErrorKind::NotFound, "there is no superblock of an integrity volume");
    }
    if (wire.checksum != checksum_of(wire)) {
        return fail(ErrorKind::DataLoss, "the superblock's checksum does not match");
    }
    if (wire.version != kVersion) {
        return fail(ErrorKind::FailedPrecondition, "the integrity volume has format version " +
                                                       std::to_string(wire.version.get()) +
                                                       "; this build knows " +
                                                       std::to_string(kVersion));
    }
    Superblock superblock{
        .uuid = {wire.uuid},
        .format = wire.format,
        .generation = wire.generation,
        .layout = {.block_size = wire.block_size,
                   .block_count = wire.block_count,
                   .page_count = wire.page_count,
                   .data_start = wire.data_start},
        .clean = wire.clean == 1,
    };
    if (!is_possible(superblock.layout)) {
        return fail(ErrorKind::DataLoss, "the superblock describes no possible layout");
    }
    return superblock;
}

ChecksumSalt::ChecksumSalt(const core::Uuid& uuid, std::uint64_t format) {
    base_.update(std::as_bytes(std::span(uuid.bytes)));
    base_.update(core::as_bytes_of(core::le64(format)));
}

core::Crc32c ChecksumSalt::begin_block(std::uint64_t lba) const {
    core::Crc32c crc = base_;
    crc.update(core::as_bytes_of(core::le64(lba)));
    return crc;
}

std::uint32_t ChecksumSalt::block(std::uint64_t lba, std::span<const std::byte> bytes) const {
    core::Crc32c crc = begin_block(lba);
    crc.update(bytes);
    return checksum_of(crc);
}

std::uint32_t ChecksumSalt::leaf(std::uint64_t number, std::span<const std::byte> bytes) const {
    return block(number | kLeafMark, bytes);
}

void encode_page(const Layout& layout,
                 const ChecksumSalt& salt,
                 std::uint64_t page,
                 std::span<const Checksums> entries,
                 std::span<std::byte, kPageBytes> to) {
    DCHECK(entries.size() == layout.page_entries());
    for (std::uint32_t i = 0; i < layout.blocks_per_page(); ++i) {
        const auto leaf = to.subspan(std::size_t{i} * layout.block_size, layout.block_size);
        LeafHeaderWire header;
        header.magic = kLeafMagic;
        header.number = page * layout.blocks_per_page() + i;
        std::byte* at = leaf.data() + sizeof(header);
        for (const Checksums& entry :
             entries.subspan(std::size_t{i} * layout.leaf_entries(), layout.leaf_entries())) {
            const EntryWire wire{entry.a, entry.b};
            std::memcpy(at, &wire, sizeof(wire));
            at += sizeof(wire);
        }
        std::memset(at, 0, static_cast<std::size_t>(leaf.data() + leaf.size() - at));
        std::memcpy(leaf.data(), &header, sizeof(header));
        header.checksum = salt.leaf(header.number, leaf.subspan(sizeof(header.checksum)));
        std::memcpy(leaf.data(), &header, sizeof(header));
    }
}

std::uint32_t decode_page(const Layout& layout,
                          const ChecksumSalt& salt,
                          std::uint64_t page,
                          std::span<const std::byte, kPageBytes> from,
                          std::span<Checksums> entries) {
    DCHECK(entries.size() == layout.page_entries());
    std::uint32_t damaged = 0;
    for (std::uint32_t i = 0; i < layout.blocks_per_page(); ++i) {
        const auto leaf = from.subspan(std::size_t{i} * layout.block_size, layout.block_size);
        const std::uint64_t number = page * layout.blocks_per_page() + i;
        LeafHeaderWire header;
        std::memcpy(&header, leaf.data(), sizeof(header));
        const bool valid =
            header.magic == kLeafMagic && header.number == number &&
            header.checksum == salt.leaf(number, leaf.subspan(sizeof(header.checksum)));
        damaged += valid ? 0U : 1U;
        const std::byte* at = leaf.data() + sizeof(header);
        for (Checksums& entry :
             entries.subspan(std::size_t{i} * layout.leaf_entries(), layout.leaf_entries())) {
            EntryWire wire;
            std::memcpy(&wire, at, sizeof(wire));
            at += sizeof(wire);
            entry = valid ? Checksums{wire.a, wire.b} : Checksums{kLost, kLost};
        }
    }
    return damaged;
}

}  // namespace remora::services::integrity
