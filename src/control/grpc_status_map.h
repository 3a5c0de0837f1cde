// SPDX-License-Identifier: Apache-2.0
// The one place where our errors become gRPC's.
#pragma once

#include <grpcpp/support/status.h>

#include "core/result.h"

namespace remora::control {

grpc::StatusCode to_grpc_code(core::ErrorKind kind) noexcept;
grpc::Status to_grpc_status(const core::Error& error);

}  // namespace remora::control
