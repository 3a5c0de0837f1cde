// SPDX-License-Identifier: Apache-2.0
// Result<T>: how everything outside the data path reports failure.
//
// An Error is a kind a caller can act on (mapped one to one to a gRPC code in
// control/grpc_status_map) and a sentence for a person: what was wrong and what would be right.
// The data path uses block::Status instead.
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace remora::core {

/// What a caller can do about a failure. The names follow gRPC's canonical codes.
enum class ErrorKind {
    InvalidArgument,     ///< The request can never work as written.
    NotFound,            ///< The named thing does not exist.
    AlreadyExists,       ///< The name is taken by something different.
    FailedPrecondition,  ///< The state must change first (what uses it is named).
    ResourceExhausted,   ///< A written-down limit is reached.
    Unavailable,         ///< The other side cannot be reached now; try again.
    DeadlineExceeded,    ///< The wait's limit ran out.
    PermissionDenied,    ///< The other side knows us and says no.
    Aborted,             ///< Lost a race or was cancelled; nothing was left behind.
    Unimplemented,       ///< Not in this build or on this platform.
    DataLoss,            ///< Stored state is damaged.
    Internal,            ///< A defect of ours or of the machine.
};

/// The kind's lower-case name, for logs. Never empty.
std::string_view to_string(ErrorKind kind) noexcept;

/// A failure: its kind and one sentence. Value type; any thread.
struct Error {
    ErrorKind kind = ErrorKind::Internal;
    std::string message;
};

template <typename T>
using Result = std::expected<T, Error>;

/// Makes the unexpected half of any Result: `return fail(ErrorKind::NotFound, "...")`.
[[nodiscard]] inline std::unexpected<Error> fail(ErrorKind kind, std::string message) {
    return std::unexpected<Error>(Error{kind, std::move(message)});
}

/// Passes an error on, with what was being done in front: "context: message".
[[nodiscard]] std::unexpected<Error> fail(std::string_view context, const Error& cause);

/// What an errno value means: "No such file or directory". Any thread.
std::string_view errno_text(int error_number) noexcept;

/// An Error from an errno value: "context: No such file or directory". The kind follows the errno.
[[nodiscard]] std::unexpected<Error> fail_errno(std::string_view context, int error_number);

}  // namespace remora::core
