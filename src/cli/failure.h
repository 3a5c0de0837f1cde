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

inline constexpr int kDone = 0;
inline constexpr int kRefused = 1;
inline constexpr int kUsage = 2;
/// Of `diff`, as of the tool of that name.
inline constexpr int kDiffers = 1;
inline constexpr int kCannotTell = 2;

/// Ends the command with an exit code. what() is the sentence, without the status code.
class Refused : public std::runtime_error {
  public:
    Refused(grpc::StatusCode code, const std::string& sentence, int exit_code = kRefused)
        : std::runtime_error(sentence), code_(code), exit_code_(exit_code) {}

    [[nodiscard]] grpc::StatusCode code() const { return code_; }
    [[nodiscard]] int exit_code() const { return exit_code_; }

  private:
    grpc::StatusCode code_;
    int exit_code_;
};

/// Ends a command that has said all there is to say.
struct EndWith {
    int exit_code = kDone;
};

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
