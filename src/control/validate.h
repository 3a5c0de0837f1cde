// SPDX-License-Identifier: Apache-2.0
// Rules that hold for every call: required fields, update masks, pages. Pure functions; the rules
// of one kind of resource are in validate_<kind>.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>

#include "core/result.h"

namespace remora::control {

/// Every field annotated REQUIRED is set and not zero, here and in every message that is set
/// (AIP-203), and every enumeration has a value that the API knows. Errors: InvalidArgument
/// `missing required field: a.b`, or the field and the number.
core::Result<void> check_required(const google::protobuf::Message& message);

/// What an update asks to change. `updated` holds the old resource with the patch applied.
struct FieldRules {
    /// Paths that may change; all others keep their value or the update is refused.
    std::vector<std::string_view> changeable;
    /// Paths the server writes: what a patch says about them is ignored.
    std::vector<std::string_view> output_only;
    /// Why the others cannot change, the end of the sentence.
    std::string_view reason;
};

/// Applies `patch` to `current` under `mask` (AIP-134: no mask = every field the patch sets, "*" =
/// all). Fields left empty under "*" that cannot change keep their value. Errors: InvalidArgument
/// for a bad mask, FailedPrecondition naming the field that cannot change.
core::Result<void> apply_update(google::protobuf::Message& current,
                                const google::protobuf::Message& patch,
                                const google::protobuf::FieldMask& mask,
                                const FieldRules& rules);

/// Whether what a Create call asks for is what exists under its name already (Create is idempotent;
/// a field left out asks for nothing). Errors: AlreadyExists naming the field that differs.
core::Result<void> check_same(const google::protobuf::Message& existing,
                              const google::protobuf::Message& asked,
                              const std::vector<std::string_view>& output_only);

/// One page of a listing that is in name order.
struct Page {
    std::size_t size = 50;
    std::string after;  ///< Names after this one; empty = from the start.
};

/// What read_page() and page_token() are to call the listing of a kind under a parent.
std::string list_of(std::string_view kind, std::string_view parent);
/// `list` names the listing, so that a token of another is refused. Errors: InvalidArgument for a
/// negative size, NotFound for a token nobody gave.
core::Result<Page> read_page(std::string_view list, std::int32_t size, const std::string& token);
/// The token for what follows `last_name`.
std::string page_token(std::string_view list, std::string_view last_name);

}  // namespace remora::control
