// SPDX-License-Identifier: Apache-2.0
// How a remote controller with several paths chooses among them: OPI's `multipath` says whether one
// path is used at a time or all of them, remora.v1's policy which of all gets a request.
#pragma once

#include "control/model.h"
#include "node/node.h"

namespace remora::control {

/// Without a setting: the queue depth.
inline node::PathPolicy policy_of(const Object<opi::NvmeRemoteController>& controller) {
    if (controller.resource.multipath() != opi::NVME_MULTIPATH_MULTIPATH) {
        return node::PathPolicy::Failover;
    }
    return controller.known.path_policy() == state::PATH_POLICY_ROUND_ROBIN
               ? node::PathPolicy::RoundRobin
               : node::PathPolicy::QueueDepth;
}

inline api::PathPolicy to_api(node::PathPolicy policy) {
    switch (policy) {
        case node::PathPolicy::Failover:
            return api::PATH_POLICY_FAILOVER;
        case node::PathPolicy::RoundRobin:
            return api::PATH_POLICY_ROUND_ROBIN;
        case node::PathPolicy::QueueDepth:
            return api::PATH_POLICY_QUEUE_DEPTH;
    }
    return api::PATH_POLICY_UNSPECIFIED;
}

}  // namespace remora::control
