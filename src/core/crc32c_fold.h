// SPDX-License-Identifier: Apache-2.0
// CRC32C by carry-less multiplication of 256 bits at once (VPCLMULQDQ without AVX-512), for which
// ISA-L has no kernel. It reads strictly forwards in one stream, which is worth more than its
// arithmetic where the bytes are not in the first cache: ISA-L's kernel for such machines reads
// three streams. Used by crc32c.cc, which checks the processor; tests hold the two beside each
// other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::core {

/// Whether this processor can.
bool crc32c_can_fold();

/// The running state (as Crc32c keeps it) after `bytes`. Only if crc32c_can_fold().
std::uint32_t crc32c_fold(std::uint32_t state, std::span<const std::byte> bytes);
/// The same, and copies the bytes to `to`, which does not overlap them.
std::uint32_t crc32c_fold_and_copy(std::uint32_t state,
                                   std::span<const std::byte> bytes,
                                   std::byte* to);

}  // namespace remora::core
