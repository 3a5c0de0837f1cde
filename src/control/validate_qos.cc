// SPDX-License-Identifier: Apache-2.0
#include "control/validate_qos.h"

#include <array>
#include <string>
#include <utility>

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using opi_api::storage::v1::QosLimit;
using services::qos::Rates;

namespace {

constexpr std::int64_t kOpsUnit = 1000;
constexpr std::int64_t kBytesUnit = std::int64_t{1} << 20;
/// A thousand times what the fastest device does; no product of it overflows.
constexpr std::int64_t kMost = 10'000'000;

struct Rule {
    const char* name;
    std::int64_t (QosLimit::*get)() const;
    std::int64_t unit;
    std::uint64_t Rates::* rate;
};
constexpr std::array kRules{
    Rule{"rd_iops_kiops", &QosLimit::rd_iops_kiops, kOpsUnit, &Rates::read_ops},
    Rule{"wr_iops_kiops", &QosLimit::wr_iops_kiops, kOpsUnit, &Rates::write_ops},
    Rule{"rw_iops_kiops", &QosLimit::rw_iops_kiops, kOpsUnit, &Rates::all_ops},
    Rule{"rd_bandwidth_mbs", &QosLimit::rd_bandwidth_mbs, kBytesUnit, &Rates::read_bytes},
    Rule{"wr_bandwidth_mbs", &QosLimit::wr_bandwidth_mbs, kBytesUnit, &Rates::write_bytes},
    Rule{"rw_bandwidth_mbs", &QosLimit::rw_bandwidth_mbs, kBytesUnit, &Rates::all_bytes}};

}  // namespace

Result<Rates> read_rates(std::string_view field, const QosLimit& most) {
    Rates rates;
    for (const Rule& rule : kRules) {
        const std::int64_t value = (most.*rule.get)();
        if (value < 0 || value > kMost) {
            return fail(ErrorKind::InvalidArgument,
                        std::string(field) + "." + rule.name + ": " + std::to_string(value) +
                            " is no rate; use 1 to " + std::to_string(kMost) +
                            ", or 0 for no limit");
        }
        rates.*rule.rate = static_cast<std::uint64_t>(value * rule.unit);
    }
    return rates;
}

namespace {

/// `least`, the minimum of one or more rates, against `most`, the maximum of others: of these kinds
/// together.
struct Bound {
    std::array<std::int64_t (QosLimit::*)() const, 2> least;
    std::array<std::int64_t (QosLimit::*)() const, 2> most;
    const char* least_name;
    const char* most_name;
};
constexpr auto kReadOps = &QosLimit::rd_iops_kiops;
constexpr auto kWriteOps = &QosLimit::wr_iops_kiops;
constexpr auto kAllOps = &QosLimit::rw_iops_kiops;
constexpr auto kReadBytes = &QosLimit::rd_bandwidth_mbs;
constexpr auto kWriteBytes = &QosLimit::wr_bandwidth_mbs;
constexpr auto kAllBytes = &QosLimit::rw_bandwidth_mbs;
/// The sums cover the single ones: a minimum of reads alone is part of one of reads and writes.
constexpr std::array kBounds{
    Bound{{kReadOps, nullptr}, {kReadOps, nullptr}, "rd_iops_kiops", "rd_iops_kiops"},
    Bound{{kWriteOps, nullptr}, {kWriteOps, nullptr}, "wr_iops_kiops", "wr_iops_kiops"},
    Bound{{kAllOps, nullptr}, {kAllOps, nullptr}, "rw_iops_kiops", "rw_iops_kiops"},
    Bound{
        {kReadOps, kWriteOps}, {kAllOps, nullptr}, "rd_iops_kiops, wr_iops_kiops", "rw_iops_kiops"},
    Bound{
        {kAllOps, nullptr}, {kReadOps, kWriteOps}, "rw_iops_kiops", "rd_iops_kiops, wr_iops_kiops"},
    Bound{{kReadBytes, nullptr}, {kReadBytes, nullptr}, "rd_bandwidth_mbs", "rd_bandwidth_mbs"},
    Bound{{kWriteBytes, nullptr}, {kWriteBytes, nullptr}, "wr_bandwidth_mbs", "wr_bandwidth_mbs"},
    Bound{{kAllBytes, nullptr}, {kAllBytes, nullptr}, "rw_bandwidth_mbs", "rw_bandwidth_mbs"},
    Bound{{kReadBytes, kWriteBytes},
          {kAllBytes, nullptr},
          "rd_bandwidth_mbs, wr_bandwidth_mbs",
          "rw_bandwidth_mbs"},
    Bound{{kAllBytes, nullptr},
          {kReadBytes, kWriteBytes},
          "rw_bandwidth_mbs",
          "rd_bandwidth_mbs, wr_bandwidth_mbs"}};

std::int64_t sum_of(const QosLimit& limit,
                    const std::array<std::int64_t (QosLimit::*)() const, 2>& fields) {
    return (limit.*fields[0])() + (fields[1] == nullptr ? 0 : (limit.*fields[1])());
}

/// No limit unless all of them are limited.
bool is_limited(const QosLimit& limit,
                const std::array<std::int64_t (QosLimit::*)() const, 2>& fields) {
    return (limit.*fields[0])() != 0 && (fields[1] == nullptr || (limit.*fields[1])() != 0);
}

}  // namespace

Result<void> check_rates(std::string_view least_field,
                         const QosLimit& least,
                         std::string_view most_field,
                         const QosLimit& most) {
    if (auto rates = read_rates(least_field, least); !rates) {
        return std::unexpected(rates.error());
    }
    if (auto rates = read_rates(most_field, most); !rates) {
        return std::unexpected(rates.error());
    }
    for (const Bound& bound : kBounds) {
        const std::int64_t wanted = sum_of(least, bound.least);
        const std::int64_t limit = sum_of(most, bound.most);
        if (is_limited(most, bound.most) && wanted > limit) {
            return fail(ErrorKind::InvalidArgument,
                        std::string(least_field) + "." + bound.least_name + ": " +
                            std::to_string(wanted) + " is more than the most that it may have, " +
                            std::to_string(limit) + " (" + std::string(most_field) + "." +
                            bound.most_name + ")");
        }
    }
    return {};
}

services::qos::Capacity read_capacity(const remora::v1::Capacity& capacity) {
    return {.ops = static_cast<std::uint64_t>(capacity.kiops() * kOpsUnit),
            .bytes = static_cast<std::uint64_t>(capacity.mbs() * kBytesUnit)};
}

Result<void> check_capacity(const remora::v1::Capacity& capacity) {
    for (const auto& [name, value] :
         {std::pair{"kiops", capacity.kiops()}, std::pair{"mbs", capacity.mbs()}}) {
        if (value < 0 || value > kMost) {
            return fail(ErrorKind::InvalidArgument,
                        "capacity." + std::string(name) + ": " + std::to_string(value) +
                            " is no rate; use 1 to " + std::to_string(kMost) +
                            ", or 0 where that does not count");
        }
    }
    if (capacity.kiops() == 0 && capacity.mbs() == 0) {
        return fail(ErrorKind::InvalidArgument,
                    "capacity.kiops, capacity.mbs: what the back end can do; set one or both");
    }
    return {};
}

}  // namespace remora::control
