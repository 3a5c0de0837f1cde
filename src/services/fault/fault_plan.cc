// SPDX-License-Identifier: Apache-2.0
#include "services/fault/fault_plan.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "core/probe.h"

namespace remora::services::fault {

namespace {

using block::Opcode;
using block::Request;

constexpr Opcode kOpcodes[] = {Opcode::Read, Opcode::Write, Opcode::Flush, Opcode::WriteZeroes,
                               Opcode::Discard};

std::uint8_t bit(Opcode opcode) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(opcode));
}

/// In (0, 1], so that it has a logarithm.
double draw_unit(core::Prng& prng) {
    constexpr unsigned kUnused = 11;  // a double has 53 bits
    constexpr double kStep = 0x1p-53;
    return static_cast<double>((prng.next() >> kUnused) + 1) * kStep;
}

/// With mean 0 and deviation 1 (Box and Muller's way, one of its two numbers).
double draw_normal(core::Prng& prng) {
    const double radius = std::sqrt(-2.0 * std::log(draw_unit(prng)));
    return radius * std::cos(2.0 * std::numbers::pi * draw_unit(prng));
}

Nanos nanos(double value, double most) {
    return Nanos(static_cast<std::int64_t>(std::clamp(value, 0.0, most)));
}

}  // namespace

Nanos draw_delay(const DelayRule& rule, core::Prng& prng) {
    constexpr double kExponentialCut = 10.0;
    constexpr double kNormalCut = 4.0;
    const auto mean = static_cast<double>(rule.mean.count());
    const auto spread = static_cast<double>(rule.spread.count());
    switch (rule.distribution) {
        case DelayRule::Distribution::Constant:
            return rule.mean;
        case DelayRule::Distribution::Uniform: {
            const auto width = static_cast<std::uint64_t>(rule.spread.count()) * 2 + 1;
            return rule.mean - rule.spread + Nanos(static_cast<std::int64_t>(prng.below(width)));
        }
        case DelayRule::Distribution::Exponential:
            return nanos(-std::log(draw_unit(prng)) * mean, kExponentialCut * mean);
        case DelayRule::Distribution::Normal:
            return nanos(mean + draw_normal(prng) * spread, mean + kNormalCut * spread);
    }
    return {};
}

bool FaultPlan::Target::covers(const Request& request) const {
    if ((opcodes & bit(request.opcode)) == 0) {
        return false;
    }
    // No sum, since nobody has looked at the range yet.
    const bool overlaps =
        request.lba <= last && (request.lba >= first || first - request.lba < request.block_count);
    return overlaps || request.opcode == Opcode::Flush;
}

void FaultPlan::Target::widen(const Target& other) {
    opcodes |= other.opcodes;
    first = std::min(first, other.first);
    last = std::max(last, other.last);
}

bool FaultPlan::Odds::hit(core::Prng& prng) const {
    return below == 0 || prng.next() < below;
}

template <typename Rule>
FaultPlan::Target FaultPlan::target_of(const Rule& rule) {
    Target target;
    for (const Opcode opcode : kOpcodes) {
        target.opcodes |= rule.on.has(opcode) ? bit(opcode) : std::uint8_t{0};
    }
    target.first = rule.first_lba;
    target.last =
        rule.block_count == 0 ? ~std::uint64_t{0} : rule.first_lba + (rule.block_count - 1);
    return target;
}

FaultPlan::Odds FaultPlan::odds_of(double probability) {
    // The least that can be drawn at all is once in 2^64.
    return {probability >= 1.0
                ? 0
                : std::max<std::uint64_t>(1, static_cast<std::uint64_t>(probability * 0x1p64))};
}

FaultPlan::FaultPlan(const FaultSettings& settings) : seed_(settings.seed) {
    for (const ErrorRule& rule : settings.errors) {
        left_[errors_.size()].store(rule.count, std::memory_order_relaxed);
        errors_.push_back(
            {target_of(rule), odds_of(rule.probability), rule.status, rule.count != 0});
        any_.widen(errors_.back().target);
    }
    for (const DelayRule& rule : settings.delays) {
        delays_.push_back({target_of(rule), odds_of(rule.probability), rule});
        any_.widen(delays_.back().target);
    }
}

bool FaultPlan::may_hit(const block::RequestBatch& batch) const {
    if (empty()) {
        return false;
    }
    for (const Request* request = batch.front(); request != nullptr;
         request = batch.next(*request)) {
        if (any_.covers(*request)) {
            return true;
        }
    }
    return false;
}

bool FaultPlan::take(std::size_t error) {
    if (!errors_[error].counted) {
        return true;
    }
    std::uint64_t left = left_[error].load(std::memory_order_relaxed);
    while (left != 0) {
        if (left_[error].compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) {
            return true;
        }
        REMORA_COVER("two reactors take of one fault's count");
    }
    return false;
}

Verdict FaultPlan::draw(const Request& request, core::Prng& prng, Tally& tally) {
    Verdict verdict;
    for (std::size_t i = 0; i < errors_.size(); ++i) {
        const Error& error = errors_[i];
        if (error.target.covers(request) && error.odds.hit(prng) && take(i)) {
            ++tally.errors[i];
            verdict.status = error.status;
            break;
        }
    }
    for (std::size_t i = 0; i < delays_.size(); ++i) {
        const Delay& delay = delays_[i];
        if (delay.target.covers(request) && delay.odds.hit(prng)) {
            ++tally.delays[i];
            verdict.delayed = true;
            verdict.delay += draw_delay(delay.rule, prng);
        }
    }
    return verdict;
}

}  // namespace remora::services::fault
