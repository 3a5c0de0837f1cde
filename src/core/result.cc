// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

#include <cerrno>
#include <cstring>

namespace remora::core {

std::string_view to_string(ErrorKind kind) noexcept {
    switch (kind) {
        case ErrorKind::InvalidArgument:
            return "invalid argument";
        case ErrorKind::NotFound:
            return "not found";
        case ErrorKind::AlreadyExists:
            return "already exists";
        case ErrorKind::FailedPrecondition:
            return "failed precondition";
        case ErrorKind::ResourceExhausted:
            return "resource exhausted";
        case ErrorKind::Unavailable:
            return "unavailable";
        case ErrorKind::DeadlineExceeded:
            return "deadline exceeded";
        case ErrorKind::PermissionDenied:
            return "permission denied";
        case ErrorKind::Aborted:
            return "aborted";
        case ErrorKind::Unimplemented:
            return "unimplemented";
        case ErrorKind::DataLoss:
            return "data loss";
        case ErrorKind::Internal:
            return "internal";
    }
    return "internal";
}

std::unexpected<Error> fail(std::string_view context, const Error& cause) {
    return fail(cause.kind, std::string(context) + ": " + cause.message);
}

namespace {

ErrorKind kind_of_errno(int error_number) {
    switch (error_number) {
        case ENOENT:
            return ErrorKind::NotFound;
        case EEXIST:
            return ErrorKind::AlreadyExists;
        case EACCES:
        case EPERM:
            return ErrorKind::PermissionDenied;
        case ENOSPC:
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case EDQUOT:
            return ErrorKind::ResourceExhausted;
        case ECONNREFUSED:
        case ECONNRESET:
        case EPIPE:
        case ENETUNREACH:
        case EHOSTUNREACH:
        case EHOSTDOWN:
        case ENETDOWN:
            return ErrorKind::Unavailable;
        case ETIMEDOUT:
            return ErrorKind::DeadlineExceeded;
        case EINVAL:
        case ENOTDIR:
        case EISDIR:
        case ENAMETOOLONG:
        case ELOOP:
        case ENXIO:
        case ENODEV:
        case ENOTBLK:
        case EFBIG:
        case EOVERFLOW:
        case EADDRNOTAVAIL:
        case EAFNOSUPPORT:
            return ErrorKind::InvalidArgument;
        case EADDRINUSE:
        case EBUSY:
        case ETXTBSY:
        case EROFS:
            return ErrorKind::FailedPrecondition;
        case ECANCELED:
            return ErrorKind::Aborted;
        default:
            return ErrorKind::Internal;
    }
}

}  // namespace

std::string_view errno_text(int error_number) noexcept {
    // strerrordesc_np is thread safe and allocates nothing; it gives null for unknown numbers.
    const char* text = strerrordesc_np(error_number);
    return text != nullptr ? text : "unknown error";
}

std::unexpected<Error> fail_errno(std::string_view context, int error_number) {
    return fail(kind_of_errno(error_number),
                std::string(context) + ": " + std::string(errno_text(error_number)));
}

}  // namespace remora::core
