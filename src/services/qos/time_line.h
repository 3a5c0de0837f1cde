// SPDX-License-Identifier: Apache-2.0
// TimeLine: time of something that one thing at a time can have, sold in pieces, one behind the
// other (the virtual scheduling form of the generic cell rate algorithm, ITU-T I.371). Whoever buys
// learns when its piece begins, and waits for that by itself; so those that compete take turns
// without a lock, a queue or a timer of the line's. Any reactor.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "core/units.h"

namespace remora::services::qos {

using core::Nanos;

class TimeLine {
  public:
    /// What was not used is kept for so long: makes up for late turns, and is all of the burst that
    /// an idle object is allowed. 0.2 % of three seconds.
    static constexpr Nanos kCredit = std::chrono::milliseconds(5);

    /// Forgets debts and credit.
    void clear() { end_.store(0, std::memory_order_relaxed); }

    /// Sells `takes` and says when it begins: behind what was sold, not before `now` less the
    /// credit, and not after `latest`, which is then where the next piece follows on.
    Nanos sell(Nanos takes, Nanos now, Nanos latest = core::kNever) {
        const std::int64_t earliest = (now - kCredit).count();
        std::int64_t end = end_.load(std::memory_order_relaxed);
        std::int64_t start = 0;
        do {
            start = std::min(std::max(end, earliest), latest.count());
        } while (
            !end_.compare_exchange_weak(end, start + takes.count(), std::memory_order_relaxed));
        return Nanos(start);
    }

  private:
    std::atomic<std::int64_t> end_{0};  // nanoseconds
};

}  // namespace remora::services::qos
