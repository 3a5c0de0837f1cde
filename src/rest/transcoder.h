// SPDX-License-Identifier: Apache-2.0
// Transcoder: one HTTP request into one gRPC call and its answer back, driven by the descriptors
// alone (google/api/http.proto); no call has code of its own here. Made once; any thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "rest/answers.h"
#include "rest/caller.h"
#include "rest/routes.h"

namespace remora::rest {

/// How long a call may take when its client does not say, and at most.
constexpr core::Nanos kDefaultDeadline = std::chrono::seconds(60);
constexpr core::Nanos kLongestDeadline = std::chrono::minutes(10);

struct HttpRequest {
    std::string method;
    std::string target;  ///< Path and query as the client wrote them.
    std::string content_type;
    std::string content_encoding;
    std::string host;
    std::string origin;   ///< The page that asks, if a browser does.
    std::string timeout;  ///< The header Grpc-Timeout, e.g. "5S".
    std::string body;
    std::string peer;  ///< ADDR:PORT of the client, as its socket says.
};

/// The wait that a Grpc-Timeout header asks for: digits and one of H, M, S, m, u, n; at most
/// kLongestDeadline. Errors: InvalidArgument.
core::Result<core::Nanos> parse_timeout(std::string_view header);

class Transcoder {
  public:
    /// `services` are full names; those without HTTP rules are passed over. `caller` outlives it.
    /// Errors: InvalidArgument for a .proto file whose rules make no sense.
    static core::Result<std::unique_ptr<Transcoder>> make(const std::vector<std::string>& services,
                                                          Caller& caller);

    [[nodiscard]] HttpAnswer answer(const HttpRequest& request) const;
    [[nodiscard]] const RouteTable& routes() const { return routes_; }

  private:
    Transcoder(RouteTable routes, Caller& caller);
    [[nodiscard]] HttpAnswer call(const Route& route,
                                  const RequestPath& path,
                                  std::string_view query,
                                  const HttpRequest& request) const;

    RouteTable routes_;
    std::string openapi_;
    Caller& caller_;
};

}  // namespace remora::rest
