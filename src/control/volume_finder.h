// SPDX-License-Identifier: Apache-2.0
// VolumeFinder: from a discovery endpoint and a volume's UUID to a live remote controller that has
// the namespace. Asks the discovery subsystem, then connects to one subsystem after another until
// the UUID is found. Control reactor only.
//
// Attachments to one subsystem share its remote controller, whose name follows from subsystem and
// host NQN. What is started here and not wanted is stopped here.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/context.h"

namespace remora::control {

/// Where the volume was found. Holds the lock of the remote controller until it is destroyed.
struct FoundVolume {
    std::string remote_id;  ///< The data plane's name of the controller.
    bool started = false;   ///< It was started for this: the finder's caller stores or stops it.
    std::string subnqn;
    std::vector<reactor::Endpoint> endpoints;  ///< Where discovery says the subsystem is.
    node::RemoteNamespace space;
    LockTable::Held lock;
};

class VolumeFinder {
  public:
    explicit VolumeFinder(Context& context) : context_(context) {}

    /// Errors: NotFound naming where it was looked for, Unavailable and the like with the reason.
    reactor::Task<core::Result<FoundVolume>> find(reactor::Endpoint discovery,
                                                  std::string hostnqn,
                                                  core::Uuid volume);

  private:
    struct Subsystem {
        std::string subnqn;
        std::vector<reactor::Endpoint> endpoints;
    };
    using Subsystems = std::vector<Subsystem>;
    reactor::Task<core::Result<Subsystems>> subsystems_at(reactor::Endpoint discovery,
                                                          std::string hostnqn);
    /// Nothing when the subsystem can be reached and has no such namespace.
    reactor::Task<core::Result<std::optional<FoundVolume>>> look_in(Subsystem subsystem,
                                                                    std::string hostnqn,
                                                                    core::Uuid volume,
                                                                    core::Nanos deadline);
    reactor::Task<core::Result<std::optional<node::RemoteNamespace>>> look_at(std::string remote_id,
                                                                              bool fresh,
                                                                              core::Uuid volume,
                                                                              core::Nanos deadline);
    Context& context_;
};

/// "attached-" and 12 hex digits that follow from the two NQNs.
std::string shared_remote_id(const std::string& subnqn, const std::string& hostnqn);
/// Of the path to the subsystem's endpoint number `index`.
std::string attached_path_id(std::size_t index);

}  // namespace remora::control
