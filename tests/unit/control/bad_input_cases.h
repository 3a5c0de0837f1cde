// SPDX-License-Identifier: Apache-2.0
// Bad requests, derived from a good one by what its descriptor says of each field: each required
// field left out, numbers, names, ids, masks, pages, enumerations, addresses, NQNs and texts that
// no field takes.
#pragma once

#include <functional>
#include <string>

#include <google/protobuf/message.h>

#include "tests/unit/control/bad_input_rows.h"

namespace remora::test {

struct BadRequest {
    std::string what;  ///< The field's path, and what is wrong with it.
    const google::protobuf::Message& request;
    Codes codes;       ///< One of these has to be the answer's.
    std::string text;  ///< A part of the answer's sentence.
};

using Emit = std::function<void(const BadRequest&)>;

/// Calls `emit` for each bad request that follows from the good one of `method`.
void derive_bad_requests(const google::protobuf::MethodDescriptor& method,
                         const google::protobuf::Message& good,
                         const GoodRequest& row,
                         const Emit& emit);

}  // namespace remora::test
