// SPDX-License-Identifier: Apache-2.0
// The good request of every call of the API, in a world that populate() makes: what bad ones are
// derived from (bad_input_cases.h).
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <grpcpp/support/status_code_enum.h>

#include "tests/unit/control/served_services.h"

namespace remora::test {

using Codes = std::set<grpc::StatusCode>;

struct GoodRequest {
    std::string text;         ///< In protobuf's text format.
    Codes codes{grpc::OK};    ///< What it answers.
    bool any_parent = false;  ///< A listing whose parent means nothing (clients send "todo").

    /// The kind is here for certain, so that its values are checked, too.
    [[nodiscard]] bool present() const { return codes == Codes{grpc::OK}; }
};

/// By the method's own name: no two services share one.
std::map<std::string, GoodRequest> good_requests();

/// The calls that make the world, in their order: method and request.
std::vector<std::pair<std::string, std::string>> world_calls();

/// All methods of the services that are served.
std::vector<const google::protobuf::MethodDescriptor*> served_methods();

}  // namespace remora::test
