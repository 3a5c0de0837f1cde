// SPDX-License-Identifier: Apache-2.0
#include "rest/json_scalars.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>

#include <nlohmann/json.hpp>

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;

namespace {

std::unexpected<core::Error> wanted(const std::string& where, const std::string& what) {
    return fail(ErrorKind::InvalidArgument, where + ": " + what + " is wanted");
}

template <typename T>
std::optional<T> parse_number(const std::string& text) {
    T number{};
    const char* end = text.data() + text.size();
    const auto [stop, trouble] = std::from_chars(text.data(), end, number);
    if (trouble != std::errc() || stop != end || text.empty()) {
        return std::nullopt;
    }
    return number;
}

/// A JSON number or the text of one; 1.0 and 1e3 are integers, too.
template <typename T>
std::optional<T> integer(const json& value) {
    if (value.is_string()) {
        return parse_number<T>(value.get_ref<const std::string&>());
    }
    if (value.is_number_unsigned()) {
        const auto number = value.get<std::uint64_t>();
        return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
    }
    if (value.is_number_integer()) {
        const auto number = value.get<std::int64_t>();
        return std::in_range<T>(number) ? std::optional(static_cast<T>(number)) : std::nullopt;
    }
    constexpr double kExact = 9007199254740992.0;  // 2^53: doubles beyond it skip integers.
    if (value.is_number_float()) {
        const auto number = value.get<double>();
        if (std::trunc(number) == number && std::abs(number) <= kExact &&
            std::in_range<T>(static_cast<std::int64_t>(number))) {
            return static_cast<T>(number);
        }
    }
    return std::nullopt;
}

std::optional<double> real(const json& value) {
    if (value.is_number()) {
        return value.get<double>();
    }
    if (!value.is_string()) {
        return std::nullopt;
    }
    const auto& text = value.get_ref<const std::string&>();
    if (text == "NaN") {
        return std::numeric_limits<double>::quiet_NaN();
    }
    if (text == "Infinity" || text == "-Infinity") {
        const double infinity = std::numeric_limits<double>::infinity();
        return text.starts_with('-') ? -infinity : infinity;
    }
    const auto number = parse_number<double>(text);
    return number && std::isfinite(*number) ? number : std::nullopt;
}

/// The reflection of one field: set, or added when it is repeated.
template <typename T>
void put(Message& message,
         const FieldDescriptor& field,
         void (google::protobuf::Reflection::*set)(Message*, const FieldDescriptor*, T) const,
         void (google::protobuf::Reflection::*add)(Message*, const FieldDescriptor*, T) const,
         std::type_identity_t<T> value) {
    const auto* reflection = message.GetReflection();
    (reflection->*(field.is_repeated() ? add : set))(&message, &field, std::move(value));
}

using Reflection = google::protobuf::Reflection;

Result<void> read_enum(const json& value,
                       Message& message,
                       const FieldDescriptor& field,
                       const std::string& where) {
    const auto& type = *field.enum_type();
    if (value.is_string()) {
        const auto* named = type.FindValueByName(value.get_ref<const std::string&>());
        if (named == nullptr) {
            return wanted(where, "a name of " + type.name() + ", as " +
                                     type.value(type.value_count() - 1)->name() + ",");
        }
        put(message, field, &Reflection::SetEnumValue, &Reflection::AddEnumValue, named->number());
        return {};
    }
    const auto number = integer<std::int32_t>(value);
    if (!number) {
        return wanted(where, "a name or number of " + type.name());
    }
    put(message, field, &Reflection::SetEnumValue, &Reflection::AddEnumValue, *number);
    return {};
}

Result<void> read_string(const json& value,
                         Message& message,
                         const FieldDescriptor& field,
                         const std::string& where) {
    if (!value.is_string()) {
        return wanted(where, "a text");
    }
    auto text = std::optional(value.get<std::string>());
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
        text = decode_base64(*text);
        if (!text) {
            return wanted(where, "base64");
        }
    }
    if (field.is_repeated()) {
        message.GetReflection()->AddString(&message, &field, std::move(*text));
    } else {
        message.GetReflection()->SetString(&message, &field, std::move(*text));
    }
    return {};
}

}  // namespace

Result<void> read_scalar(const json& value,
                         Message& message,
                         const FieldDescriptor& field,
                         const std::string& where) {
    switch (field.cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32:
            if (const auto number = integer<std::int32_t>(value)) {
                put(message, field, &Reflection::SetInt32, &Reflection::AddInt32, *number);
                return {};
            }
            return wanted(where, "an integer of 32 bits");
        case FieldDescriptor::CPPTYPE_INT64:
            if (const auto number = integer<std::int64_t>(value)) {
                put(message, field, &Reflection::SetInt64, &Reflection::AddInt64, *number);
                return {};
            }
            return wanted(where, "an integer of 64 bits");
        case FieldDescriptor::CPPTYPE_UINT32:
            if (const auto number = integer<std::uint32_t>(value)) {
                put(message, field, &Reflection::SetUInt32, &Reflection::AddUInt32, *number);
                return {};
            }
            return wanted(where, "an integer of 32 bits, not negative,");
        case FieldDescriptor::CPPTYPE_UINT64:
            if (const auto number = integer<std::uint64_t>(value)) {
                put(message, field, &Reflection::SetUInt64, &Reflection::AddUInt64, *number);
                return {};
            }
            return wanted(where, "an integer of 64 bits, not negative,");
        case FieldDescriptor::CPPTYPE_DOUBLE:
        case FieldDescriptor::CPPTYPE_FLOAT:
            if (const auto number = real(value)) {
                if (field.cpp_type() == FieldDescriptor::CPPTYPE_DOUBLE) {
                    put(message, field, &Reflection::SetDouble, &Reflection::AddDouble, *number);
                } else {
                    put(message, field, &Reflection::SetFloat, &Reflection::AddFloat,
                        static_cast<float>(*number));
                }
                return {};
            }
            return wanted(where, "a number");
        case FieldDescriptor::CPPTYPE_BOOL:
            if (value.is_boolean()) {
                put(message, field, &Reflection::SetBool, &Reflection::AddBool, value.get<bool>());
                return {};
            }
            return wanted(where, "true or false");
        case FieldDescriptor::CPPTYPE_ENUM:
            return read_enum(value, message, field, where);
        case FieldDescriptor::CPPTYPE_STRING:
            return read_string(value, message, field, where);
        case FieldDescriptor::CPPTYPE_MESSAGE:
            break;
    }
    return wanted(where, "an object");
}

json text_value(const std::string& text, const FieldDescriptor& field) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
        if (text == "true" || text == "1") {
            return true;
        }
        if (text == "false" || text == "0") {
            return false;
        }
    }
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
        if (const auto number = parse_number<std::int32_t>(text)) {
            return *number;
        }
    }
    return text;
}

std::optional<std::string> decode_base64(std::string_view text) {
    for (int padding = 0; padding < 2 && text.ends_with('='); ++padding) {
        text.remove_suffix(1);
    }
    std::string bytes;
    std::uint32_t bits = 0;
    unsigned held = 0;
    for (const char c : text) {
        std::uint32_t value = 0;
        if (c >= 'A' && c <= 'Z') {
            value = static_cast<std::uint32_t>(c - 'A');
        } else if (c >= 'a' && c <= 'z') {
            value = static_cast<std::uint32_t>(c - 'a') + 26;
        } else if (c >= '0' && c <= '9') {
            value = static_cast<std::uint32_t>(c - '0') + 52;
        } else if (c == '+' || c == '-') {
            value = 62;
        } else if (c == '/' || c == '_') {
            value = 63;
        } else {
            return std::nullopt;
        }
        bits = (bits << 6U) | value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            bytes.push_back(static_cast<char>((bits >> held) & 0xFFU));
            bits &= (1U << held) - 1;
        }
    }
    // One digit alone holds no byte (RFC 4648, 4).
    return held == 6 ? std::nullopt : std::optional(std::move(bytes));
}

}  // namespace remora::rest
