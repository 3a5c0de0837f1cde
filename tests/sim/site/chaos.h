// SPDX-License-Identifier: Apache-2.0
// Chaos: the faults that come at a time rather than at a call: deaths, power cuts, partitions,
// leaping clocks. Planned over the run's duration from the seed.
#pragma once

#include "tests/sim/site/site.h"

namespace remora::sim {

class Chaos {
  public:
    explicit Chaos(Site& site) : site_(site), prng_(site.world().fork_prng()) {}
    /// Plans everything between now and the end of the plan's duration.
    void start();

  private:
    template <typename F>
    void plan(Fault fault, std::uint64_t most, F strike);
    void partition();
    void plan_host_faults();

    Site& site_;
    core::Prng prng_;
};

}  // namespace remora::sim
