// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/faults.h"

namespace remora::sim {

namespace {

constexpr std::array<std::string_view, kFaultCount> kNames{
    "delay",          "split",          "half-close", "reset",        "partition",
    "refuse-connect", "slow-connect",   "bit-flip",   "disk-error",   "disk-slow",
    "disk-full",      "flush-error",    "power-loss", "kill-target",  "kill-ipu",
    "kill-in-call",   "kill-host",      "stop",       "reboot",       "drop-vhost",
    "small-pool",     "stall",          "early-wake", "clock-jump",   "clock-rate",
    "churn",          "namespace-gone", "lost-call",  "host-trouble", "hostile-guest",
    "small-limits",   "unlucky",        "ana-change", "linger",       "member-loss",
    "rekey",          "throttle",       "inject",
};

}  // namespace

std::string_view to_string(Fault fault) {
    return kNames[static_cast<std::size_t>(fault)];
}

std::optional<Fault> parse_fault(std::string_view text) {
    for (std::size_t i = 0; i < kFaultCount; ++i) {
        if (kNames[i] == text) {
            return static_cast<Fault>(i);
        }
    }
    return std::nullopt;
}

Faults::Faults(core::Prng prng, const core::Nanos& now) : now_(now) {
    // One run in eight is calm; the others have each kind with a chance of their own, so that there
    // are runs with two kinds and runs with twenty.
    const bool calm = prng.below(8) == 0;
    const std::uint64_t percent = 8 + prng.below(50);
    for (Kind& kind : kinds_) {
        kind.prng = prng.fork();
        const bool drawn = prng.below(100) < percent;
        kind.on = drawn && !calm;
    }
}

bool Faults::strikes(Fault fault, std::uint64_t one_in) {
    Kind& kind = at(fault);
    const bool hit = kind.prng.below(one_in) == 0;
    if (!hit || !kind.on || stopped_) {
        return false;
    }
    ++kind.struck;
    kind.last = now_;
    return true;
}

}  // namespace remora::sim
