// SPDX-License-Identifier: Apache-2.0
// The load: a vfio-user client and an NVMe driver in this process, one thread for all queues, a
// fixed number of commands in flight on each.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "core/histogram.h"
#include "core/result.h"

namespace remora::bench {

struct LoadOptions {
    std::string path;
    std::uint32_t queues = 1;
    std::uint32_t depth = 32;    ///< Commands in flight on each queue.
    std::uint32_t bytes = 4096;  ///< Of one command.
    std::uint32_t nsid = 1;
    bool write = false;
    bool interrupts = false;    ///< Wait for the controller's signal instead of looking.
    bool map_doorbells = true;  ///< Else each doorbell is a message.
    bool shadow = false;        ///< Shadow doorbells.
    std::chrono::duration<double> time{5};
};

struct LoadResult {
    std::uint64_t operations = 0;
    std::uint64_t errors = 0;
    std::uint64_t batches = 0;     ///< Looks at a completion queue that found something.
    std::uint64_t batch_max = 0;   ///< Most found in one look.
    std::uint64_t interrupts = 0;  ///< Signals from the controller.
    std::chrono::duration<double> elapsed{};
    core::Histogram latency_ns;
    bool doorbells_mapped = false;
};

/// Connects, runs for the time, and lets the last commands come back. Errors: InvalidArgument for
/// options that do not fit each other; Unavailable for a controller that cannot be reached or stops
/// answering.
core::Result<LoadResult> run_load(const LoadOptions& options);

}  // namespace remora::bench
