// SPDX-License-Identifier: Apache-2.0
// MultipathDevice: a volume behind one or more paths, as one block::Device. What it is follows its
// UUID, not the number that a path shows it under. Its work is done by a MultipathView a reactor;
// which paths there are, MultipathController says.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backends/nvme_tcp/multipath_view.h"
#include "block/device.h"
#include "block/reactor_context.h"
#include "reactor/task.h"

namespace remora::backends::nvme_tcp {

class MultipathDevice final : public block::Device {
  public:
    struct Options {
        std::string name;
        core::Uuid uuid;
        block::Geometry geometry;
        PathPolicy policy = PathPolicy::QueueDepth;
        core::Nanos path_timeout{};
    };

    MultipathDevice(const Options& options,
                    std::span<const block::ReactorContext> reactors,
                    reactor::Reactor& control);
    /// After set_paths({}).
    ~MultipathDevice() override;

    /// Of the current reactor.
    [[nodiscard]] block::Geometry geometry() const override { return current_view().geometry(); }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    void add_listener(block::DeviceListener& listener) override;
    void remove_listener(block::DeviceListener& listener) override;

    // The rest on the control reactor:

    /// A path's device of this volume.
    struct Path {
        NamespaceDevice* device = nullptr;
        bool leaving = false;
        bool operator==(const Path&) const = default;
    };
    /// Brings every reactor in line. `paths` and their devices stay until it has returned; so do
    /// those of the call before. One call at a time.
    reactor::Task<> set_paths(std::vector<Path> paths, block::Geometry geometry, PathPolicy policy);
    /// Open channels of all reactors.
    reactor::Task<std::uint32_t> channels() const;

  private:
    MultipathView& current_view() const;

    std::vector<std::unique_ptr<MultipathView>> views_;  // by lane; perhaps control's own behind
};

}  // namespace remora::backends::nvme_tcp
