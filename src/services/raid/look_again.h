// SPDX-License-Identifier: Apache-2.0
// LookAgain: when to look again for what another reactor holds. Mostly that is held for as long as
// an I/O takes; behind a member that does not answer it can be seconds, and looking all the while
// as often as at first would cost a core some hundredths.
#pragma once

#include <algorithm>

#include "reactor/call.h"
#include "services/raid/range_locks.h"

namespace remora::services::raid {

/// One wait's; one reactor.
class LookAgain {
  public:
    static constexpr core::Nanos kFirst = std::chrono::microseconds(50);
    static constexpr core::Nanos kMost = std::chrono::milliseconds(1);

    /// How long to wait before the next look: twice as long as the last time, up to kMost.
    core::Nanos next() {
        const core::Nanos wait = wait_;
        wait_ = std::min(2 * wait, kMost);
        return wait;
    }
    /// Something got on.
    void reset() { wait_ = kFirst; }

  private:
    core::Nanos wait_ = kFirst;
};

/// Returns with `wanted` taken.
inline reactor::Task<> wait_for_lock(RangeLocks& locks, RangeLock wanted) {
    LookAgain look;
    while (!locks.try_acquire(wanted)) {
        co_await reactor::sleep_for(look.next());
    }
}

}  // namespace remora::services::raid
