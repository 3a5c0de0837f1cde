// SPDX-License-Identifier: Apache-2.0
// A disk of our own to load when no socket is given: a null or RAM volume, or one of an NVMe/TCP
// target, behind a vhost-user-blk controller, on a reactor thread of this process.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "backends/nvme_tcp/multipath_controller.h"
#include "block/device.h"
#include "core/result.h"
#include "frontends/vhost_user_blk/controller.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/reactor_thread.h"

namespace remora::bench {

struct LocalDiskOptions {
    std::string kind;     ///< "null" or "ram"; empty: the one volume of `nqn`.
    std::string address;  ///< Of an NVMe/TCP target, as Endpoint::parse reads it.
    std::string nqn;
    std::uint16_t queues = 1;
    std::optional<unsigned> core;
};

class LocalDisk {
  public:
    /// Errors: InvalidArgument, what the system says, and what keeps a target from being reached.
    static core::Result<std::unique_ptr<LocalDisk>> start(const LocalDiskOptions& options);
    LocalDisk(const LocalDisk&) = delete;
    LocalDisk& operator=(const LocalDisk&) = delete;
    ~LocalDisk();
    [[nodiscard]] const std::string& path() const { return path_; }
    reactor::Reactor& reactor() { return thread_->reactor(); }

  private:
    LocalDisk() = default;
    core::Result<block::Device*> make_volume(const LocalDiskOptions& options);
    core::Result<block::Device*> connect(const LocalDiskOptions& options);

    std::string folder_;
    std::string path_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::unique_ptr<block::Device> device_;
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::optional<block::ReactorContext> context_;
    std::unique_ptr<backends::nvme_tcp::MultipathController> remote_;
    std::unique_ptr<frontends::vhost_user_blk::Controller> controller_;
};

}  // namespace remora::bench
