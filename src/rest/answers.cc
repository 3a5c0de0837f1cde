// SPDX-License-Identifier: Apache-2.0
#include "rest/answers.h"

#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;

int http_status(grpc::StatusCode code) noexcept {
    switch (code) {
        case grpc::StatusCode::OK:
            return 200;
        case grpc::StatusCode::INVALID_ARGUMENT:
        case grpc::StatusCode::FAILED_PRECONDITION:
        case grpc::StatusCode::OUT_OF_RANGE:
            return 400;
        case grpc::StatusCode::UNAUTHENTICATED:
            return 401;
        case grpc::StatusCode::PERMISSION_DENIED:
            return 403;
        case grpc::StatusCode::NOT_FOUND:
            return 404;
        case grpc::StatusCode::ALREADY_EXISTS:
        case grpc::StatusCode::ABORTED:
            return 409;
        case grpc::StatusCode::RESOURCE_EXHAUSTED:
            return 429;
        case grpc::StatusCode::CANCELLED:
            return 499;
        case grpc::StatusCode::UNKNOWN:
        case grpc::StatusCode::INTERNAL:
        case grpc::StatusCode::DATA_LOSS:
        case grpc::StatusCode::DO_NOT_USE:
            return 500;
        case grpc::StatusCode::UNIMPLEMENTED:
            return 501;
        case grpc::StatusCode::UNAVAILABLE:
            return 503;
        case grpc::StatusCode::DEADLINE_EXCEEDED:
            return 504;
    }
    return 500;
}

HttpAnswer refusal(int status, grpc::StatusCode code, std::string_view message) {
    const nlohmann::ordered_json body{{"code", static_cast<int>(code)},
                                      {"message", message},
                                      {"details", nlohmann::ordered_json::array()}};
    // A name that a client wrote may be in it, and that may be no UTF-8.
    return {status, body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace),
            ""};
}

HttpAnswer refusal(const grpc::Status& status) {
    return refusal(http_status(status.error_code()), status.error_code(), status.error_message());
}

Result<std::string> to_json(const google::protobuf::Message& message) {
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    std::string text;
    if (!google::protobuf::util::MessageToJsonString(message, &text, options).ok()) {
        return fail(ErrorKind::Internal,
                    "the answer, a " + message.GetDescriptor()->name() + ", has no JSON form");
    }
    return text;
}

}  // namespace remora::rest
