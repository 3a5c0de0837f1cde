// SPDX-License-Identifier: Apache-2.0
// CRC32C (Castagnoli), the digest of NVMe/TCP PDUs, computed by ISA-L.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::core {

/// Running CRC32C: start from the default, feed bytes in any cuts, read value(). Value type.
class Crc32c {
  public:
    void update(std::span<const std::byte> bytes);
    /// The same, and copies the bytes to `to`, which does not overlap them. Where the processor
    /// folds, one pass does both.
    void update_and_copy(std::span<const std::byte> bytes, std::byte* to);
    [[nodiscard]] std::uint32_t value() const { return ~state_; }

  private:
    std::uint32_t state_ = 0xffffffffU;
};

/// CRC32C of one run of bytes.
std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace remora::core
