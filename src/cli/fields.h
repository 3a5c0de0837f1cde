// SPDX-License-Identifier: Apache-2.0
// Fields of a resource by their paths: read from words, compared, written. Pure; everything is
// found through protobuf's descriptions, so that a new field needs no line here.
//
// A path ends at what has one value: a number, a string, an enumerator, one of protobuf's wrapped
// numbers (google.protobuf.Int32Value), a time ("0.005s"), or a list as a whole.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <nlohmann/json.hpp>

#include "cli/client.h"

namespace remora::cli {

using Field = google::protobuf::FieldDescriptor;
using FieldPath = std::vector<const Field*>;

/// "spec.nqn", as update masks have it.
std::string path_text(const FieldPath& path);

/// Whether the daemon writes it, whatever a request says.
bool is_output_only(const Field& field);
/// The resource's own name.
bool is_identifier(const Field& field);
/// A key: never shown, written or compared.
bool is_secret(const Field& field);
/// Whether it has one value.
bool is_leaf(const Field& field);

/// Sets the field of `holder` that is its last one. Returns what is wrong with `text`, "" when it
/// will do. Takes what proto3 JSON takes, and an enumerator also without the words of its type in
/// front and in small letters ("tcp").
std::string set_from_text(Message& holder,
                          const Field& field,
                          const std::string& text,
                          bool quoted);

/// Whether its value is written as proto3 JSON has it: a list, a time.
bool is_by_json(const Field& field);
/// As set_from_text(), for these.
std::string set_from_json(Message& holder, const Field& field, const nlohmann::ordered_json& value);

/// The message that the path's last field is in, made when it is not there.
Message& holder_of(Message& root, const FieldPath& path);

bool same_value(const Message& one, const Message& other, const FieldPath& path);
void copy_value(const Message& from, Message& to, const FieldPath& path);

/// As proto3 JSON, except that 64-bit numbers are numbers. Null when it is not set.
nlohmann::ordered_json value_of(const Message& root, const FieldPath& path);
/// The same for a person: a secret is "(secret)", nothing is "unset".
std::string value_text(const Message& root, const FieldPath& path);

/// The leaves that are set, in the order of their numbers; none the daemon writes.
std::vector<FieldPath> set_leaves(const Message& root);

/// The path, as text, of the first field that is required and not set; "" when there is none. A
/// message that must be there is looked into.
std::string missing_field(const Message& root);

}  // namespace remora::cli
