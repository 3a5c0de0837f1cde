// SPDX-License-Identifier: Apache-2.0
// NullDevice: takes every write and forgets it, reads zeros. For measuring everything else. Reads
// are zeroed rather than left alone: the buffer may have held another guest's bytes.
#pragma once

#include <memory>
#include <string>

#include "block/growing_device.h"

namespace remora::backends::null {

class NullDevice final : public block::GrowingDevice {
  public:
    /// Errors: InvalidArgument as RamDevice.
    static core::Result<std::unique_ptr<NullDevice>> create(std::string name,
                                                            core::Uuid uuid,
                                                            std::uint32_t block_size,
                                                            std::uint64_t block_count);

    core::Result<std::unique_ptr<block::Channel>> open_channel() override;

  private:
    NullDevice(std::string name, core::Uuid uuid, block::Geometry geometry);
    core::Result<void> make_room(const block::Geometry& /*after*/) override { return {}; }
};

}  // namespace remora::backends::null
