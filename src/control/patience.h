// SPDX-License-Identifier: Apache-2.0
// Patience: waits a little for what a killed predecessor still holds. The kernel takes down the
// rings of a dead process behind its end (io_uring's deferred exit), and what they watched, such as
// a listening socket, is closed only then: some milliseconds later, on a busy machine more.
// Control reactor only.
#pragma once

#include <algorithm>
#include <chrono>

#include "core/result.h"
#include "core/units.h"
#include "reactor/call.h"
#include "reactor/reactor.h"

namespace remora::control {

class Patience {
  public:
    /// One budget for all that is waited for with it.
    explicit Patience(core::Nanos limit) : until_(reactor::Reactor::current().now() + limit) {}

    /// True after a pause, when `error` may go by itself (something else has the place) and the
    /// budget is not used up: try again.
    reactor::Task<bool> again(const core::Error& error) {
        const core::Nanos now = reactor::Reactor::current().now();
        if (error.kind != core::ErrorKind::FailedPrecondition || now >= until_) {
            co_return false;
        }
        co_await reactor::sleep_for(std::min(pause_, until_ - now));
        pause_ = std::min(2 * pause_, kLongest);
        co_return true;
    }

  private:
    static constexpr core::Nanos kLongest = std::chrono::milliseconds(200);

    core::Nanos until_;
    core::Nanos pause_ = std::chrono::milliseconds(5);
};

}  // namespace remora::control
