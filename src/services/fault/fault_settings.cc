// SPDX-License-Identifier: Apache-2.0
#include "services/fault/fault_settings.h"

#include <algorithm>
#include <string>

namespace remora::services::fault {

namespace {

using block::Opcode;
using block::Status;

std::unexpected<core::Error> refuse(const std::string& field, const std::string& what) {
    return core::fail(core::ErrorKind::InvalidArgument, field + " " + what);
}

/// What both kinds of rules have.
template <typename Rule>
core::Result<void> check_common(const std::string& rule, const Rule& checked) {
    if (!checked.on.any()) {
        return refuse(rule + ".on",
                      "names no operation: set at least one of read, write, flush and unmap");
    }
    if (checked.block_count > ~std::uint64_t{0} - checked.first_lba) {
        return refuse(rule + ".block_count",
                      "goes past any volume's end from first_lba on: use a smaller one, or 0 for "
                      "all to the end");
    }
    // Written so that what is no number fails, too.
    if (!(checked.probability > 0.0 && checked.probability <= 1.0)) {
        return refuse(rule + ".probability",
                      "is " + std::to_string(checked.probability) +
                          ": it has to be above 0 and at most 1; 1 hits always");
    }
    return {};
}

core::Result<void> check_error(const std::string& rule, const ErrorRule& checked) {
    if (auto common = check_common(rule, checked); !common) {
        return common;
    }
    if (checked.status == Status::Ok || checked.status > Status::DataCorrupt) {
        return refuse(rule + ".status", "is no failure: name the error that hosts are to see");
    }
    return {};
}

core::Result<void> check_delay(const std::string& rule, const DelayRule& checked) {
    if (auto common = check_common(rule, checked); !common) {
        return common;
    }
    if (checked.mean <= Nanos{0} || checked.mean > FaultSettings::kMostDelay) {
        return refuse(rule + ".mean", "has to be above 0 and at most 60 s");
    }
    using enum DelayRule::Distribution;
    if (checked.distribution > Normal) {
        return refuse(rule + ".distribution",
                      "is none: use constant, uniform, exponential or normal");
    }
    const bool spreads = checked.distribution == Uniform || checked.distribution == Normal;
    if (!spreads && checked.spread != Nanos{0}) {
        return refuse(rule + ".spread",
                      "is only for uniform and normal delays: set it to 0, or choose one of these");
    }
    if (checked.spread < Nanos{0} || checked.spread > checked.mean) {
        return refuse(rule + ".spread", "has to be at least 0 and at most the mean");
    }
    return {};
}

template <typename Rule, typename Check>
core::Result<void> check_each(const std::string& field,
                              const std::vector<Rule>& rules,
                              const Check& check) {
    if (rules.size() > FaultSettings::kMostRules) {
        return refuse(field, "has " + std::to_string(rules.size()) + " rules: use at most " +
                                 std::to_string(FaultSettings::kMostRules));
    }
    for (std::size_t i = 0; i < rules.size(); ++i) {
        if (auto valid = check(field + "[" + std::to_string(i) + "]", rules[i]); !valid) {
            return valid;
        }
    }
    return {};
}

void add_each(std::vector<std::uint64_t>& to, const std::vector<std::uint64_t>& from) {
    to.resize(std::max(to.size(), from.size()));
    for (std::size_t i = 0; i < from.size(); ++i) {
        to[i] += from[i];
    }
}

}  // namespace

bool OperationSet::has(Opcode opcode) const {
    switch (opcode) {
        case Opcode::Read:
            return read;
        case Opcode::Write:
            return write;
        case Opcode::Flush:
            return flush;
        case Opcode::WriteZeroes:
        case Opcode::Discard:
            return unmap;
    }
    return false;
}

void FaultCounts::add(const FaultCounts& other) {
    errors += other.errors;
    delayed += other.delayed;
    delayed_ns += other.delayed_ns;
    add_each(error_hits, other.error_hits);
    add_each(delay_hits, other.delay_hits);
}

core::Result<void> check_settings(const FaultSettings& settings) {
    if (auto errors = check_each("errors", settings.errors, check_error); !errors) {
        return errors;
    }
    return check_each("delays", settings.delays, check_delay);
}

}  // namespace remora::services::fault
