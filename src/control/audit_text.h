// SPDX-License-Identifier: Apache-2.0
// What the audit log says of a request: JSON without secrets, bounded, and in ASCII whatever the
// client wrote. Driven by the descriptors alone, so a new call needs nothing here. Pure functions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

namespace remora::control {

/// Bytes of one text of a client that are shown; the rest is counted.
constexpr std::size_t kAuditTextLimit = 256;
/// When a request has become as long as this, the fields that are left are not shown.
constexpr std::size_t kAuditRequestLimit = 4096;

/// Appends `text` with quotes. Everything but printable ASCII is escaped; bytes that are no UTF-8
/// become U+FFFD. Text longer than `limit` bytes is cut, and says so.
void append_json_text(std::string& out, std::string_view text, std::size_t limit = kAuditTextLimit);

/// Whether the audit log leaves the field's content out. Bytes are never shown, nor is what is
/// called a key, a PSK, a password or the like: who adds such a field need not think of it here.
bool is_secret(const google::protobuf::FieldDescriptor& field);

struct AuditText {
    std::string json;
    bool cut = false;  ///< Fields were left out for want of room.
};

/// The fields that are set, by the names they have in the .proto file; 64-bit integers as text,
/// enums by name. A secret shows only that it was there.
AuditText audit_text(const google::protobuf::Message& message);

/// The resource that a request is about, as far as it says so; of a Create its parent and id.
std::string audited_resource(const google::protobuf::Message& request);

/// Whether a call may change something: all but those that are a GET over HTTP.
bool is_audited(const google::protobuf::MethodDescriptor& method);

}  // namespace remora::control
