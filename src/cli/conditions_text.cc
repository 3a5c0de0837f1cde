// SPDX-License-Identifier: Apache-2.0
#include "cli/conditions_text.h"

namespace remora::cli {

std::string status_text(const v1::Condition& condition) {
    if (condition.status() == v1::Condition::STATUS_TRUE) {
        return "yes";
    }
    return condition.status() == v1::Condition::STATUS_FALSE ? "no" : "unknown";
}

bool is_trouble(const v1::Condition& condition) {
    const auto healthy =
        condition.type() == "Degraded" ? v1::Condition::STATUS_FALSE : v1::Condition::STATUS_TRUE;
    return condition.status() != healthy;
}

}  // namespace remora::cli
