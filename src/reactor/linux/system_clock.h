// SPDX-License-Identifier: Apache-2.0
// The machine's monotonic clock.
#pragma once

#include <ctime>

#include "reactor/clock.h"

namespace remora::reactor {

class SystemClock final : public Clock {
  public:
    Nanos now() override {
        timespec time{};
        clock_gettime(CLOCK_MONOTONIC, &time);
        return std::chrono::seconds(time.tv_sec) + Nanos(time.tv_nsec);
    }
};

}  // namespace remora::reactor
