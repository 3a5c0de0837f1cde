// SPDX-License-Identifier: Apache-2.0
// Conditions of resources, as words. Pure.
#pragma once

#include <string>

#include "remora/v1/remora.pb.h"

namespace remora::cli {

/// "yes", "no" or "unknown".
std::string status_text(const v1::Condition& condition);

/// Whether it says that something is not as it should be: not Ready, or Degraded.
bool is_trouble(const v1::Condition& condition);

}  // namespace remora::cli
