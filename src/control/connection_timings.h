// SPDX-License-Identifier: Apache-2.0
// How long a remote controller's connections wait: what a client may set, and what is in force.
#pragma once

#include "control/model.h"
#include "core/result.h"
#include "node/node.h"

namespace remora::control {

/// What is set, and the defaults for the rest.
node::ConnectionTimings timings_of(const state::ConnectionTimings& set);

/// Whether it has anything to set; else it asks.
bool sets_any(const api::SetConnectionTimingsRequest& request);

/// Takes over what the request has; 0 takes a setting back. Errors: InvalidArgument, which says the
/// field and its limits; `set` is then as it was.
core::Result<void> update_timings(state::ConnectionTimings& set,
                                  const api::SetConnectionTimingsRequest& request);

api::ConnectionTimings to_api(const node::ConnectionTimings& timings);

}  // namespace remora::control
