// SPDX-License-Identifier: Apache-2.0
// ControllerLimits: the rates that NVMe controllers (listeners) may have, each of them for all
// commands of all namespaces that come through it, on all reactors. On the control reactor.
//
// A controller that never had limits or a minimum has no stage in its way and costs nothing. One
// that has had them keeps its stage for as long as somebody is connected by it, also when it was
// removed; that is why the target's reactors own the stages and only look-ups are kept here.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "block/reactor_context.h"
#include "frontends/nvme_tcp/target.h"
#include "node/competitors.h"
#include "node/node.h"
#include "services/qos/qos_stage.h"

namespace remora::node {

class ControllerLimits {
  public:
    ControllerLimits(frontends::nvme_tcp::Target& target,
                     std::span<const block::ReactorContext> reactors,
                     Competitors& competitors)
        : target_(target), reactors_(reactors), competitors_(competitors) {}

    /// Errors: NotFound (the listener), those of channels.
    Task<Result<void>> set(std::string nqn, Endpoint at, Rates rates);
    /// The listener goes, or all of the subsystem's do (all of all without a name): nothing is held
    /// back any more.
    Task<> lift(std::string nqn, Endpoint at);
    Task<> lift_all(std::string nqn);
    /// How long its commands were held back by its own limits, in all.
    Task<std::uint64_t> throttled_ns(std::string nqn, Endpoint at);

    /// Those that have a stage.
    [[nodiscard]] std::vector<ControllerCompetitor> competitors() const;

  private:
    using Key = std::pair<std::string, Endpoint>;

    frontends::nvme_tcp::Target& target_;
    std::span<const block::ReactorContext> reactors_;
    Competitors& competitors_;
    std::map<Key, std::weak_ptr<services::qos::QosStage>> stages_;
};

}  // namespace remora::node
