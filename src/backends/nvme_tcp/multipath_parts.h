// SPDX-License-Identifier: Apache-2.0
// MultipathController's own parts: a path and a volume. For its two source files only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/nvme_tcp/multipath_controller.h"

namespace remora::backends::nvme_tcp {

class MultipathController::Path final : private NamespaceListener {
  public:
    Path(MultipathController& owner, PathOptions options, std::unique_ptr<RemoteController> made)
        : owner_(owner), id_(std::move(options.id)), controller_(std::move(made)) {
        for (const KnownNamespace& known : options.known) {
            numbers_[known.nsid] = known.number;
        }
        NamespaceListener& listener = *this;
        controller_->set_listener(&listener);
    }
    Path(const Path&) = delete;
    Path& operator=(const Path&) = delete;
    ~Path() { controller_->set_listener(nullptr); }

    [[nodiscard]] const std::string& id() const { return id_; }
    /// RemoteController::create makes Controllers and nothing else.
    [[nodiscard]] Controller& controller() const { return static_cast<Controller&>(*controller_); }
    /// The number that a namespace's volume had before a restart; 0: none.
    [[nodiscard]] std::uint32_t known_number(std::uint32_t nsid) const {
        const auto found = numbers_.find(nsid);
        return found == numbers_.end() ? 0 : found->second;
    }
    /// What uses it across a wait is inside.
    reactor::Gate& gate() { return gate_; }

    bool leaving = false;  ///< Is being removed: gives back what it has.
    bool gone = false;     ///< Has stopped: has nothing any more.

  private:
    void on_namespaces_changed() override { owner_.on_path_changed(*this); }

    MultipathController& owner_;
    std::string id_;
    std::unique_ptr<RemoteController> controller_;
    std::map<std::uint32_t, std::uint32_t> numbers_;  // by nsid
    reactor::Gate gate_;
};

struct MultipathController::Volume {
    std::uint32_t number = 0;
    std::unique_ptr<MultipathDevice> device;
    std::vector<MultipathDevice::Path> joined;   ///< As the reactors have it.
    block::Geometry geometry;                    ///< As it is to be.
    block::Geometry applied;                     ///< As the reactors have it.
    PathPolicy policy = PathPolicy::QueueDepth;  ///< As the reactors have it.
    /// The size that each path's namespace had when it was last looked at: the newest news counts.
    std::map<std::pair<std::string, std::uint32_t>, std::uint64_t> sizes;  ///< By path and nsid.
};

}  // namespace remora::backends::nvme_tcp
