// SPDX-License-Identifier: Apache-2.0
#include "control/validate.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/field_mask_util.h>
#include <google/protobuf/util/message_differencer.h>

#include "google/api/field_behavior.pb.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FieldMask;
using google::protobuf::Message;
using google::protobuf::Reflection;
using google::protobuf::util::FieldMaskUtil;

namespace {

constexpr std::int32_t kDefaultPage = 50;
constexpr std::int32_t kLargestPage = 250;

bool is_required(const FieldDescriptor& field) {
    const auto& options = field.options();
    for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
        if (options.GetExtension(google::api::field_behavior, i) == google::api::REQUIRED) {
            return true;
        }
    }
    return false;
}

/// The first number of an enumeration field that the API does not know.
std::optional<int> unknown_number(const Message& message, const FieldDescriptor& field) {
    if (field.cpp_type() != FieldDescriptor::CPPTYPE_ENUM) {
        return std::nullopt;
    }
    const Reflection& reflection = *message.GetReflection();
    const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
    for (int i = 0; i < count; ++i) {
        const int number = field.is_repeated() ? reflection.GetRepeatedEnumValue(message, &field, i)
                                               : reflection.GetEnumValue(message, &field);
        if (field.enum_type()->FindValueByNumber(number) == nullptr) {
            return number;
        }
    }
    return std::nullopt;
}

bool is_set(const Message& message, const FieldDescriptor& field) {
    const Reflection& reflection = *message.GetReflection();
    return field.is_repeated() ? reflection.FieldSize(message, &field) > 0
                               : reflection.HasField(message, &field);
}

Result<void> check_required_at(const Message& message, const std::string& prefix) {
    const Descriptor& descriptor = *message.GetDescriptor();
    const Reflection& reflection = *message.GetReflection();
    for (int i = 0; i < descriptor.field_count(); ++i) {
        const FieldDescriptor& field = *descriptor.field(i);
        const std::string path = prefix + field.name();
        if (!is_set(message, field)) {
            if (is_required(field)) {
                return fail(ErrorKind::InvalidArgument, "missing required field: " + path);
            }
            continue;
        }
        if (const auto number = unknown_number(message, field)) {
            return fail(ErrorKind::InvalidArgument, path + ": " + std::to_string(*number) +
                                                        " is no " + field.enum_type()->name());
        }
        if (field.cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) {
            continue;
        }
        const int count = field.is_repeated() ? reflection.FieldSize(message, &field) : 1;
        for (int k = 0; k < count; ++k) {
            const Message& inner = field.is_repeated()
                                       ? reflection.GetRepeatedMessage(message, &field, k)
                                       : reflection.GetMessage(message, &field);
            if (auto checked = check_required_at(inner, path + "."); !checked) {
                return checked;
            }
        }
    }
    return {};
}

/// Paths of the leaves that `message` sets, one level into plain spec and status messages.
void collect_set_paths(const Message& message, const std::string& prefix, FieldMask& mask) {
    std::vector<const FieldDescriptor*> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const FieldDescriptor* field : fields) {
        const bool descend = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
                             !field->is_repeated() && prefix.empty() &&
                             (field->name() == "spec" || field->name() == "status");
        if (descend) {
            collect_set_paths(message.GetReflection()->GetMessage(message, field),
                              field->name() + ".", mask);
        } else {
            mask.add_paths(prefix + field->name());
        }
    }
}

bool within(std::string_view path, std::string_view root) {
    return path == root ||
           (path.starts_with(root) && path.size() > root.size() && path[root.size()] == '.');
}
bool within_any(std::string_view path, const std::vector<std::string_view>& roots) {
    return std::any_of(roots.begin(), roots.end(),
                       [&](std::string_view root) { return within(path, root); });
}

/// Whether the path leads to a field. The library takes "a..b", ".a" and even "" for paths: then
/// the same field would have several spellings, and rules know one.
bool leads_somewhere(const Descriptor& type, const std::string& path) {
    const bool dots_only_between = !path.empty() && path.front() != '.' && path.back() != '.' &&
                                   path.find("..") == std::string::npos;
    return dots_only_between && FieldMaskUtil::GetFieldDescriptors(&type, path, nullptr);
}

/// The mask an update works with, its paths checked.
Result<FieldMask> effective_mask(const Message& patch, const FieldMask& mask, bool& whole) {
    whole = mask.paths_size() == 1 && mask.paths(0) == "*";
    FieldMask effective;
    if (mask.paths_size() == 0 || whole) {
        collect_set_paths(patch, "", effective);
        return effective;
    }
    for (const std::string& path : mask.paths()) {
        if (path == "*") {
            return fail(ErrorKind::InvalidArgument, "update_mask: \"*\" must be the only path");
        }
        if (!leads_somewhere(*patch.GetDescriptor(), path)) {
            return fail(
                ErrorKind::InvalidArgument,
                "update_mask: " + patch.GetDescriptor()->name() + " has no field \"" + path + "\"");
        }
    }
    // A whole message in the mask (spec) means its leaves, so that each is judged by itself.
    for (const std::string& path : mask.paths()) {
        if (path != "spec" && path != "status") {
            effective.add_paths(path);
            continue;
        }
        FieldMask set;
        collect_set_paths(patch, "", set);
        for (const std::string& leaf : set.paths()) {
            if (within(leaf, path)) {
                effective.add_paths(leaf);
            }
        }
    }
    return effective;
}

/// The first path whose value differs between the two, among `mask` and not changeable.
std::optional<std::string> forbidden_change(const Message& before,
                                            const Message& after,
                                            const FieldMask& mask,
                                            const FieldRules& rules) {
    for (const std::string& path : mask.paths()) {
        if (within_any(path, rules.changeable)) {
            continue;
        }
        FieldMask one;
        one.add_paths(path);
        const std::unique_ptr<Message> left(before.New());
        const std::unique_ptr<Message> right(after.New());
        FieldMaskUtil::MergeOptions options;
        FieldMaskUtil::MergeMessageTo(before, one, options, left.get());
        FieldMaskUtil::MergeMessageTo(after, one, options, right.get());
        if (!google::protobuf::util::MessageDifferencer::Equals(*left, *right)) {
            return path;
        }
    }
    return std::nullopt;
}

constexpr std::string_view kHex = "0123456789abcdef";

}  // namespace

Result<void> check_required(const Message& message) {
    return check_required_at(message, "");
}

Result<void> apply_update(Message& current,
                          const Message& patch,
                          const FieldMask& mask,
                          const FieldRules& rules) {
    bool whole = false;
    auto effective = effective_mask(patch, mask, whole);
    if (!effective) {
        return std::unexpected(effective.error());
    }
    FieldMask wanted;
    for (const std::string& path : effective->paths()) {
        if (path != "name" && !within_any(path, rules.output_only)) {
            wanted.add_paths(path);
        }
    }
    if (whole) {
        // Everything that can change and is not in the patch is cleared.
        for (const std::string_view path : rules.changeable) {
            wanted.add_paths(std::string(path));
        }
    }
    const std::unique_ptr<Message> updated(current.New());
    updated->CopyFrom(current);
    FieldMaskUtil::MergeOptions options;
    options.set_replace_message_fields(true);
    options.set_replace_repeated_fields(true);
    FieldMaskUtil::MergeMessageTo(patch, wanted, options, updated.get());
    if (const auto path = forbidden_change(current, *updated, wanted, rules)) {
        return fail(ErrorKind::FailedPrecondition,
                    *path + " cannot be changed: " + std::string(rules.reason));
    }
    current.CopyFrom(*updated);
    return {};
}

Result<void> check_same(const Message& existing,
                        const Message& asked,
                        const std::vector<std::string_view>& output_only) {
    const std::unique_ptr<Message> copy(existing.New());
    copy->CopyFrom(existing);
    if (auto same = apply_update(*copy, asked, {}, {{}, output_only, "it exists"}); !same) {
        const std::string& text = same.error().message;
        return fail(ErrorKind::AlreadyExists, "it exists already with another " +
                                                  text.substr(0, text.find(' ')) +
                                                  "; delete it first or choose another name");
    }
    return {};
}

std::string list_of(std::string_view kind, std::string_view parent) {
    return parent.empty() ? std::string(kind) : std::string(kind) + " of " + std::string(parent);
}

Result<Page> read_page(std::string_view list, std::int32_t size, const std::string& token) {
    if (size < 0) {
        return fail(ErrorKind::InvalidArgument,
                    "page_size: " + std::to_string(size) + " is negative; 0 means 50, 250 is most");
    }
    Page page;
    page.size = static_cast<std::size_t>(size == 0 ? kDefaultPage : std::min(size, kLargestPage));
    if (token.empty()) {
        return page;
    }
    std::string text;
    for (std::size_t i = 0; i + 1 < token.size(); i += 2) {
        unsigned value = 0;
        const auto parsed = std::from_chars(token.data() + i, token.data() + i + 2, value, 16);
        if (parsed.ptr != token.data() + i + 2) {
            break;
        }
        text.push_back(static_cast<char>(value));
    }
    const std::string prefix = std::string(list) + ":";
    if (token.size() % 2 != 0 || text.size() != token.size() / 2 || !text.starts_with(prefix)) {
        return fail(ErrorKind::NotFound, "page_token: unable to find pagination token " + token);
    }
    page.after = text.substr(prefix.size());
    return page;
}

std::string page_token(std::string_view list, std::string_view last_name) {
    std::string token;
    for (const char c : std::string(list) + ":" + std::string(last_name)) {
        const auto byte = static_cast<unsigned char>(c);
        token.push_back(kHex[byte >> 4U]);
        token.push_back(kHex[byte & 0xfU]);
    }
    return token;
}

}  // namespace remora::control
