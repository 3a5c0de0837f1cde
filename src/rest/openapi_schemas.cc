// SPDX-License-Identifier: Apache-2.0
#include "rest/openapi_schemas.h"

#include <algorithm>
#include <utility>

#include "rest/fields.h"

namespace remora::rest {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;

namespace {

using Json = Schemas::Json;

Json reference(const std::string& name) {
    return {{"$ref", "#/components/schemas/" + name}};
}

/// google.protobuf's own types: text, but for wrappers of smaller values and free-form JSON.
Json own_form(const Descriptor& message) {
    const std::string& name = message.name();
    if (name == "Timestamp") {
        return {{"type", "string"}, {"format", "date-time"}};
    }
    if (name == "Int32Value" || name == "UInt32Value") {
        return {{"type", "integer"}, {"format", "int32"}};
    }
    if (name == "DoubleValue" || name == "FloatValue") {
        return {{"type", "number"}};
    }
    if (name == "BoolValue") {
        return {{"type", "boolean"}};
    }
    if (name == "Struct" || name == "Any") {
        return {{"type", "object"}};
    }
    if (name == "ListValue") {
        return {{"type", "array"}, {"items", Json::object()}};
    }
    return name == "Value" ? Json::object() : Json{{"type", "string"}};
}

}  // namespace

Json Schemas::of_enum(const EnumDescriptor& type) {
    Json names = Json::array();
    for (int i = 0; i < type.value_count(); ++i) {
        names.push_back(type.value(i)->name());
    }
    collected_[type.full_name()] = {{"type", "string"}, {"enum", std::move(names)}};
    return reference(type.full_name());
}

Json Schemas::of_value(const FieldDescriptor& field) {
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            return {{"type", "integer"}, {"format", "int32"}};
        case FieldDescriptor::CPPTYPE_UINT32:
            return {{"type", "integer"}, {"format", "int64"}, {"minimum", 0}};
        case FieldDescriptor::CPPTYPE_INT64:  // As text: JSON's numbers are doubles to many.
            return {{"type", "string"}, {"format", "int64"}};
        case FieldDescriptor::CPPTYPE_UINT64:
            return {{"type", "string"}, {"format", "uint64"}};
        case FieldDescriptor::CPPTYPE_DOUBLE:
            return {{"type", "number"}, {"format", "double"}};
        case FieldDescriptor::CPPTYPE_FLOAT:
            return {{"type", "number"}, {"format", "float"}};
        case FieldDescriptor::CPPTYPE_BOOL:
            return {{"type", "boolean"}};
        case FieldDescriptor::CPPTYPE_ENUM:
            return of_enum(*field.enum_type());
        case FieldDescriptor::CPPTYPE_STRING:
            return field.type() == FieldDescriptor::TYPE_BYTES
                       ? Json{{"type", "string"}, {"format", "byte"}}
                       : Json{{"type", "string"}};
        case FieldDescriptor::CPPTYPE_MESSAGE:
            break;
    }
    return of_message(*field.message_type());
}

Json Schemas::of_field(const FieldDescriptor& field) {
    if (field.is_map()) {
        return {{"type", "object"},
                {"additionalProperties", of_value(*field.message_type()->map_value())}};
    }
    Json one = of_value(field);
    return field.is_repeated() ? Json{{"type", "array"}, {"items", std::move(one)}} : one;
}

Json Schemas::object(const Descriptor& message,
                     const std::vector<std::string>& left_out,
                     bool strict) {
    Json made{{"type", "object"}};
    Json required = Json::array();
    Json properties = Json::object();
    for (int i = 0; i < message.field_count(); ++i) {
        const FieldDescriptor& field = *message.field(i);
        if (std::ranges::find(left_out, field.name()) != left_out.end()) {
            continue;
        }
        Json schema = of_field(field);
        const bool read_only = has_behavior(field, google::api::OUTPUT_ONLY);
        const bool write_only = has_behavior(field, google::api::INPUT_ONLY);
        if (read_only || write_only) {
            if (schema.contains("$ref")) {  // Nothing may stand beside a reference.
                schema = {{"allOf", Json::array({std::move(schema)})}};
            }
            schema[read_only ? "readOnly" : "writeOnly"] = true;
        }
        properties[field.json_name()] = std::move(schema);
        if (has_behavior(field, google::api::REQUIRED)) {
            required.push_back(field.json_name());
        }
    }
    if (strict && !required.empty()) {
        made["required"] = std::move(required);
    }
    made["properties"] = std::move(properties);
    return made;
}

Json Schemas::of_message(const Descriptor& message) {
    if (has_own_json(message)) {
        return own_form(message);
    }
    if (!collected_.contains(message.full_name())) {
        // Its name is known before its fields are looked at, so that it may have itself in it.
        collected_[message.full_name()] = Json::object();
        Json made = object(message, {}, true);
        collected_[message.full_name()] = std::move(made);
    }
    return reference(message.full_name());
}

Json Schemas::take() {
    Json all = Json::object();
    for (auto& [name, schema] : collected_) {
        all[name] = std::move(schema);
    }
    collected_.clear();
    return all;
}

}  // namespace remora::rest
