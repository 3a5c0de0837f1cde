// SPDX-License-Identifier: Apache-2.0
// Machine: a simulated computer: an address on the network, a disk that outlives its processes, a
// monotonic clock with a speed of its own that can leap.
#pragma once

#include <string>
#include <utility>

#include "core/units.h"
#include "reactor/clock.h"
#include "tests/sim/world/disk.h"

namespace remora::sim {

using core::Nanos;

/// Local time of a machine: the world's time at another speed, and with leaps.
class MachineClock final : public reactor::Clock {
  public:
    explicit MachineClock(const Nanos& world) : world_(world) {}
    Nanos now() override { return local(world_); }

    /// Parts per thousand faster than the world. Before anything runs.
    void set_rate(std::int64_t permille) { permille_ = permille; }
    void leap(Nanos by) { offset_ += by; }
    [[nodiscard]] Nanos local(Nanos world) const {
        return world + world / kThousand * permille_ + offset_;
    }
    /// When the world's time is that this clock shows at least `local`.
    [[nodiscard]] Nanos world_at(Nanos local) const {
        if (local == core::kNever) {
            return core::kNever;
        }
        const Nanos shown = local - offset_;
        return shown / (kThousand + permille_) * kThousand + Nanos{kThousand * 2};
    }

  private:
    static constexpr std::int64_t kThousand = 1000;
    const Nanos& world_;
    std::int64_t permille_ = 0;
    Nanos offset_{};
};

struct Machine {
    Machine(std::string name_in, std::string address_in, const Nanos& now)
        : name(std::move(name_in)), address(std::move(address_in)), clock(now) {}
    std::string name;
    std::string address;  ///< The one IPv4 address it has.
    MachineClock clock;
    Disk disk;
    bool powered = true;
    Nanos last_upset{};  ///< A process of it died or started, or its clock leapt.
};

}  // namespace remora::sim
