// SPDX-License-Identifier: Apache-2.0
// OPI's rate limits, and what they are for the data plane.
#pragma once

#include <string_view>

#include "core/result.h"
#include "services/qos/rates.h"
#include "storage/opicommon.pb.h"

namespace remora::control {

/// The rates that `most` allows: thousands of operations and MiB a second, as OPI's reference
/// counts them; 0 is no limit. Errors: InvalidArgument for what is negative or beyond any device.
core::Result<services::qos::Rates> read_rates(std::string_view field,
                                              const opi_api::storage::v1::QosLimit& most);

/// Minimum rates are not kept. Errors: InvalidArgument when one is asked for.
core::Result<void> check_no_minimum(std::string_view field,
                                    const opi_api::storage::v1::QosLimit& least);

}  // namespace remora::control
