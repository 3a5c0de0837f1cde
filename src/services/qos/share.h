// SPDX-License-Identifier: Apache-2.0
// Pool and Share: what volumes compete for, and what one of them has of it for sure.
//
// The resource is time of a back end: a declared capacity (operations and bytes a second) makes of
// each request the time that it takes there, the longer of the two. A Pool is one line of such
// time. A minimum rate is a part of it, a line of its own that runs so much slower:
//
//   request ─► takes t of the pool ─┬─► in its turn behind all others:   the pool's line + t
//                                   └─► or when its minimum says so:     own line + t / part
//                                              whichever is earlier
//
// Both lines are charged, so what goes by its minimum pushes the others back. While the parts sum
// up to less than one, each gets its part whenever it has demand, whatever the others do; what
// nobody claims is had in turns, whose length is in proportion to the parts (deficit round robin by
// time). Going ahead of the minimum makes no debt: the next piece is due a piece's time after this
// one (as a virtual clock that is set back). Nothing here waits, allocates or locks.
#pragma once

#include <atomic>
#include <cstdint>

#include "services/qos/limiter.h"
#include "services/qos/rates.h"
#include "services/qos/time_line.h"

namespace remora::services::qos {

/// Minimum rates as parts of a pool's time.
struct Parts {
    double read = 0;
    double write = 0;
    double all = 0;

    /// What they take of the pool together.
    [[nodiscard]] double sum() const { return std::max(all, read + write); }
    bool operator==(const Parts&) const = default;
};
/// Of a capacity that has what `least` asks for.
Parts parts_of(const Rates& least, const Capacity& capacity);

class Pool {
  public:
    /// More than that is promised to nobody: it keeps those without a minimum alive, and lets the
    /// pool catch up after a burst.
    static constexpr double kMostPromised = 0.9;

    /// Without debts or credit from before. One thread at a time; not zero.
    void set(const Capacity& capacity);
    [[nodiscard]] const Capacity& capacity() const { return capacity_; }  ///< The same thread.

    [[nodiscard]] Nanos time_of(std::uint64_t bytes) const;
    /// All turns together, when everybody wants one: long enough that the smallest part of a turn
    /// is a request.
    [[nodiscard]] Nanos turn() const { return Nanos(turn_.load(std::memory_order_relaxed)); }
    TimeLine& line() { return line_; }

  private:
    Capacity capacity_;
    std::atomic<double> nanos_per_op_{0};
    std::atomic<double> nanos_per_byte_{0};
    std::atomic<std::int64_t> turn_{0};
    TimeLine line_;
};

class Share {
  public:
    /// The least weight in the turns, and that of who has no minimum.
    static constexpr double kLeastWeight = 0.02;

    /// Null: it competes with nobody. One thread at a time; the pool before stays until all
    /// reactors have been shown the change.
    void set(Pool* pool, const Parts& parts);
    /// What it competes for; null: nothing.
    [[nodiscard]] Pool* pool() const { return pool_.load(std::memory_order_relaxed); }

    /// How much of the pool's time one of those that wait now should take at once.
    [[nodiscard]] Nanos bundle_time(const Pool& pool) const;
    /// Charges it and returns when it may begin, which may be in the past.
    Nanos reserve(Pool& pool, Way way, Nanos takes, Nanos now);
    /// A lane begins to wait (1) or does not any more (-1): turns are the share's, not each lane's.
    void count_waiting(int change) { waiting_.fetch_add(change, std::memory_order_relaxed); }

  private:
    struct Claim {
        std::atomic<double> part{0};
        TimeLine line;
    };
    static Nanos claim(Claim& from, Nanos takes, Nanos now, Nanos latest);

    std::atomic<Pool*> pool_{nullptr};
    std::atomic<double> weight_{kLeastWeight};
    std::atomic<int> waiting_{0};
    Claim read_;
    Claim write_;
    Claim all_;
};

}  // namespace remora::services::qos
