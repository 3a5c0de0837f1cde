// SPDX-License-Identifier: Apache-2.0
// VolumeOracle: knows what a volume may read back. A guest tells it what it asks for and how that
// ended; the oracle makes the bytes to write and judges the bytes that were read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::sim {

/// All positions are in blocks of the volume. Every begin is ended once, by end() or end_read().
class VolumeOracle {
  public:
    virtual ~VolumeOracle() = default;

    using OpId = std::uint64_t;
    enum class End { Ok, Failed };

    /// Fills the bytes to write.
    virtual OpId begin_write(std::uint64_t lba, std::uint32_t count, std::span<std::byte> fill) = 0;
    /// With `discard` the old data or zeros may be read afterwards, without it zeros.
    virtual OpId begin_zero(std::uint64_t lba, std::uint32_t count, bool discard) = 0;
    virtual OpId begin_flush() = 0;
    virtual OpId begin_read(std::uint64_t lba, std::uint32_t count) = 0;
    /// Not for reads.
    virtual void end(OpId op, End end) = 0;
    /// `data` counts only when the read went well.
    virtual void end_read(OpId op, End end, std::span<const std::byte> data) = 0;
};

}  // namespace remora::sim
