// SPDX-License-Identifier: Apache-2.0
#include "control/validate_fault.h"

#include <array>
#include <string>
#include <utility>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::fault::FaultSettings;
using services::fault::OperationSet;
namespace api = ::remora::v1;

namespace {

OperationSet operations_of(const api::FaultScope& scope) {
    OperationSet out;
    if (scope.operations().empty()) {
        return {true, true, true, true};
    }
    for (const int operation : scope.operations()) {
        switch (operation) {
            case api::FaultScope::OPERATION_READ:
                out.read = true;
                break;
            case api::FaultScope::OPERATION_WRITE:
                out.write = true;
                break;
            case api::FaultScope::OPERATION_FLUSH:
                out.flush = true;
                break;
            case api::FaultScope::OPERATION_UNMAP:
                out.unmap = true;
                break;
            default:
                break;  // names nothing: a rule of no operation is refused
        }
    }
    return out;
}

/// Both kinds of rules have these.
template <typename Rule>
Rule with_scope(const api::FaultScope& scope) {
    Rule rule;
    rule.on = operations_of(scope);
    rule.first_lba = scope.first_lba();
    rule.block_count = scope.block_count();
    rule.probability = scope.has_probability() ? scope.probability() : 1.0;
    return rule;
}

/// What the API's words mean; one that is not here means the first.
template <typename Asked, typename Meant, std::size_t N>
Meant meaning_of(const std::array<std::pair<Asked, Meant>, N>& words, Asked asked) {
    for (const auto& [word, meaning] : words) {
        if (word == asked) {
            return meaning;
        }
    }
    return words.front().second;
}

constexpr std::array kErrors{
    std::pair{api::ErrorRule::ERROR_MEDIUM, block::Status::IoError},
    std::pair{api::ErrorRule::ERROR_NO_SPACE, block::Status::NoSpace},
    std::pair{api::ErrorRule::ERROR_PATH, block::Status::PathError},
    std::pair{api::ErrorRule::ERROR_DATA_CORRUPT, block::Status::DataCorrupt},
    std::pair{api::ErrorRule::ERROR_READ_ONLY, block::Status::ReadOnly}};

using Distribution = services::fault::DelayRule::Distribution;
constexpr std::array kDistributions{
    std::pair{api::DelayRule::DISTRIBUTION_CONSTANT, Distribution::Constant},
    std::pair{api::DelayRule::DISTRIBUTION_UNIFORM, Distribution::Uniform},
    std::pair{api::DelayRule::DISTRIBUTION_EXPONENTIAL, Distribution::Exponential},
    std::pair{api::DelayRule::DISTRIBUTION_NORMAL, Distribution::Normal}};

/// A client's numbers may be any.
Result<core::Nanos> read_duration(const std::string& field,
                                  const google::protobuf::Duration& asked) {
    constexpr std::int64_t kMostSeconds = 3600;
    constexpr std::int32_t kNanosPerSecond = 1'000'000'000;
    if (asked.seconds() < 0 || asked.seconds() > kMostSeconds || asked.nanos() < 0 ||
        asked.nanos() >= kNanosPerSecond) {
        return fail(ErrorKind::InvalidArgument,
                    field + ": give a time from 0 to a minute, such as \"0.005s\"");
    }
    return std::chrono::seconds(asked.seconds()) + std::chrono::nanoseconds(asked.nanos());
}

}  // namespace

Result<FaultSettings> read_faults(const api::FaultInjection& asked) {
    if (asked.errors().empty() && asked.delays().empty()) {
        return fail(ErrorKind::InvalidArgument,
                    "fault_injection: it does nothing; give it a rule in errors or delays");
    }
    FaultSettings out;
    out.seed = asked.seed();
    for (const api::ErrorRule& rule : asked.errors()) {
        auto& added = out.errors.emplace_back(with_scope<services::fault::ErrorRule>(rule.scope()));
        added.count = rule.count();
        added.status = meaning_of(kErrors, rule.error());
    }
    for (const api::DelayRule& rule : asked.delays()) {
        const std::string at = "fault_injection.delays[" + std::to_string(out.delays.size()) + "].";
        const auto mean = read_duration(at + "mean", rule.mean());
        const auto spread = read_duration(at + "spread", rule.spread());
        if (!mean || !spread) {
            return std::unexpected(mean ? spread.error() : mean.error());
        }
        auto& added = out.delays.emplace_back(with_scope<services::fault::DelayRule>(rule.scope()));
        added.distribution = meaning_of(kDistributions, rule.distribution());
        added.mean = *mean;
        added.spread = *spread;
    }
    if (auto valid = services::fault::check_settings(out); !valid) {
        return fail("fault_injection", valid.error());
    }
    return out;
}

}  // namespace remora::control
