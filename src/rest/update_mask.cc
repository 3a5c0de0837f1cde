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

bool is_lower(char c) {
    return c >= 'a' && c <= 'z';
}
bool is_upper(char c) {
    return c >= 'A' && c <= 'Z';
}
bool is_word(char c) {
    return is_lower(c) || (c >= '0' && c <= '9');
}

/// Names of fields with dots between them, in camelCase or snake_case: what can be spelt either
/// way. Others mean no field, and would mean something else once they are spelt the other way.
bool is_path(std::string_view path) {
    char before = '.';
    for (std::size_t i = 0; i < path.size(); ++i) {
        const char c = path[i];
        const bool ends = i + 1 == path.size();
        bool fits = is_word(c);
        if (before == '.') {
            fits = is_lower(c);
        } else if (c == '.') {
            fits = !ends;
        } else if (c == '_') {
            fits = is_word(before) && !ends && is_lower(path[i + 1]);
        } else if (is_upper(c)) {
            fits = before != '_';
        }
        if (!fits) {
            return false;
        }
        before = c;
    }
    return !path.empty();
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
        if (path != "*" && !is_path(path)) {
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
