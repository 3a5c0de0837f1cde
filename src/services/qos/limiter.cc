// SPDX-License-Identifier: Apache-2.0
#include "services/qos/limiter.h"

#include <algorithm>

namespace remora::services::qos {

namespace {

std::int64_t nanos_for(std::uint64_t amount, std::uint64_t per_second) {
    constexpr double kNanosPerSecond = 1e9;
    // An hour at most, whatever the numbers: no sum of them overflows.
    constexpr double kMost = 3600 * kNanosPerSecond;
    const double nanos =
        static_cast<double>(amount) * kNanosPerSecond / static_cast<double>(per_second);
    return static_cast<std::int64_t>(std::min(nanos, kMost));
}

std::uint64_t part_of(const Amount& amount, std::size_t i) {
    return i < 2 ? amount.ops : amount.bytes;
}

}  // namespace

std::array<Limiter::Index, 4> Limiter::lines_of(Way way) {
    return way == Way::Read ? std::array{ReadOps, AllOps, ReadBytes, AllBytes}
                            : std::array{WriteOps, AllOps, WriteBytes, AllBytes};
}

void Limiter::set(const Rates& rates) {
    const std::array<std::uint64_t, kLines> wanted{rates.read_ops,    rates.write_ops,
                                                   rates.all_ops,     rates.read_bytes,
                                                   rates.write_bytes, rates.all_bytes};
    for (std::size_t i = 0; i < kLines; ++i) {
        lines_[i].time.clear();
        lines_[i].per_second.store(wanted[i], std::memory_order_relaxed);
    }
    unsigned limited = 0;
    for (const Way way : {Way::Read, Way::Write}) {
        const bool any = std::ranges::any_of(lines_of(way),
                                             [&wanted](Index index) { return wanted[index] != 0; });
        limited |= any ? bit(way) : 0U;
    }
    limited_.store(limited, std::memory_order_relaxed);
}

Nanos Limiter::time_of(Way way, const Amount& amount) const {
    std::int64_t longest = 0;
    const auto lines = lines_of(way);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const std::uint64_t rate = lines_[lines[i]].per_second.load(std::memory_order_relaxed);
        if (rate != 0) {
            longest = std::max(longest, nanos_for(part_of(amount, i), rate));
        }
    }
    return Nanos(longest);
}

Nanos Limiter::reserve(Way way, const Amount& amount, Nanos now) {
    Nanos start = now - kCredit;
    const auto lines = lines_of(way);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        start = std::max(start, charge(lines_[lines[i]], part_of(amount, i), now));
    }
    return start;
}

Nanos Limiter::charge(Line& line, std::uint64_t amount, Nanos now) {
    const std::uint64_t rate = line.per_second.load(std::memory_order_relaxed);
    if (rate == 0 || amount == 0) {
        return now - kCredit;
    }
    return line.time.sell(Nanos(nanos_for(amount, rate)), now);
}

}  // namespace remora::services::qos
