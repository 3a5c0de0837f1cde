// SPDX-License-Identifier: Apache-2.0
// A controller of our own to load when no socket is given, or to show to QEMU: null or RAM volumes
// behind an NVMe controller, on a reactor thread of this process.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "block/device.h"
#include "core/result.h"
#include "frontends/vfio_user_nvme/controller.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/reactor_thread.h"

namespace remora::bench {

struct LocalOptions {
    std::string kind;  ///< Of volumes: "null" or "ram".
    std::string path;  ///< Of the socket; empty: one in a folder of its own.
    std::uint16_t queues = 1;
    std::optional<unsigned> core;
    bool map_doorbells = true;
    bool msix = true;
};

class LocalController {
  public:
    /// With namespace 1. Errors: InvalidArgument, and what the system says.
    static core::Result<std::unique_ptr<LocalController>> start(const LocalOptions& options);
    LocalController(const LocalController&) = delete;
    LocalController& operator=(const LocalController&) = delete;
    ~LocalController();
    [[nodiscard]] const std::string& path() const { return options_.path; }

    core::Result<void> add_namespace(std::uint32_t nsid);
    core::Result<void> remove_namespace(std::uint32_t nsid);
    frontends::vfio_user_nvme::QueueCounters counters();
    frontends::vfio_user_nvme::ControllerStatus status();

  private:
    explicit LocalController(const LocalOptions& options) : options_(options) {}
    core::Result<void> make_controller();

    LocalOptions options_;
    std::string folder_;
    std::unique_ptr<memory::BufferPool> buffers_;
    std::map<std::uint32_t, std::unique_ptr<block::Device>> devices_;
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::optional<block::ReactorContext> context_;
    std::unique_ptr<frontends::vfio_user_nvme::Controller> controller_;
};

}  // namespace remora::bench
