// SPDX-License-Identifier: Apache-2.0
#include "control/audit_text.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "google/api/annotations.pb.h"

namespace remora::control {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

namespace {

constexpr const char* kLeftOut = "\"(secret)\"";
/// Requests nest four deep; gRPC would let a client send a hundred.
constexpr int kDeepest = 16;
constexpr std::uint32_t kReplacement = 0xfffd;

void append_escape(std::string& out, std::uint32_t unit) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) {
        out += kDigits[(unit >> static_cast<unsigned>(shift)) & 0xfU];
    }
}

void append_code_point(std::string& out, std::uint32_t point) {
    if (point == '"' || point == '\\') {
        out += '\\';
        out += static_cast<char>(point);
    } else if (point >= 0x20 && point < 0x7f) {
        out += static_cast<char>(point);
    } else if (point < 0x10000) {
        append_escape(out, point);
    } else {
        append_escape(out, 0xd800 + ((point - 0x10000) >> 10U));
        append_escape(out, 0xdc00 + ((point - 0x10000) & 0x3ffU));
    }
}

/// Takes one code point from the front (RFC 3629); of what is no UTF-8, one byte.
std::uint32_t take_code_point(std::string_view& text) {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = byte(0);
    std::size_t more = 0;
    std::uint32_t point = first;
    std::uint32_t least = 0;
    if (first >= 0xf0 && first < 0xf8) {
        more = 3;
        point = first & 0x07U;
        least = 0x10000;
    } else if (first >= 0xe0 && first < 0xf0) {
        more = 2;
        point = first & 0x0fU;
        least = 0x800;
    } else if (first >= 0xc0 && first < 0xe0) {
        more = 1;
        point = first & 0x1fU;
        least = 0x80;
    }
    bool whole = (first < 0x80 || more > 0) && text.size() > more;
    for (std::size_t i = 1; whole && i <= more; ++i) {
        whole = (byte(i) & 0xc0U) == 0x80;
        point = (point << 6U) | (byte(i) & 0x3fU);
    }
    const bool surrogate = point >= 0xd800 && point < 0xe000;
    if (!whole || point < least || point > 0x10ffff || surrogate) {
        text.remove_prefix(1);
        return kReplacement;
    }
    text.remove_prefix(more + 1);
    return point;
}

bool is_secret_word(std::string_view word) {
    constexpr std::array<std::string_view, 14> kWords{
        "key",    "keys",       "psk",        "psks",        "secret", "secrets", "password",
        "passwd", "passphrase", "credential", "credentials", "token",  "tokens",  "pin",
    };
    return std::ranges::find(kWords, word) != kWords.end();
}

/// Writes what is set of a message, in the order of its field numbers.
class Writer {
  public:
    void message(const Message& message, int depth) {
        std::vector<const FieldDescriptor*> fields;
        message.GetReflection()->ListFields(message, &fields);
        text_.json += '{';
        bool first = true;
        for (const FieldDescriptor* field : fields) {
            if (full()) {
                break;
            }
            text_.json += first ? "\"" : ",\"";
            first = false;
            text_.json += field->name();
            text_.json += "\":";
            this->field(message, *field, depth);
        }
        text_.json += '}';
    }
    AuditText take() { return std::move(text_); }

  private:
    bool full() {
        text_.cut = text_.cut || text_.json.size() >= kAuditRequestLimit;
        return text_.cut;
    }

    void field(const Message& message, const FieldDescriptor& field, int depth) {
        if (is_secret(field)) {
            text_.json += kLeftOut;
            return;
        }
        if (!field.is_repeated()) {
            value(message, field, -1, depth);
            return;
        }
        text_.json += '[';
        const int count = message.GetReflection()->FieldSize(message, &field);
        for (int i = 0; i < count && !full(); ++i) {
            text_.json += i == 0 ? "" : ",";
            value(message, field, i, depth);
        }
        text_.json += ']';
    }

    /// One value; `index` is -1 where the field is not repeated.
    void value(const Message& message, const FieldDescriptor& field, int index, int depth) {
        const Reflection& reflection = *message.GetReflection();
        const bool one = index < 0;
        switch (field.cpp_type()) {
            case FieldDescriptor::CPPTYPE_INT32:
                number(one ? reflection.GetInt32(message, &field)
                           : reflection.GetRepeatedInt32(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_UINT32:
                number(one ? reflection.GetUInt32(message, &field)
                           : reflection.GetRepeatedUInt32(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_INT64:
                long_number(one ? reflection.GetInt64(message, &field)
                                : reflection.GetRepeatedInt64(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_UINT64:
                long_number(one ? reflection.GetUInt64(message, &field)
                                : reflection.GetRepeatedUInt64(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_DOUBLE:
                real(one ? reflection.GetDouble(message, &field)
                         : reflection.GetRepeatedDouble(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_FLOAT:
                real(one ? reflection.GetFloat(message, &field)
                         : reflection.GetRepeatedFloat(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_BOOL:
                text_.json += (one ? reflection.GetBool(message, &field)
                                   : reflection.GetRepeatedBool(message, &field, index))
                                  ? "true"
                                  : "false";
                return;
            case FieldDescriptor::CPPTYPE_ENUM:
                enumerator(field, one ? reflection.GetEnumValue(message, &field)
                                      : reflection.GetRepeatedEnumValue(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_STRING:
                append_json_text(text_.json,
                                 one ? reflection.GetString(message, &field)
                                     : reflection.GetRepeatedString(message, &field, index));
                return;
            case FieldDescriptor::CPPTYPE_MESSAGE:
                nested(one ? reflection.GetMessage(message, &field)
                           : reflection.GetRepeatedMessage(message, &field, index),
                       depth);
                return;
        }
    }

    template <typename T>
    void number(T value) {
        text_.json += std::to_string(value);
    }
    /// As proto3 JSON has them: JavaScript's numbers end at 2^53.
    template <typename T>
    void long_number(T value) {
        text_.json += '"' + std::to_string(value) + '"';
    }
    void real(double value) {
        text_.json += std::isfinite(value) ? std::to_string(value) : "\"not finite\"";
    }
    void enumerator(const FieldDescriptor& field, int value) {
        const auto* known = field.enum_type()->FindValueByNumber(value);
        text_.json += known == nullptr ? std::to_string(value) : '"' + known->name() + '"';
    }
    void nested(const Message& inner, int depth) {
        if (depth == kDeepest) {
            text_.cut = true;
            text_.json += "{}";
            return;
        }
        message(inner, depth + 1);
    }

    AuditText text_;
};

/// The text of a field, or "" where there is no such field or it is no single text.
std::string text_of(const Message& message, const std::string& field_name) {
    const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(field_name);
    if (field == nullptr || field->is_repeated() || field->type() != FieldDescriptor::TYPE_STRING ||
        is_secret(*field)) {
        return "";
    }
    return message.GetReflection()->GetString(message, field);
}

}  // namespace

void append_json_text(std::string& out, std::string_view text, std::size_t limit) {
    const std::size_t whole = text.size();
    out += '"';
    while (!text.empty()) {
        if (whole - text.size() >= limit) {
            out += "...(" + std::to_string(whole) + " bytes)";
            break;
        }
        append_code_point(out, take_code_point(text));
    }
    out += '"';
}

bool is_secret(const FieldDescriptor& field) {
    if (field.type() == FieldDescriptor::TYPE_BYTES) {
        return true;
    }
    std::string_view name = field.name();
    for (;;) {
        const std::size_t end = std::min(name.find('_'), name.size());
        if (is_secret_word(name.substr(0, end))) {
            return true;
        }
        if (end == name.size()) {
            return false;
        }
        name.remove_prefix(end + 1);
    }
}

AuditText audit_text(const Message& message) {
    Writer writer;
    writer.message(message, 0);
    return writer.take();
}

std::string audited_resource(const Message& request) {
    if (auto name = text_of(request, "name"); !name.empty()) {
        return name;
    }
    std::vector<const FieldDescriptor*> fields;
    request.GetReflection()->ListFields(request, &fields);
    std::string first;
    for (const FieldDescriptor* field : fields) {
        if (field->is_repeated()) {
            continue;
        }
        if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
            const Message& inner = request.GetReflection()->GetMessage(request, field);
            if (auto name = text_of(inner, "name"); !name.empty()) {
                return name;
            }
        } else if (field->name().ends_with("_id") && !text_of(request, field->name()).empty()) {
            const std::string parent = text_of(request, "parent");
            return (parent.empty() ? "" : parent + "/") + text_of(request, field->name());
        } else if (first.empty()) {
            first = text_of(request, field->name());
        }
    }
    return first;
}

bool is_audited(const google::protobuf::MethodDescriptor& method) {
    return method.options().GetExtension(google::api::http).pattern_case() !=
           google::api::HttpRule::kGet;
}

}  // namespace remora::control
