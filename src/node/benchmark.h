// SPDX-License-Identifier: Apache-2.0
// The in-process load generator behind `remora bench`: keeps a set number of random requests
// outstanding on one channel, on the reactor where it is called.
#pragma once

#include "block/device.h"
#include "block/reactor_context.h"
#include "node/node.h"

namespace remora::node {

/// Runs on the current reactor, which is `context`'s. Takes its buffers from the reactor's pool.
/// Errors: InvalidArgument (sizes that do not fit the device), ResourceExhausted.
Task<Result<BenchmarkResult>> run_load(BenchmarkSpec spec,
                                       block::Device& device,
                                       block::ReactorContext context);

}  // namespace remora::node
