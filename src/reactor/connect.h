// SPDX-License-Identifier: Apache-2.0
// Coroutine form of Io::connect.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/io.h"
#include "reactor/task.h"

namespace remora::reactor {

/// A stream to `to`, on the current reactor. Errors: Unavailable, DeadlineExceeded when it takes
/// past `deadline`, and what the system says.
Task<core::Result<std::unique_ptr<Stream>>> connect(Endpoint to, Nanos deadline);

}  // namespace remora::reactor
