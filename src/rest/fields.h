// SPDX-License-Identifier: Apache-2.0
// Fields by what clients call them: the name of the .proto file or its JSON spelling. Pure
// functions over descriptors.
#pragma once

#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "google/api/field_behavior.pb.h"

namespace remora::rest {

/// The field `name` of the message, in either spelling; null when it has none.
const google::protobuf::FieldDescriptor* find_field(const google::protobuf::Descriptor& message,
                                                    std::string_view name);

/// The fields that "a.b.c" goes through; empty when it leads nowhere. All but the last are single
/// messages.
std::vector<const google::protobuf::FieldDescriptor*> find_field_path(
    const google::protobuf::Descriptor& message, std::string_view path);

/// Whether the field is annotated so.
bool has_behavior(const google::protobuf::FieldDescriptor& field,
                  google::api::FieldBehavior behavior);

/// Messages of google.protobuf have a JSON form of their own, which is no object of their fields.
bool has_own_json(const google::protobuf::Descriptor& message);

}  // namespace remora::rest
