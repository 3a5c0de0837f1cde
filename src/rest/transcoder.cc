// SPDX-License-Identifier: Apache-2.0
#include "rest/transcoder.h"

#include <algorithm>
#include <charconv>
#include <memory>
#include <utility>

#include <google/protobuf/dynamic_message.h>
#include <nlohmann/json.hpp>

#include "core/log.h"
#include "rest/openapi.h"
#include "rest/request_binder.h"
#include "rest/url.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Message;

namespace {

HttpAnswer bad_request(const core::Error& error) {
    if (error.kind == ErrorKind::Internal) {
        return refusal(500, grpc::StatusCode::INTERNAL, error.message);
    }
    return refusal(400, grpc::StatusCode::INVALID_ARGUMENT, error.message);
}

/// JSON under any of the names it travels with; curl calls what -d sends a form.
bool is_json_type(std::string_view content_type) {
    std::string type(content_type.substr(0, content_type.find(';')));
    std::erase(type, ' ');
    std::ranges::transform(type, type.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return type.empty() || type == "application/json" || type.ends_with("+json") ||
           type == "application/x-www-form-urlencoded";
}

/// Whether a browser's page of another site sent this. There are no passwords, so the address alone
/// must not let a page that a user happens to look at command this machine.
bool is_foreign(const HttpRequest& request) {
    const std::string& origin = request.origin;
    return !origin.empty() && origin != "http://" + request.host &&
           origin != "https://" + request.host;
}

HttpAnswer no_route(const std::vector<std::string>& allowed) {
    if (allowed.empty()) {
        return refusal(404, grpc::StatusCode::NOT_FOUND,
                       "there is no such path; GET /openapi.json names all");
    }
    std::string list;
    for (const std::string& verb : allowed) {
        list += (list.empty() ? "" : ", ") + verb;
    }
    HttpAnswer answer =
        refusal(405, grpc::StatusCode::UNIMPLEMENTED, "this path has no such method, only " + list);
    answer.allow = list;
    return answer;
}

Result<std::string> response_json(const Route& route, const Message& response) {
    auto whole = to_json(response);
    if (!whole || route.response_field == nullptr) {
        return whole;
    }
    const auto parsed = nlohmann::ordered_json::parse(*whole);
    return parsed.value(route.response_field->json_name(), nlohmann::ordered_json()).dump();
}

}  // namespace

Result<core::Nanos> parse_timeout(std::string_view header) {
    std::int64_t count = 0;
    const char* begin = std::to_address(header.begin());
    const char* end = std::to_address(header.end());
    const auto [unit, trouble] = std::from_chars(begin, end, count);
    // gRPC over HTTP2, "Requests": at most 8 digits, so nothing overflows below.
    if (trouble != std::errc() || unit + 1 != end || unit - begin > 8 || count <= 0) {
        return fail(ErrorKind::InvalidArgument,
                    "Grpc-Timeout is 1 to 8 digits and a unit: H, M, S, m, u or n");
    }
    core::Nanos one{0};
    switch (*unit) {
        case 'H':
            one = std::chrono::hours(1);
            break;
        case 'M':
            one = std::chrono::minutes(1);
            break;
        case 'S':
            one = std::chrono::seconds(1);
            break;
        case 'm':
            one = std::chrono::milliseconds(1);
            break;
        case 'u':
            one = std::chrono::microseconds(1);
            break;
        case 'n':
            one = std::chrono::nanoseconds(1);
            break;
        default:
            return fail(ErrorKind::InvalidArgument,
                        "Grpc-Timeout: its unit is no H, M, S, m, u or n");
    }
    const std::int64_t most = kLongestDeadline / one;
    return count >= most ? kLongestDeadline : one * count;
}

Transcoder::Transcoder(RouteTable routes, Caller& caller)
    : routes_(std::move(routes)), openapi_(openapi_document(routes_)), caller_(caller) {}

Result<std::unique_ptr<Transcoder>> Transcoder::make(const std::vector<std::string>& services,
                                                     Caller& caller) {
    std::vector<const google::protobuf::ServiceDescriptor*> found;
    for (const std::string& name : services) {
        const auto* service =
            google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
        if (service != nullptr) {  // Health and reflection are gRPC's own, and have no routes.
            found.push_back(service);
        }
    }
    auto routes = RouteTable::build(found);
    if (!routes) {
        return std::unexpected(routes.error());
    }
    for (const Route& route : routes->hidden()) {
        log::info("rest route hidden by another of its path",
                  log::kv("call", route.method->full_name()), log::kv("path", route.path.shape()));
    }
    return std::unique_ptr<Transcoder>(new Transcoder(std::move(*routes), caller));
}

HttpAnswer Transcoder::answer(const HttpRequest& request) const {
    if (is_foreign(request)) {
        return refusal(403, grpc::StatusCode::PERMISSION_DENIED,
                       "pages of other sites may not call this server");
    }
    const std::string_view target = request.target;
    const std::size_t mark = std::min(target.find('?'), target.size());
    const auto path = RequestPath::parse(target.substr(0, mark));
    if (!path) {
        return bad_request(path.error());
    }
    const std::string verb = request.method == "HEAD" ? "GET" : request.method;
    const std::string_view text = target.substr(0, mark);
    if (text == "/openapi.json" || text == "/v1/openapi.json") {
        return verb == "GET" ? HttpAnswer{200, openapi_, ""} : no_route({"GET"});
    }
    const RouteTable::Match match = routes_.find(verb, *path);
    if (match.route == nullptr) {
        return no_route(match.allowed);
    }
    return call(*match.route, *path, target.substr(std::min(mark + 1, target.size())), request);
}

HttpAnswer Transcoder::call(const Route& route,
                            const RequestPath& path,
                            std::string_view query,
                            const HttpRequest& request) const {
    if (!request.body.empty() && route.body != Route::Body::None) {
        if (!is_json_type(request.content_type)) {
            return refusal(415, grpc::StatusCode::INVALID_ARGUMENT,
                           "the body has to be JSON: Content-Type application/json");
        }
        if (!request.content_encoding.empty() && request.content_encoding != "identity") {
            return refusal(415, grpc::StatusCode::INVALID_ARGUMENT,
                           "the body must not be compressed: no Content-Encoding");
        }
    }
    auto parameters = parse_query(query);
    if (!parameters) {
        return bad_request(parameters.error());
    }
    const auto limit = request.timeout.empty() ? Result<core::Nanos>(kDefaultDeadline)
                                               : parse_timeout(request.timeout);
    if (!limit) {
        return bad_request(limit.error());
    }
    const auto bound =
        bind_request(route, {route.path.capture(path), std::move(*parameters), request.body});
    if (!bound) {
        return bad_request(bound.error());
    }
    const Message* prototype = google::protobuf::MessageFactory::generated_factory()->GetPrototype(
        route.method->output_type());
    const std::unique_ptr<Message> response(prototype->New());
    const grpc::Status status =
        caller_.call(*route.method, **bound, *response, *limit, request.peer);
    if (!status.ok()) {
        return refusal(status);
    }
    auto body = response_json(route, *response);
    return body ? HttpAnswer{200, std::move(*body), ""} : bad_request(body.error());
}

}  // namespace remora::rest
