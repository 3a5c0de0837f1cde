// SPDX-License-Identifier: Apache-2.0
// RouteTable: every HTTP route that the services' google.api.http rules have, and the one that a
// request takes. Built once at start from descriptors, then only read; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "core/result.h"
#include "rest/path_template.h"

namespace remora::rest {

struct Route {
    const google::protobuf::MethodDescriptor* method = nullptr;
    std::string verb;  ///< "GET"
    PathTemplate path;
    /// What the HTTP body is: all the request's fields that the path does not have, one field of
    /// it, or nothing.
    enum class Body { None, Whole, Field };
    Body body = Body::None;
    const google::protobuf::FieldDescriptor* body_field = nullptr;
    /// The field of the response that is the answer's body; null: the whole.
    const google::protobuf::FieldDescriptor* response_field = nullptr;
    /// 0 for the rule itself, then its additional bindings.
    int binding = 0;
};

class RouteTable {
  public:
    /// Calls that stream are left out. Of two routes with one verb and one shape the call whose
    /// full name sorts last has it (as the reference's gateway, where the QoS volumes' list hides
    /// that of the encrypted ones); the other is in hidden(). Errors: InvalidArgument for a rule
    /// that makes no sense, which is a defect of the .proto file.
    static core::Result<RouteTable> build(
        const std::vector<const google::protobuf::ServiceDescriptor*>& services);

    struct Match {
        const Route* route = nullptr;
        /// When there is no route: the verbs that the path has, in order; none: no such path.
        std::vector<std::string> allowed;
    };
    /// A path whose last segment ends in ":word" is a route with that verb, if there is one, and
    /// not a name with a colon in it.
    [[nodiscard]] Match find(std::string_view verb, const RequestPath& path) const;

    /// In the order of their calls' names.
    [[nodiscard]] const std::vector<Route>& routes() const { return routes_; }
    [[nodiscard]] const std::vector<Route>& hidden() const { return hidden_; }

  private:
    std::vector<Route> routes_;
    std::vector<Route> hidden_;
    /// Indices of routes_, the most specific first.
    std::vector<std::size_t> by_path_;
};

}  // namespace remora::rest
