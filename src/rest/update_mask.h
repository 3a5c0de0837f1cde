// SPDX-License-Identifier: Apache-2.0
// Update masks as they come over HTTP: written as text, or told by what a PATCH's body has.
#pragma once

#include <string>
#include <string_view>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/message.h>
#include <nlohmann/json_fwd.hpp>

#include "core/result.h"

namespace remora::rest {

/// "spec.maxNamespaces,spec.nqn" or in snake_case into a FieldMask. Errors: InvalidArgument.
core::Result<void> read_mask(std::string_view text,
                             google::protobuf::Message& mask,
                             const std::string& where);

/// The leaves that the body names: a list, a map, a null and a message without members are leaves
/// as well. What the server alone writes (OUTPUT_ONLY) and the resource's own name are not part of
/// it, so that what GET gave can be sent back.
google::protobuf::FieldMask mask_of(const nlohmann::json& body,
                                    const google::protobuf::Descriptor& message);

}  // namespace remora::rest
