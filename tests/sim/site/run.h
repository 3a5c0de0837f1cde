// SPDX-License-Identifier: Apache-2.0
// Run: one seed from the first turn to the last check.
//
//   provision ─► faults ─► calm: converge ─► verify every block ─► detach ─► stop: nothing is left
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/site/plan.h"
#include "tests/sim/world/faults.h"

namespace remora::sim {

struct RunOptions {
    std::uint64_t seed = 0;
    std::optional<Focus> focus;  ///< The seed's own choice when there is none.
    std::vector<Fault> without;  ///< Never in this run.
    std::FILE* trace = nullptr;  ///< Prints every line there.
};

struct RunResult {
    std::string failure;  ///< Empty: all is well.
    Focus focus = Focus::Mixed;
    std::uint64_t trace_hash = 0;
    std::uint64_t events = 0;
    std::uint64_t operations = 0;  ///< That guests have begun.
    core::Nanos simulated{};
    std::vector<Fault> struck;  ///< What really happened.
};

/// Once per process: what it made is never taken apart.
RunResult run_seed(const RunOptions& options);

}  // namespace remora::sim
