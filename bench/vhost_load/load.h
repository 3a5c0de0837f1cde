// SPDX-License-Identifier: Apache-2.0
// The load: a front end and a virtio-blk driver in this process, one thread for all queues, a fixed
// number of requests in flight on each. The thread may be the one of the device's own reactor,
// which then takes the driver's steps between its turns: so a chain that keeps every core busy is
// measured without a core for the driver, at the price of the driver's time.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "core/histogram.h"
#include "core/result.h"
#include "reactor/reactor.h"

namespace remora::bench {

struct LoadOptions {
    std::string path;
    std::uint32_t queues = 1;
    std::uint32_t depth = 32;      ///< Requests in flight on each queue.
    std::uint32_t bytes = 4096;    ///< Of one request.
    std::uint32_t queue_size = 0;  ///< 0: the smallest that holds the depth, at least 128.
    bool write = false;
    bool interrupts = false;  ///< Wait for the device's signal instead of looking.
    bool indirect = false;    ///< One descriptor a request, and a table beside it.
    bool event_index = true;
    bool packed = false;  ///< Packed rings; else split ones.
    bool inflight = true;
    reactor::Reactor* rides = nullptr;  ///< The device's, when it takes the driver's steps.
    std::chrono::duration<double> time{5};
};

struct LoadResult {
    std::uint64_t operations = 0;
    std::uint64_t errors = 0;
    std::uint64_t batches = 0;     ///< Looks at a used ring that found something.
    std::uint64_t batch_max = 0;   ///< Most found in one look.
    std::uint64_t kicks = 0;       ///< Signals to the device.
    std::uint64_t interrupts = 0;  ///< Signals from the device.
    std::chrono::duration<double> elapsed{};
    core::Histogram latency_ns;
    bool inflight = false;  ///< The device tracked requests in flight.
};

/// Connects, runs for the time, and lets the last requests come back. Errors: InvalidArgument for
/// options that do not fit each other; Unavailable for a device that cannot be reached or stops
/// answering.
core::Result<LoadResult> run_load(const LoadOptions& options);

}  // namespace remora::bench
