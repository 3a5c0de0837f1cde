// SPDX-License-Identifier: Apache-2.0
// The names of gRPC's status codes as its documents spell them, by number: for those who speak gRPC
// and those who write of it. Any thread.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace remora::core {

/// "NOT_FOUND" and the like; "UNKNOWN" for what is no code.
constexpr std::string_view grpc_code_name(int code) {
    constexpr std::array<std::string_view, 17> kNames{
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    return code >= 0 && static_cast<std::size_t>(code) < kNames.size()
               ? kNames[static_cast<std::size_t>(code)]
               : "UNKNOWN";
}

}  // namespace remora::core
