// SPDX-License-Identifier: Apache-2.0
// The OpenAPI 3.0 document of a route table, made from the same descriptors that route and bind.
// The same table gives the same bytes.
#pragma once

#include <string>

#include "rest/routes.h"

namespace remora::rest {

/// "/v1/{name=volumes/*}:stats" as OpenAPI writes it, with one parameter a wildcard, called by the
/// collection before it: "/v1/volumes/{volume}:stats".
std::string openapi_path(const PathTemplate& path);

/// Service_Call, with _2 and so on for additional bindings.
std::string operation_id(const Route& route);

std::string openapi_document(const RouteTable& table);

}  // namespace remora::rest
