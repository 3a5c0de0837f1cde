// SPDX-License-Identifier: Apache-2.0
// From JSON and text to messages: proto3's JSON mapping in the direction of a request. Written here
// rather than taken from protobuf so that an error names the field and never repeats the value,
// which may be a key, and so that a misspelt enum is an error where an unknown field is not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <nlohmann/json_fwd.hpp>

#include "core/result.h"

namespace remora::rest {

constexpr int kDeepestJson = 64;

/// Errors: InvalidArgument with line and column for what is no JSON or nests deeper than
/// kDeepestJson.
core::Result<nlohmann::json> parse_json(std::string_view text);

/// Sets what the object has. Unknown fields are ignored, null leaves a field as it is. `where`
/// leads to `value`, for errors. Errors: InvalidArgument.
core::Result<void> read_message(const nlohmann::json& value,
                                google::protobuf::Message& message,
                                const std::string& where);

/// Sets (or adds to) one field from the text of a path or a query. Errors: InvalidArgument.
core::Result<void> read_text(const std::string& text,
                             google::protobuf::Message& message,
                             const google::protobuf::FieldDescriptor& field,
                             const std::string& where);

}  // namespace remora::rest
