// SPDX-License-Identifier: Apache-2.0
// Limiter: the rates that one object (a volume, a host disk) may have, shared by all reactors.
//
// Each limited rate is a line of time: what is charged to it moves its end on by as long as that
// takes at this rate, and may begin where the end was. So a limit is exact over time whoever
// charges, a large request is neither refused for ever nor free, and reactors that compete take
// turns without a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "core/units.h"
#include "services/qos/rates.h"
#include "services/qos/time_line.h"

namespace remora::services::qos {

/// Which of the rates count: reads go by read_* and all_*, the others by write_* and all_*.
enum class Way : std::uint8_t { Read, Write };

struct Amount {
    std::uint64_t ops = 0;
    std::uint64_t bytes = 0;
};

class Limiter {
  public:
    static constexpr Nanos kCredit = TimeLine::kCredit;

    /// New rates, without debts or credit from before. One thread at a time.
    void set(const Rates& rates);
    [[nodiscard]] bool is_limited(Way way) const {
        return (limited_.load(std::memory_order_relaxed) & bit(way)) != 0;
    }
    [[nodiscard]] bool is_limited() const { return limited_.load(std::memory_order_relaxed) != 0; }
    /// How long the slowest of the way's rates takes for so much.
    [[nodiscard]] Nanos time_of(Way way, const Amount& amount) const;
    /// Charges it and returns when it may begin, which may be in the past. Any reactor.
    Nanos reserve(Way way, const Amount& amount, Nanos now);

  private:
    struct Line {
        std::atomic<std::uint64_t> per_second{0};  ///< 0: no limit
        TimeLine time;
    };
    enum Index : std::uint8_t { ReadOps, WriteOps, AllOps, ReadBytes, WriteBytes, AllBytes };
    static constexpr std::size_t kLines = 6;
    /// Those that count for a way: for operations first, then for bytes.
    static std::array<Index, 4> lines_of(Way way);
    static Nanos charge(Line& line, std::uint64_t amount, Nanos now);

    static constexpr unsigned bit(Way way) { return 1U << static_cast<unsigned>(way); }

    std::atomic<unsigned> limited_{0};  // ways; what every batch looks at
    std::array<Line, kLines> lines_;
};

}  // namespace remora::services::qos
