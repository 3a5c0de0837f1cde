// SPDX-License-Identifier: Apache-2.0
#include "rest/fields.h"

#include <algorithm>
#include <string>

namespace remora::rest {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const FieldDescriptor* find_field(const Descriptor& message, std::string_view name) {
    if (const auto* field = message.FindFieldByName(std::string(name)); field != nullptr) {
        return field;
    }
    for (int i = 0; i < message.field_count(); ++i) {
        if (message.field(i)->json_name() == name) {
            return message.field(i);
        }
    }
    return nullptr;
}

std::vector<const FieldDescriptor*> find_field_path(const Descriptor& message,
                                                    std::string_view path) {
    std::vector<const FieldDescriptor*> fields;
    const Descriptor* here = &message;
    for (bool more = true; more;) {
        const std::size_t end = std::min(path.find('.'), path.size());
        more = end < path.size();
        const FieldDescriptor* field =
            here == nullptr ? nullptr : find_field(*here, path.substr(0, end));
        path.remove_prefix(std::min(end + 1, path.size()));
        if (field == nullptr || (more && field->is_repeated())) {
            return {};
        }
        fields.push_back(field);
        here = field->message_type();
    }
    return fields;
}

bool has_behavior(const FieldDescriptor& field, google::api::FieldBehavior behavior) {
    const auto& options = field.options();
    for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
        if (options.GetExtension(google::api::field_behavior, i) == behavior) {
            return true;
        }
    }
    return false;
}

bool has_own_json(const Descriptor& message) {
    return message.file()->package() == "google.protobuf" && message.name() != "Empty";
}

}  // namespace remora::rest
