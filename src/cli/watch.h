// SPDX-License-Identifier: Apache-2.0
// `remora watch`: what there is and each change of it, a line each, until the user ends it.
#pragma once

#include <string>
#include <vector>

#include "cli/client.h"

namespace remora::cli {

struct WatchFlags {
    /// "virtio-blk", or a message's full name; none: all kinds.
    std::vector<std::string> kinds;
    bool changes_only = false;
};

/// Ends well on SIGINT and SIGTERM. When the daemon says that it fell behind, it says so and
/// watches anew, with all that there is, so that nothing is missed.
void watch(const Session& session, const WatchFlags& flags);

}  // namespace remora::cli
