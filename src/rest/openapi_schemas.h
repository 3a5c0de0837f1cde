// SPDX-License-Identifier: Apache-2.0
// Schemas: the JSON forms of messages and enums as OpenAPI schemas, collected while a document is
// made. One thread, for the time of one document.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <nlohmann/json.hpp>

namespace remora::rest {

class Schemas {
  public:
    using Json = nlohmann::ordered_json;

    /// A reference to the message's schema, which is collected with all that it needs.
    Json of_message(const google::protobuf::Descriptor& message);
    Json of_field(const google::protobuf::FieldDescriptor& field);
    /// An object in place, without the fields in `left_out`; `strict` keeps its required ones so.
    Json object(const google::protobuf::Descriptor& message,
                const std::vector<std::string>& left_out,
                bool strict);
    /// What was collected, by full name.
    Json take();

  private:
    Json of_enum(const google::protobuf::EnumDescriptor& type);
    Json of_value(const google::protobuf::FieldDescriptor& field);

    std::map<std::string, Json> collected_;
};

}  // namespace remora::rest
