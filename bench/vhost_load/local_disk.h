// SPDX-License-Identifier: Apache-2.0
// A disk of our own to load when no socket is given: a null or RAM volume behind a vhost-user-blk
// controller, on a reactor thread of this process.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "block/device.h"
#include "core/result.h"
#include "frontends/vhost_user_blk/controller.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/reactor_thread.h"

namespace remora::bench {

class LocalDisk {
  public:
    /// `kind` is "null" or "ram". Errors: InvalidArgument, and what the system says.
    static core::Result<std::unique_ptr<LocalDisk>> start(const std::string& kind,
                                                          std::uint16_t queues,
                                                          std::optional<unsigned> core);
    LocalDisk(const LocalDisk&) = delete;
    LocalDisk& operator=(const LocalDisk&) = delete;
    ~LocalDisk();
    [[nodiscard]] const std::string& path() const { return path_; }

  private:
    LocalDisk() = default;
    std::string folder_;
    std::string path_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::unique_ptr<block::Device> device_;
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::optional<block::ReactorContext> context_;
    std::unique_ptr<frontends::vhost_user_blk::Controller> controller_;
};

}  // namespace remora::bench
