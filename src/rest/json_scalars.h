// SPDX-License-Identifier: Apache-2.0
// Single values of proto3's JSON mapping: numbers (also as text), names of enums, base64. Pure
// functions, apart from the message that is set.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <nlohmann/json_fwd.hpp>

#include "core/result.h"

namespace remora::rest {

/// Sets the field, or adds to it when it is repeated. It is no message. Errors: InvalidArgument
/// that says what is wanted.
core::Result<void> read_scalar(const nlohmann::json& value,
                               google::protobuf::Message& message,
                               const google::protobuf::FieldDescriptor& field,
                               const std::string& where);

/// What text in a URL would be in JSON, for this field: its booleans and enum numbers have no
/// quotes there.
nlohmann::json text_value(const std::string& text, const google::protobuf::FieldDescriptor& field);

/// Standard or URL-safe alphabet, with or without padding (proto3's JSON mapping takes both).
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace remora::rest
