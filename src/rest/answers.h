// SPDX-License-Identifier: Apache-2.0
// What goes back over HTTP: messages as proto3 JSON, and errors as {code, message, details}. The
// one place where gRPC's codes become HTTP's. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include <google/protobuf/message.h>
#include <grpcpp/support/status.h>

#include "core/result.h"

namespace remora::rest {

struct HttpAnswer {
    int status = 200;
    std::string body;
    std::string allow;  ///< The Allow header of a 405; empty: none.
};

/// As the reference's gateway maps them (google/rpc/code.proto names the HTTP status of each).
int http_status(grpc::StatusCode code) noexcept;

/// An answer of HTTP's own, which no call gave; `code` is what gRPC would say.
HttpAnswer refusal(int status, grpc::StatusCode code, std::string_view message);
HttpAnswer refusal(const grpc::Status& status);

/// proto3 JSON: camelCase, fields without a value emitted with their default, 64-bit integers as
/// text, enums by name. Errors: Internal.
core::Result<std::string> to_json(const google::protobuf::Message& message);

}  // namespace remora::rest
