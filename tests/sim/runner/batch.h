// SPDX-License-Identifier: Apache-2.0
// Batch: runs seeds, each in a process of its own: a crash costs that seed alone, and what dead
// simulated processes leave behind goes with it.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/site/run.h"

namespace remora::sim {

/// What became of one seed.
struct SeedOutcome {
    std::uint64_t seed = 0;
    std::string failure;  ///< Empty: well.
    Focus focus = Focus::Mixed;
    std::uint64_t trace_hash = 0;
    std::uint64_t events = 0;
    std::uint64_t operations = 0;
    core::Nanos simulated{};
    std::vector<Fault> struck;
};

/// How often each mark of the code was reached, over all seeds so far; in the order of
/// core::probe::marks().
std::vector<std::uint64_t> mark_counts();

/// Which seeds, in what order: nothing when there are no more.
using SeedSource = std::function<std::optional<std::uint64_t>()>;

/// Runs up to `jobs` at a time; `done` hears of each as it ends.
void run_batch(const RunOptions& options,
               unsigned jobs,
               const SeedSource& next,
               const std::function<void(const SeedOutcome&)>& done);

/// One seed in a process of its own.
SeedOutcome run_apart(const RunOptions& options);

/// The faults that are needed for the failure: each other one can be switched off. Tries each once.
std::vector<Fault> shrink(const RunOptions& options, const SeedOutcome& failed);

}  // namespace remora::sim
