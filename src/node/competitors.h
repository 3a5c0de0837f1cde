// SPDX-License-Identifier: Apache-2.0
// Competitors: which volumes and controllers of a node take turns for which back end. On the
// control reactor.
//
// A pool is there while a minimum is set in it, and then all volumes of that back end compete for
// it: those with a minimum are sure of it, the others have what is left. Without one nobody has a
// pool, and the data path has nothing more to look at.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/reactor_context.h"
#include "node/node.h"
#include "services/qos/qos_stage.h"

namespace remora::node {

class VolumeTable;

/// A controller that has a stage.
struct ControllerCompetitor {
    std::string nqn;
    Endpoint at;
    std::shared_ptr<services::qos::QosStage> stage;
};

class Competitors {
  public:
    explicit Competitors(std::span<const block::ReactorContext> reactors) : reactors_(reactors) {}
    Competitors(const Competitors&) = delete;
    Competitors& operator=(const Competitors&) = delete;

    /// What the volumes and controllers that there are go by, from now on.
    Task<> set(Competition competition,
               VolumeTable& volumes,
               std::vector<ControllerCompetitor> controllers);
    /// For one that comes: before it has a channel, or to be shown afterwards.
    void enter(const std::string& volume, const std::string& pool, services::qos::QosStage& stage);
    void enter_controller(const std::string& nqn,
                          const Endpoint& at,
                          services::qos::QosStage& stage);
    /// Whether a controller has a minimum now.
    [[nodiscard]] bool has_minimum(const std::string& nqn, const Endpoint& at) const;

  private:
    using Pools = std::map<std::string, std::unique_ptr<services::qos::Pool>>;
    services::qos::Pool* pool(const std::string& name) const;
    /// Makes pools_ what competition_ asks for; returns those that went, for reactors to forget.
    std::vector<std::unique_ptr<services::qos::Pool>> update_pools();

    std::span<const block::ReactorContext> reactors_;
    Competition competition_;
    Pools pools_;
};

}  // namespace remora::node
