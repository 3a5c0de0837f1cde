// SPDX-License-Identifier: Apache-2.0
// RamDevice: a volume in this process's memory (OPI's malloc volume). Contents die with the
// process. Memory is taken from the system when first touched, in huge pages where it has them.
// Every reactor copies from and to the same memory; overlapping I/O from two reactors has no order,
// as on any disk, but each block is read as one of them wrote it. A read within a page of 4 KiB is
// lent if its maker takes that.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "backends/ram/page_locks.h"
#include "block/growing_device.h"
#include "memory/zeroed_memory.h"

namespace remora::backends::ram {

/// A run of the volume's bytes. A volume has one, and one more each time it grew.
struct Extent {
    std::uint64_t begin = 0;  ///< In the volume.
    std::uint64_t end = 0;
    std::byte* memory = nullptr;
    /// Whether each `kTouchBytes` were written before. For all reactors.
    std::unique_ptr<std::atomic<bool>[]> touched;

    /// What the system clears at most when it is written for the first time.
    static constexpr std::size_t kTouchBytes = std::size_t{2} << 20U;
};

class RamDevice final : public block::GrowingDevice {
  public:
    /// Errors: InvalidArgument for a block size that is no power of two in 512..4096 or a size of
    /// zero; ResourceExhausted when the memory is not to be had.
    static core::Result<std::unique_ptr<RamDevice>> create(std::string name,
                                                           core::Uuid uuid,
                                                           std::uint32_t block_size,
                                                           std::uint64_t block_count);

    /// How often a volume can grow: finding a byte takes a step an extent.
    static constexpr std::size_t kMaxExtents = 32;

    core::Result<std::unique_ptr<block::Channel>> open_channel() override;

  private:
    RamDevice(std::string name,
              core::Uuid uuid,
              block::Geometry geometry,
              memory::ZeroedMemory memory);
    void add_extent(std::uint64_t begin, std::uint64_t end, memory::ZeroedMemory memory);
    core::Result<void> make_room(const block::Geometry& after) override;

    // Only added to, by the control reactor; others read what their geometry says is there.
    std::array<Extent, kMaxExtents> extents_{};
    std::size_t extent_count_ = 0;
    std::vector<memory::ZeroedMemory> memory_;
    PageLocks locks_;
};

}  // namespace remora::backends::ram
