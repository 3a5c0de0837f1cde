// SPDX-License-Identifier: Apache-2.0
// FaultSettings: which requests of a volume are failed and which are held up, on purpose, so that
// whoever uses the volume can be watched under a medium that fails or is slow. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "block/request.h"
#include "block/status.h"
#include "core/result.h"
#include "core/units.h"

namespace remora::services::fault {

using core::Nanos;

struct OperationSet {
    bool read = false;
    bool write = false;
    bool flush = false;
    bool unmap = false;  ///< Discard and write-zeroes.

    [[nodiscard]] bool any() const { return read || write || flush || unmap; }
    [[nodiscard]] bool has(block::Opcode opcode) const;
    bool operator==(const OperationSet&) const = default;
};

/// Fails requests of some kinds that touch a range, now and then or always. A flush has no range:
/// a rule that is on flushes is on all of them.
struct ErrorRule {
    OperationSet on;
    std::uint64_t first_lba = 0;    ///< In blocks of the volume, as the next.
    std::uint64_t block_count = 0;  ///< 0: to the end, wherever that is.
    double probability = 1.0;       ///< Above 0, at most 1.
    std::uint64_t count = 0;        ///< So many times in all, over all reactors; 0: no end.
    block::Status status = block::Status::IoError;

    bool operator==(const ErrorRule&) const = default;
};

/// Holds requests up on their way down, for a time that is drawn for each. The same rules of range.
struct DelayRule {
    enum class Distribution : std::uint8_t {
        Constant,     ///< The mean, always.
        Uniform,      ///< Between mean - spread and mean + spread.
        Exponential,  ///< With this mean; cut at ten means.
        Normal,       ///< Spread is the standard deviation; cut at 0 and at mean + 4 spread.
    };
    OperationSet on;
    std::uint64_t first_lba = 0;
    std::uint64_t block_count = 0;
    double probability = 1.0;
    Distribution distribution = Distribution::Constant;
    Nanos mean{};    ///< Above 0, at most kMostDelay.
    Nanos spread{};  ///< At most the mean; 0 for constant and exponential delays.

    bool operator==(const DelayRule&) const = default;
};

struct FaultSettings {
    static constexpr std::size_t kMostRules = 16;  ///< Of each kind.
    /// What still ends before hosts and paths give up for good, at an exponential delay's cut.
    static constexpr Nanos kMostDelay = std::chrono::seconds(60);

    std::vector<ErrorRule> errors;  ///< The first that hits decides the status.
    std::vector<DelayRule> delays;  ///< Of all that hit, the times add up. An error waits, too.
    std::uint64_t seed = 0;         ///< Of all draws, reactor by reactor; 0: any.

    [[nodiscard]] bool empty() const { return errors.empty() && delays.empty(); }
    bool operator==(const FaultSettings&) const = default;
};

/// What was done since the settings were last set, on all reactors together.
struct FaultCounts {
    std::uint64_t errors = 0;      ///< Requests that were failed.
    std::uint64_t delayed = 0;     ///< Requests that were held up.
    std::uint64_t delayed_ns = 0;  ///< How long, in all.
    /// Hits of each rule, in the order of the settings. One request may hit several delay rules.
    std::vector<std::uint64_t> error_hits;
    std::vector<std::uint64_t> delay_hits;

    void add(const FaultCounts& other);
    bool operator==(const FaultCounts&) const = default;
};

/// Whether they can be obeyed. Errors: InvalidArgument, which names the field and what would be
/// right. Total: for any bytes in the structs.
core::Result<void> check_settings(const FaultSettings& settings);

}  // namespace remora::services::fault
