// SPDX-License-Identifier: Apache-2.0
// Fault injections as clients write them, and what they are for the data plane.
#pragma once

#include "core/result.h"
#include "remora/v1/fault.pb.h"
#include "services/fault/fault_settings.h"

namespace remora::control {

/// Errors: InvalidArgument naming the rule, counted from 0, and its field; also when there is no
/// rule at all.
core::Result<services::fault::FaultSettings> read_faults(const remora::v1::FaultInjection& asked);

}  // namespace remora::control
