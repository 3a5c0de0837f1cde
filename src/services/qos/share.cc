// SPDX-License-Identifier: Apache-2.0
#include "services/qos/share.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace remora::services::qos {

namespace {

constexpr double kNanosPerSecond = 1e9;
/// A turn has room for so many requests of this size, or lasts as long as this.
constexpr double kTurnRequests = 64;
constexpr double kTurnBytes = 64 * 65536.0;
constexpr double kShortestTurn = 1e6;
constexpr double kLongestTurn = 50e6;
/// An hour: no sum of a few overflows.
constexpr double kMostNanos = 3600 * kNanosPerSecond;

double ratio(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

double nanos_each(std::uint64_t per_second) {
    return per_second == 0 ? 0 : kNanosPerSecond / static_cast<double>(per_second);
}

Nanos bounded(double nanos) {
    return Nanos(static_cast<std::int64_t>(std::min(nanos, kMostNanos)));
}

}  // namespace

Parts parts_of(const Rates& least, const Capacity& capacity) {
    return {
        .read =
            std::max(ratio(least.read_ops, capacity.ops), ratio(least.read_bytes, capacity.bytes)),
        .write = std::max(ratio(least.write_ops, capacity.ops),
                          ratio(least.write_bytes, capacity.bytes)),
        .all = std::max(ratio(least.all_ops, capacity.ops), ratio(least.all_bytes, capacity.bytes)),
    };
}

void Pool::set(const Capacity& capacity) {
    CHECK(capacity != Capacity{});
    capacity_ = capacity;
    const double op = nanos_each(capacity.ops);
    const double byte = nanos_each(capacity.bytes);
    nanos_per_op_.store(op, std::memory_order_relaxed);
    nanos_per_byte_.store(byte, std::memory_order_relaxed);
    const double turn = std::max(kTurnRequests * op, kTurnBytes * byte);
    turn_.store(static_cast<std::int64_t>(std::clamp(turn, kShortestTurn, kLongestTurn)),
                std::memory_order_relaxed);
    line_.clear();
}

Nanos Pool::time_of(std::uint64_t bytes) const {
    const double by_bytes =
        static_cast<double>(bytes) * nanos_per_byte_.load(std::memory_order_relaxed);
    return bounded(std::max(nanos_per_op_.load(std::memory_order_relaxed), by_bytes));
}

void Share::set(Pool* pool, const Parts& parts) {
    for (const auto& [claim, part] :
         {std::pair{&read_, parts.read}, {&write_, parts.write}, {&all_, parts.all}}) {
        claim->line.clear();
        claim->part.store(part, std::memory_order_relaxed);
    }
    weight_.store(std::max(parts.sum(), kLeastWeight), std::memory_order_relaxed);
    pool_.store(pool, std::memory_order_relaxed);
}

Nanos Share::bundle_time(const Pool& pool) const {
    const int lanes = std::max(waiting_.load(std::memory_order_relaxed), 1);
    const double turn = static_cast<double>(pool.turn().count());
    return bounded(turn * weight_.load(std::memory_order_relaxed) / lanes);
}

Nanos Share::claim(Claim& from, Nanos takes, Nanos now, Nanos latest) {
    const double part = from.part.load(std::memory_order_relaxed);
    if (part <= 0) {
        return latest;
    }
    return from.line.sell(bounded(static_cast<double>(takes.count()) / part), now, latest);
}

Nanos Share::reserve(Pool& pool, Way way, Nanos takes, Nanos now) {
    const Nanos turn = pool.line().sell(takes, now);
    const Nanos own = claim(way == Way::Read ? read_ : write_, takes, now, turn);
    return claim(all_, takes, now, own);
}

}  // namespace remora::services::qos
