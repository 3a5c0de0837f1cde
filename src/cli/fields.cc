// SPDX-License-Identifier: Apache-2.0
#include "cli/fields.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <memory>

#include <google/protobuf/util/json_util.h>

#include "core/check.h"
#include "core/uuid.h"
#include "google/api/field_behavior.pb.h"

namespace remora::cli {

namespace {

namespace pb = google::protobuf;
using nlohmann::ordered_json;

bool has_behavior(const Field& field, google::api::FieldBehavior wanted) {
    const auto& options = field.options();
    for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
        if (options.GetExtension(google::api::field_behavior, i) == wanted) {
            return true;
        }
    }
    return false;
}

/// google.protobuf.Int32Value and the like.
bool is_wrapper(const pb::Descriptor* type) {
    return type != nullptr && type->file()->name() == "google/protobuf/wrappers.proto";
}

const Message* find_holder(const Message& root, const FieldPath& path) {
    const Message* holder = &root;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        if (!holder->GetReflection()->HasField(*holder, path[i])) {
            return nullptr;
        }
        holder = &holder->GetReflection()->GetMessage(*holder, path[i]);
    }
    return holder;
}

template <typename Number, typename Set>
std::string read_number(const std::string& text, Set set) {
    Number value = 0;
    const char* end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || stopped != end) {
        return "'" + text + "' is not a whole number from " +
               std::to_string(std::numeric_limits<Number>::min()) + " to " +
               std::to_string(std::numeric_limits<Number>::max());
    }
    set(value);
    return "";
}

/// "NVME_TRANSPORT_TYPE_" of NvmeTransportType.
std::string enumerator_prefix(const pb::EnumDescriptor& type) {
    std::string prefix;
    for (const char letter : type.name()) {
        if (std::isupper(static_cast<unsigned char>(letter)) != 0 && !prefix.empty()) {
            prefix += '_';
        }
        prefix += static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    }
    return prefix + "_";
}

const pb::EnumValueDescriptor* find_enumerator(const pb::EnumDescriptor& type,
                                               const std::string& text) {
    if (const auto* exact = type.FindValueByName(text)) {
        return exact;
    }
    std::string upper = text;
    std::ranges::transform(upper, upper.begin(), [](unsigned char letter) {
        return letter == '-' ? '_' : static_cast<char>(std::toupper(letter));
    });
    return type.FindValueByName(enumerator_prefix(type) + upper);
}

std::string enumerator_choices(const pb::EnumDescriptor& type) {
    std::string choices;
    for (int i = 0; i < type.value_count(); ++i) {
        if (type.value(i)->number() != 0) {
            choices += (choices.empty() ? "" : ", ") + type.value(i)->name();
        }
    }
    return choices;
}

/// Base64, as protobuf reads it.
std::string set_bytes(Message& holder, const Field& field, const std::string& text) {
    const std::unique_ptr<Message> read(holder.New());
    ordered_json json;
    json[field.json_name()] = text;
    if (!pb::util::JsonStringToMessage(json.dump(), read.get()).ok()) {
        return "this is not base64";
    }
    const auto* reflection = holder.GetReflection();
    reflection->SetString(&holder, &field, read->GetReflection()->GetString(*read, &field));
    return "";
}

/// Everything but messages.
std::string set_scalar(Message& holder, const Field& field, const std::string& text, bool quoted) {
    const auto* reflection = holder.GetReflection();
    switch (field.cpp_type()) {
        case Field::CPPTYPE_INT32:
            return read_number<std::int32_t>(
                text, [&](auto value) { reflection->SetInt32(&holder, &field, value); });
        case Field::CPPTYPE_INT64:
            return read_number<std::int64_t>(
                text, [&](auto value) { reflection->SetInt64(&holder, &field, value); });
        case Field::CPPTYPE_UINT32:
            return read_number<std::uint32_t>(
                text, [&](auto value) { reflection->SetUInt32(&holder, &field, value); });
        case Field::CPPTYPE_UINT64:
            return read_number<std::uint64_t>(
                text, [&](auto value) { reflection->SetUInt64(&holder, &field, value); });
        case Field::CPPTYPE_BOOL:
            if (quoted || (text != "true" && text != "false")) {
                return "'" + text + "' is neither true nor false (without quotes)";
            }
            reflection->SetBool(&holder, &field, text == "true");
            return "";
        case Field::CPPTYPE_ENUM: {
            const auto* value = find_enumerator(*field.enum_type(), text);
            if (value == nullptr) {
                return "'" + text + "' is none of " + enumerator_choices(*field.enum_type());
            }
            reflection->SetEnum(&holder, &field, value);
            return "";
        }
        case Field::CPPTYPE_STRING:
            if (field.type() == Field::TYPE_BYTES) {
                return set_bytes(holder, field, text);
            }
            reflection->SetString(&holder, &field, text);
            return "";
        case Field::CPPTYPE_DOUBLE:
        case Field::CPPTYPE_FLOAT:
        case Field::CPPTYPE_MESSAGE:
            break;  // No resource has fractions; a test walks all.
    }
    return "a field of the type " + std::string(field.cpp_type_name()) + " cannot be written here";
}

/// The message with nothing but this field of it.
std::unique_ptr<Message> alone_in(const Message& holder, const Field& field) {
    std::unique_ptr<Message> alone(holder.New());
    alone->CopyFrom(holder);
    std::vector<const Field*> others;
    alone->GetReflection()->ListFields(*alone, &others);
    for (const Field* other : others) {
        if (other != &field) {
            alone->GetReflection()->ClearField(alone.get(), other);
        }
    }
    return alone;
}

/// Null when it is not set.
ordered_json json_of(const Message& holder, const Field& field) {
    pb::util::JsonPrintOptions options;
    options.preserve_proto_field_names = true;
    std::string text;
    if (!pb::util::MessageToJsonString(*alone_in(holder, field), &text, options).ok()) {
        return nullptr;
    }
    const ordered_json json = ordered_json::parse(text, nullptr, false);
    return json.contains(field.name()) ? json.at(field.name()) : ordered_json();
}

/// A UUID has several spellings, of which the daemon keeps one.
bool same_uuid(const ordered_json& one, const ordered_json& other) {
    if (!one.is_string() || !other.is_string()) {
        return false;
    }
    const auto left = core::Uuid::parse(one.get<std::string>());
    const auto right = core::Uuid::parse(other.get<std::string>());
    return left && right && *left == *right;
}

void add_leaves(const Message& message, FieldPath& path, std::vector<FieldPath>& leaves) {
    std::vector<const Field*> fields;
    message.GetReflection()->ListFields(message, &fields);
    for (const Field* field : fields) {
        if (is_output_only(*field) || is_identifier(*field)) {
            continue;
        }
        path.push_back(field);
        if (is_leaf(*field)) {
            leaves.push_back(path);
        } else {
            add_leaves(message.GetReflection()->GetMessage(message, field), path, leaves);
        }
        path.pop_back();
    }
}

std::string missing_within(const Message& message, const std::string& prefix) {
    const auto* type = message.GetDescriptor();
    const auto* reflection = message.GetReflection();
    for (int i = 0; i < type->field_count(); ++i) {
        const Field& field = *type->field(i);
        const bool required = has_behavior(field, google::api::REQUIRED);
        const bool is_set = field.is_repeated() ? reflection->FieldSize(message, &field) > 0
                                                : reflection->HasField(message, &field);
        if (!is_set && !required) {
            continue;
        }
        if (is_leaf(field)) {
            if (!is_set) {
                return prefix + field.name();
            }
            continue;
        }
        // Of a message that is not there, the field in it that has to be named.
        std::string inner =
            missing_within(reflection->GetMessage(message, &field), prefix + field.name() + ".");
        if (!inner.empty() || !is_set) {
            return inner.empty() ? prefix + field.name() : inner;
        }
    }
    return "";
}

}  // namespace

std::string path_text(const FieldPath& path) {
    std::string text;
    for (const Field* field : path) {
        text += (text.empty() ? "" : ".") + field->name();
    }
    return text;
}

bool is_output_only(const Field& field) {
    return has_behavior(field, google::api::OUTPUT_ONLY);
}

bool is_identifier(const Field& field) {
    return has_behavior(field, google::api::IDENTIFIER);
}

bool is_secret(const Field& field) {
    return field.name() == "psk" || field.name() == "key" ||
           has_behavior(field, google::api::INPUT_ONLY);
}

bool is_leaf(const Field& field) {
    return is_by_json(field) || field.cpp_type() != Field::CPPTYPE_MESSAGE ||
           is_wrapper(field.message_type());
}

bool is_by_json(const Field& field) {
    return field.is_repeated() || (field.message_type() != nullptr &&
                                   field.message_type()->full_name() == "google.protobuf.Duration");
}

std::string set_from_json(Message& holder, const Field& field, const ordered_json& value) {
    const std::unique_ptr<Message> read(holder.New());
    ordered_json json;
    json[field.name()] = value;
    const auto done = pb::util::JsonStringToMessage(
        json.dump(-1, ' ', false, ordered_json::error_handler_t::replace), read.get());
    if (!done.ok()) {
        return std::string(done.message());
    }
    holder.GetReflection()->ClearField(&holder, &field);
    holder.MergeFrom(*read);
    return "";
}

std::string set_from_text(Message& holder,
                          const Field& field,
                          const std::string& text,
                          bool quoted) {
    if (field.cpp_type() != Field::CPPTYPE_MESSAGE) {
        return set_scalar(holder, field, text, quoted);
    }
    Message& wrapper = *holder.GetReflection()->MutableMessage(&holder, &field);
    return set_scalar(wrapper, *field.message_type()->field(0), text, quoted);
}

Message& holder_of(Message& root, const FieldPath& path) {
    Message* holder = &root;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        holder = holder->GetReflection()->MutableMessage(holder, path[i]);
    }
    return *holder;
}

bool same_value(const Message& one, const Message& other, const FieldPath& path) {
    const ordered_json left = value_of(one, path);
    const ordered_json right = value_of(other, path);
    return left == right || same_uuid(left, right);
}

void copy_value(const Message& from, Message& to, const FieldPath& path) {
    const Message* source = find_holder(from, path);
    Message& target = holder_of(to, path);
    const Field& field = *path.back();
    const auto* reflection = target.GetReflection();
    reflection->ClearField(&target, &field);
    if (source != nullptr) {
        target.MergeFrom(*alone_in(*source, field));  // no switch over the types
    }
}

ordered_json value_of(const Message& root, const FieldPath& path) {
    const Message* holder = find_holder(root, path);
    const Field* field = path.back();
    if (is_by_json(*field)) {
        return holder == nullptr ? ordered_json() : json_of(*holder, *field);
    }
    if (field->has_presence() &&
        (holder == nullptr || !holder->GetReflection()->HasField(*holder, field))) {
        return nullptr;
    }
    std::unique_ptr<Message> empty;
    if (holder == nullptr) {
        empty.reset(
            pb::MessageFactory::generated_factory()->GetPrototype(field->containing_type())->New());
        holder = empty.get();
    }
    if (field->cpp_type() == Field::CPPTYPE_MESSAGE) {
        holder = &holder->GetReflection()->GetMessage(*holder, field);
        field = field->message_type()->field(0);
    }
    const auto* reflection = holder->GetReflection();
    switch (field->cpp_type()) {
        case Field::CPPTYPE_INT32:
            return reflection->GetInt32(*holder, field);
        case Field::CPPTYPE_INT64:
            return reflection->GetInt64(*holder, field);
        case Field::CPPTYPE_UINT32:
            return reflection->GetUInt32(*holder, field);
        case Field::CPPTYPE_UINT64:
            return reflection->GetUInt64(*holder, field);
        case Field::CPPTYPE_BOOL:
            return reflection->GetBool(*holder, field);
        case Field::CPPTYPE_ENUM: {
            const int number = reflection->GetEnumValue(*holder, field);
            const auto* value = field->enum_type()->FindValueByNumber(number);
            return value == nullptr ? ordered_json(number) : ordered_json(value->name());
        }
        case Field::CPPTYPE_STRING:
        case Field::CPPTYPE_DOUBLE:
        case Field::CPPTYPE_FLOAT:
        case Field::CPPTYPE_MESSAGE:
            break;
    }
    CHECK(field->cpp_type() == Field::CPPTYPE_STRING);
    if (field->type() != Field::TYPE_BYTES) {
        return reflection->GetString(*holder, field);
    }
    std::string text;
    CHECK(pb::util::MessageToJsonString(*holder, &text).ok());
    return ordered_json::parse(text).value(field->json_name(), "");
}

std::string value_text(const Message& root, const FieldPath& path) {
    if (is_secret(*path.back())) {
        return "(secret)";
    }
    const ordered_json value = value_of(root, path);
    if (value.is_null()) {
        return "unset";
    }
    // Enumerators are words, strings may be anything.
    return path.back()->cpp_type() == Field::CPPTYPE_ENUM && value.is_string()
               ? value.get<std::string>()
               : value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::vector<FieldPath> set_leaves(const Message& root) {
    std::vector<FieldPath> leaves;
    FieldPath path;
    add_leaves(root, path, leaves);
    return leaves;
}

std::string missing_field(const Message& root) {
    return missing_within(root, "");
}

}  // namespace remora::cli
