// SPDX-License-Identifier: Apache-2.0
#include "rest/update_mask.h"

#include <algorithm>

#include <nlohmann/json.hpp>

#include "rest/fields.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FieldMask;
using nlohmann::json;

namespace {

bool is_path_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.';
}

/// JSON spells masks in camelCase; messages have them in snake_case.
std::string snake_case(std::string_view path) {
    std::string snake;
    for (const char c : path) {
        if (c >= 'A' && c <= 'Z') {
            snake += '_';
            snake += static_cast<char>(c - 'A' + 'a');
        } else {
            snake += c;
        }
    }
    return snake;
}

// The depth is that of parsed JSON, which is bounded.
void collect(const json& value,
             const Descriptor& message,
             const std::string& prefix,
             FieldMask& mask) {
    for (const auto& [key, member] : value.items()) {
        const FieldDescriptor* field = find_field(message, key);
        if (field == nullptr || has_behavior(*field, google::api::OUTPUT_ONLY) ||
            has_behavior(*field, google::api::IDENTIFIER)) {
            continue;
        }
        const std::string path = prefix + field->name();
        const bool descend = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                             !field->is_repeated() && !has_own_json(*field->message_type()) &&
                             member.is_object() && !member.empty();
        if (descend) {
            collect(member, *field->message_type(), path + ".", mask);
        } else {
            mask.add_paths(path);
        }
    }
}

}  // namespace

Result<void> read_mask(std::string_view text,
                       google::protobuf::Message& mask,
                       const std::string& where) {
    const auto* paths = mask.GetDescriptor()->FindFieldByName("paths");
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(','), text.size());
        const std::string_view path = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (path.empty() || (path != "*" && !std::ranges::all_of(path, is_path_char))) {
            return fail(ErrorKind::InvalidArgument,
                        where + ": paths of fields with commas between them are wanted");
        }
        mask.GetReflection()->AddString(&mask, paths, snake_case(path));
    }
    return {};
}

FieldMask mask_of(const json& body, const Descriptor& message) {
    FieldMask mask;
    collect(body, message, "", mask);
    return mask;
}

}  // namespace remora::rest
