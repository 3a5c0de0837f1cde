// SPDX-License-Identifier: Apache-2.0
// LogLimiter: how often one message may be logged. Guests and peers can have some messages repeated
// as often as they like; what they fill is everybody's disk. Any thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "core/units.h"

namespace remora::core {

class LogLimiter {
  public:
    /// Of one message: so many at once, and so many a second in the long run.
    static constexpr std::int64_t kBurst = 1000;
    static constexpr std::int64_t kPerSecond = 5;

    /// Whether `message` may be logged at `now`; then how many of it were left out before. Messages
    /// are the program's own texts, so there are few.
    std::optional<std::uint64_t> admit(std::string_view message, Nanos now) {
        const std::lock_guard lock(mutex_);
        auto at = buckets_.find(message);
        if (at == buckets_.end()) {
            at =
                buckets_.emplace(std::string(message), Bucket{.full_at = now, .left_out = 0}).first;
        }
        Bucket& bucket = at->second;
        // Each line moves the time at which the bucket is full again.
        const Nanos full_at = std::max(bucket.full_at, now) + kCost;
        if (full_at - now > kBurst * kCost) {
            ++bucket.left_out;
            return std::nullopt;
        }
        bucket.full_at = full_at;
        return std::exchange(bucket.left_out, 0);
    }

  private:
    static constexpr Nanos kCost{1'000'000'000 / kPerSecond};
    struct Bucket {
        Nanos full_at;
        std::uint64_t left_out;
    };

    std::mutex mutex_;
    std::map<std::string, Bucket, std::less<>> buckets_;
};

}  // namespace remora::core
