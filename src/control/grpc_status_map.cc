// SPDX-License-Identifier: Apache-2.0
#include "control/grpc_status_map.h"

namespace remora::control {

using core::ErrorKind;

grpc::StatusCode to_grpc_code(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::InvalidArgument:
            return grpc::StatusCode::INVALID_ARGUMENT;
        case ErrorKind::NotFound:
            return grpc::StatusCode::NOT_FOUND;
        case ErrorKind::AlreadyExists:
            return grpc::StatusCode::ALREADY_EXISTS;
        case ErrorKind::FailedPrecondition:
            return grpc::StatusCode::FAILED_PRECONDITION;
        case ErrorKind::ResourceExhausted:
            return grpc::StatusCode::RESOURCE_EXHAUSTED;
        case ErrorKind::Unavailable:
            return grpc::StatusCode::UNAVAILABLE;
        case ErrorKind::DeadlineExceeded:
            return grpc::StatusCode::DEADLINE_EXCEEDED;
        case ErrorKind::PermissionDenied:
            return grpc::StatusCode::PERMISSION_DENIED;
        case ErrorKind::Aborted:
            return grpc::StatusCode::ABORTED;
        case ErrorKind::Unimplemented:
            return grpc::StatusCode::UNIMPLEMENTED;
        case ErrorKind::DataLoss:
            return grpc::StatusCode::DATA_LOSS;
        case ErrorKind::Internal:
            return grpc::StatusCode::INTERNAL;
    }
    return grpc::StatusCode::UNKNOWN;
}

grpc::Status to_grpc_status(const core::Error& error) {
    return {to_grpc_code(error.kind), error.message};
}

}  // namespace remora::control
