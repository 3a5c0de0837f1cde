// SPDX-License-Identifier: Apache-2.0
#include "rest/json_input.h"

#include <algorithm>
#include <utility>

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/util/json_util.h>
#include <nlohmann/json.hpp>

#include "rest/fields.h"
#include "rest/json_scalars.h"
#include "rest/update_mask.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;

namespace {

std::string position(std::string_view text, std::size_t byte) {
    const std::string_view before = text.substr(0, std::min(byte, text.size()));
    const auto line = 1 + std::ranges::count(before, '\n');
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 is 0: the first line.
    return "line " + std::to_string(line) + ", column " + std::to_string(before.size() - start);
}

/// google.protobuf's own types: wrappers, times, masks.
Result<void> read_own_json(const json& value, Message& message, const std::string& where) {
    const std::string& type = message.GetDescriptor()->name();
    if (type == "FieldMask" && value.is_string()) {
        return read_mask(value.get_ref<const std::string&>(), message, where);
    }
    if (!google::protobuf::util::JsonStringToMessage(value.dump(), &message).ok()) {
        return fail(ErrorKind::InvalidArgument, where + ": it is no " + type);
    }
    return {};
}

Result<void> read_one(const json& value,
                      Message& message,
                      const FieldDescriptor& field,
                      const std::string& where) {
    const auto& reflection = *message.GetReflection();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
        Message& inner = field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                             : *reflection.MutableMessage(&message, &field);
        return read_message(value, inner, where);
    }
    return read_scalar(value, message, field, where);
}

/// Each member becomes an entry, which is a message of "key" and "value".
Result<void> read_map(const json& value,
                      Message& message,
                      const FieldDescriptor& field,
                      const std::string& where) {
    if (!value.is_object()) {
        return fail(ErrorKind::InvalidArgument, where + ": an object is wanted");
    }
    for (const auto& [key, member] : value.items()) {
        Message& entry = *message.GetReflection()->AddMessage(&message, &field);
        const auto& type = *field.message_type();
        if (auto read = read_text(key, entry, *type.map_key(), where + "'s keys"); !read) {
            return read;
        }
        if (auto read = read_one(member, entry, *type.map_value(), where + "." + key); !read) {
            return read;
        }
    }
    return {};
}

Result<void> read_list(const json& value,
                       Message& message,
                       const FieldDescriptor& field,
                       const std::string& where) {
    if (!value.is_array()) {
        return fail(ErrorKind::InvalidArgument, where + ": a list is wanted");
    }
    for (std::size_t i = 0; i < value.size(); ++i) {
        const std::string here = where + "[" + std::to_string(i) + "]";
        if (value[i].is_null()) {
            return fail(ErrorKind::InvalidArgument, here + ": null is no element of a list");
        }
        if (auto read = read_one(value[i], message, field, here); !read) {
            return read;
        }
    }
    return {};
}

Result<void> read_field(const json& value,
                        Message& message,
                        const FieldDescriptor& field,
                        const std::string& where) {
    const auto* choice = field.real_containing_oneof();
    if (choice != nullptr && message.GetReflection()->HasOneof(message, choice)) {
        return fail(ErrorKind::InvalidArgument,
                    where + ": another one of \"" + choice->name() + "\" is given, too");
    }
    if (field.is_map()) {
        return read_map(value, message, field, where);
    }
    return field.is_repeated() ? read_list(value, message, field, where)
                               : read_one(value, message, field, where);
}

}  // namespace

Result<json> parse_json(std::string_view text) {
    bool too_deep = false;
    const auto watch = [&](int depth, json::parse_event_t /*event*/, json& /*parsed*/) {
        too_deep = too_deep || depth > kDeepestJson;
        return !too_deep;  // What is left out is not kept, either.
    };
    try {
        json parsed = json::parse(text, watch);
        if (!too_deep) {
            return parsed;
        }
    } catch (const json::parse_error& error) {
        if (!too_deep) {
            return fail(ErrorKind::InvalidArgument,
                        "the body is no JSON: " + position(text, error.byte));
        }
    } catch (const json::exception&) {  // A number that no double holds.
        return fail(ErrorKind::InvalidArgument, "the body has a number that is too large");
    }
    return fail(ErrorKind::InvalidArgument,
                "the body nests deeper than " + std::to_string(kDeepestJson) + " levels");
}

Result<void> read_message(const json& value, Message& message, const std::string& where) {
    const auto& type = *message.GetDescriptor();
    if (has_own_json(type)) {
        return read_own_json(value, message, where);
    }
    if (!value.is_object()) {
        return fail(ErrorKind::InvalidArgument, where + ": an object is wanted");
    }
    for (const auto& [key, member] : value.items()) {
        const FieldDescriptor* field = find_field(type, key);
        if (field == nullptr || member.is_null()) {
            continue;
        }
        if (auto read = read_field(member, message, *field, where + "." + field->name()); !read) {
            return read;
        }
    }
    return {};
}

Result<void> read_text(const std::string& text,
                       Message& message,
                       const FieldDescriptor& field,
                       const std::string& where) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        return read_scalar(text_value(text, field), message, field, where);
    }
    const auto& type = *field.message_type();
    if (field.is_repeated() || !has_own_json(type)) {
        return fail(ErrorKind::InvalidArgument,
                    where + ": it has fields of its own; name one of them");
    }
    Message& inner = *message.GetReflection()->MutableMessage(&message, &field);
    // A wrapper (Int32Value) is written as its value.
    const FieldDescriptor* wrapped = type.FindFieldByName("value");
    if (wrapped != nullptr && type.field_count() == 1 && !wrapped->is_repeated() &&
        wrapped->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
        return read_scalar(text_value(text, *wrapped), inner, *wrapped, where);
    }
    return read_own_json(text, inner, where);
}

}  // namespace remora::rest
