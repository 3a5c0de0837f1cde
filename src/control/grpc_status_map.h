// SPDX-License-Identifier: Apache-2.0
// The one place where our errors become gRPC's.
#pragma once

#include <string>
#include <string_view>

#include <grpcpp/support/status.h>

#include "core/result.h"

namespace remora::control {

grpc::StatusCode to_grpc_code(core::ErrorKind kind) noexcept;

/// The message as it may be sent: of bounded length, and with "\x1b" for an escape and so on, since
/// it repeats what a client wrote and ends in terminals and logs.
std::string to_sentence(std::string_view message);
grpc::Status to_grpc_status(const core::Error& error);

}  // namespace remora::control
