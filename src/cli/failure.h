// SPDX-License-Identifier: Apache-2.0
// How a command that cannot be done ends: one sentence and a gRPC code, said by the daemon or found
// here before it was asked. Thrown by commands, caught once in run(); nothing below cli/ sees it.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

#include <grpcpp/support/status_code_enum.h>

#include "core/result.h"

namespace remora::cli {

/// Ends the command with exit code 1. what() is the sentence, without its code.
class Refused : public std::runtime_error {
  public:
    Refused(grpc::StatusCode code, const std::string& sentence)
        : std::runtime_error(sentence), code_(code) {}

    [[nodiscard]] grpc::StatusCode code() const { return code_; }

  private:
    grpc::StatusCode code_;
};

/// "NOT_FOUND" and the like, as gRPC's documents spell them.
std::string_view code_name(grpc::StatusCode code);

/// A value that can never work, found before any call.
[[noreturn]] void refuse_argument(const std::string& sentence);

/// The value, or the error as INVALID_ARGUMENT with `context` (a flag's name) in front.
template <typename T>
T take(core::Result<T> result, std::string_view context = {}) {
    if (!result) {
        refuse_argument(context.empty() ? result.error().message
                                        : std::string(context) + ": " + result.error().message);
    }
    return *std::move(result);
}

}  // namespace remora::cli
