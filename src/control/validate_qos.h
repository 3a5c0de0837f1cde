// SPDX-License-Identifier: Apache-2.0
// OPI's rate limits, and what they are for the data plane.
#pragma once

#include <string_view>

#include "core/result.h"
#include "remora/v1/qos.pb.h"
#include "services/qos/rates.h"
#include "storage/opicommon.pb.h"

namespace remora::control {

/// The rates that `most` allows: thousands of operations and MiB a second, as OPI's reference
/// counts them; 0 is no limit. Errors: InvalidArgument for what is negative or beyond any device.
core::Result<services::qos::Rates> read_rates(std::string_view field,
                                              const opi_api::storage::v1::QosLimit& most);

/// That both can be read, and no minimum is beyond a maximum, whose fields are called so. Errors:
/// InvalidArgument.
core::Result<void> check_rates(std::string_view least_field,
                               const opi_api::storage::v1::QosLimit& least,
                               std::string_view most_field,
                               const opi_api::storage::v1::QosLimit& most);

/// What a back end can do, in the data plane's units; of a good one.
services::qos::Capacity read_capacity(const remora::v1::Capacity& capacity);
/// Errors: InvalidArgument.
core::Result<void> check_capacity(const remora::v1::Capacity& capacity);

}  // namespace remora::control
