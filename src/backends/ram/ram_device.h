// SPDX-License-Identifier: Apache-2.0
// RamDevice: a volume in this process's memory (OPI's malloc volume). Contents die with the
// process. Pages are taken from the system when first written. Every reactor copies from and to
// the same memory; overlapping I/O from two reactors has no order, as on any disk.
#pragma once

#include <memory>
#include <string>

#include "block/device.h"

namespace remora::backends::ram {

class RamDevice final : public block::Device {
  public:
    /// Errors: InvalidArgument for a block size that is no power of two in 512..4096 or a size of
    /// zero; ResourceExhausted when the memory is not to be had.
    static core::Result<std::unique_ptr<RamDevice>> create(std::string name,
                                                           core::Uuid uuid,
                                                           std::uint32_t block_size,
                                                           std::uint64_t block_count);

    [[nodiscard]] block::Geometry geometry() const override { return geometry_; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;

  private:
    struct Release {
        void operator()(std::byte* memory) const;
    };
    RamDevice(std::string name, core::Uuid uuid, block::Geometry geometry, std::byte* memory);

    block::Geometry geometry_;
    std::unique_ptr<std::byte, Release> memory_;
};

}  // namespace remora::backends::ram
