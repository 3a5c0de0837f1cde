// SPDX-License-Identifier: Apache-2.0
// What is to be said of a resource's conditions now: the stored state beside the data plane's and
// the host's. Reads only.
#pragma once

#include <string>
#include <vector>

#include "control/context.h"

namespace remora::control {

struct Assessment {
    std::string kind;  ///< Full name of the resource's message.
    std::string name;
    api::Condition ready;
    /// Only for what can have less behind it than it has; its type is empty otherwise.
    api::Condition degraded;
};

/// Of every resource that can fail by itself: volumes, encrypted ones, limits, listeners, remote
/// controllers, paths, host disks and attachments.
std::vector<Assessment> assess_all(const Context& context);

}  // namespace remora::control
