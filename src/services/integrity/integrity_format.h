// SPDX-License-Identifier: Apache-2.0
// What an integrity volume looks like on the device below. Pure: bytes in, values out.
//
//   superblock 0 │ superblock 1 │ page 0 │ page 1 │ ... │ (to alignment) │ data block 0 │ ...
//       4 KiB          4 KiB       4 KiB
//
// A page is one or more leaves, each as large as a block of the device below, which is what such a
// device writes whole or not at all. So a page that is torn is some old and some new leaves, each
// of them valid; what is half of one is found by the leaf's own checksum.
//
//   leaf:  checksum of the rest (4) │ magic (4) │ number (8) │ entries (8 each) │ zeros
//   entry: a (4) │ b (4)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/device.h"
#include "core/crc32c.h"
#include "core/result.h"
#include "core/uuid.h"

namespace remora::services::integrity {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kSuperblockBytes = 4096;
constexpr std::size_t kSuperblocks = 2;
constexpr std::size_t kLeafHeaderBytes = 16;
/// More than any page has.
constexpr std::size_t kMaxPageEntries = 512;

/// A block is good when its checksum is `a` or `b`. Two values are no checksum of any block:
/// kNeverWritten as one of them says "or it reads as zeros", kLost "or nobody knows".
struct Checksums {
    std::uint32_t a = 0;
    std::uint32_t b = 0;
    bool operator==(const Checksums&) const = default;
};
constexpr std::uint32_t kNeverWritten = 0;
constexpr std::uint32_t kLost = 1;

struct Layout {
    std::uint32_t block_size = 0;
    std::uint64_t block_count = 0;  ///< Of the volume.
    std::uint64_t page_count = 0;
    std::uint64_t data_start = 0;  ///< In blocks of the device below.

    [[nodiscard]] std::uint32_t blocks_per_page() const {
        return static_cast<std::uint32_t>(kPageBytes) / block_size;
    }
    [[nodiscard]] std::uint32_t leaf_entries() const {
        return (block_size - static_cast<std::uint32_t>(kLeafHeaderBytes)) /
               static_cast<std::uint32_t>(sizeof(Checksums));
    }
    [[nodiscard]] std::uint32_t page_entries() const { return leaf_entries() * blocks_per_page(); }
    /// First block of a page on the device below.
    [[nodiscard]] std::uint64_t page_block(std::uint64_t page) const {
        return (kSuperblocks * kSuperblockBytes + page * kPageBytes) / block_size;
    }
    bool operator==(const Layout&) const = default;
};

/// The largest volume that fits a device of this shape. Errors: InvalidArgument (too small).
core::Result<Layout> plan_layout(const block::Geometry& lower);

struct Superblock {
    core::Uuid uuid;
    std::uint64_t format = 0;      ///< Random, of this formatting: leaves of an older one differ.
    std::uint64_t generation = 0;  ///< Of two valid copies the larger one counts.
    Layout layout;
    bool clean = false;  ///< It was closed, with all settled, and has not been opened since.
    bool operator==(const Superblock&) const = default;
};

void encode_superblock(const Superblock& superblock, std::span<std::byte, kSuperblockBytes> to);
/// Total: any bytes of any length. Errors: NotFound (not a superblock), DataLoss (damaged, or its
/// layout is impossible), FailedPrecondition (a version that this build does not know).
core::Result<Superblock> decode_superblock(std::span<const std::byte> bytes);

/// Which volume, which formatting and which place a checksum is for: the same bytes at another
/// block, or as they lie in another volume, have another one. Value type, any thread.
class ChecksumSalt {
  public:
    ChecksumSalt(const core::Uuid& uuid, std::uint64_t format);
    /// To be fed the block's bytes, and given to checksum_of().
    [[nodiscard]] core::Crc32c begin_block(std::uint64_t lba) const;
    /// Never kNeverWritten or kLost.
    static std::uint32_t checksum_of(const core::Crc32c& crc) {
        const std::uint32_t value = crc.value();
        return value > kLost ? value : value + 2;
    }
    /// Of one whole block.
    [[nodiscard]] std::uint32_t block(std::uint64_t lba, std::span<const std::byte> bytes) const;
    /// Of a leaf's bytes behind the checksum.
    [[nodiscard]] std::uint32_t leaf(std::uint64_t number, std::span<const std::byte> bytes) const;

  private:
    core::Crc32c base_;
};

/// `entries` are the page's, `layout.page_entries()` of them.
void encode_page(const Layout& layout,
                 const ChecksumSalt& salt,
                 std::uint64_t page,
                 std::span<const Checksums> entries,
                 std::span<std::byte, kPageBytes> to);
/// Returns how many leaves are damaged, stray or of another formatting; their entries are lost.
std::uint32_t decode_page(const Layout& layout,
                          const ChecksumSalt& salt,
                          std::uint64_t page,
                          std::span<const std::byte, kPageBytes> from,
                          std::span<Checksums> entries);

}  // namespace remora::services::integrity
