// SPDX-License-Identifier: Apache-2.0
// Makes a call's request from what HTTP carries: the body first, then the query, then the path, so
// that the path has the last word. Pure functions.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "core/result.h"
#include "rest/path_template.h"
#include "rest/routes.h"
#include "rest/url.h"

namespace remora::rest {

/// What a request has apart from its route.
struct Parts {
    std::vector<PathTemplate::Captured> captured;
    std::vector<Parameter> query;
    std::string body;
};

/// Query parameters that the message does not have, and those of fields that the path or the body
/// carries, are ignored. A PATCH without update_mask gets the mask that its body tells. Errors:
/// InvalidArgument that says where.
core::Result<std::unique_ptr<google::protobuf::Message>> bind_request(const Route& route,
                                                                      const Parts& parts);

}  // namespace remora::rest
