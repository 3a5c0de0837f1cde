// SPDX-License-Identifier: Apache-2.0
#include "control/validate_qos.h"

#include <array>
#include <string>

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

Result<void> check_no_minimum(std::string_view field, const QosLimit& least) {
    for (const Rule& rule : kRules) {
        if ((least.*rule.get)() != 0) {
            return fail(ErrorKind::InvalidArgument,
                        std::string(field) + "." + rule.name +
                            ": minimum rates are not kept; leave them out, and give the volumes "
                            "that compete a maximum");
        }
    }
    return {};
}

}  // namespace remora::control
