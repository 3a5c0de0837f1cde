// SPDX-License-Identifier: Apache-2.0
// Clock: monotonic time behind a seam. A reactor reads it once a turn; nobody else reads it.
#pragma once

#include "core/units.h"

namespace remora::reactor {

using core::kNever;
using core::Nanos;

class Clock {
  public:
    virtual ~Clock() = default;
    /// Nanoseconds since an origin of the clock's own; never goes back.
    virtual Nanos now() = 0;
};

}  // namespace remora::reactor
