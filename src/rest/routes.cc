// SPDX-License-Identifier: Apache-2.0
#include "rest/routes.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "google/api/annotations.pb.h"
#include "rest/fields.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::api::HttpRule;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;

namespace {

struct Pattern {
    std::string verb;
    std::string path;
};

Pattern pattern_of(const HttpRule& rule) {
    switch (rule.pattern_case()) {
        case HttpRule::kGet:
            return {"GET", rule.get()};
        case HttpRule::kPut:
            return {"PUT", rule.put()};
        case HttpRule::kPost:
            return {"POST", rule.post()};
        case HttpRule::kDelete:
            return {"DELETE", rule.delete_()};
        case HttpRule::kPatch:
            return {"PATCH", rule.patch()};
        case HttpRule::kCustom:
            return {rule.custom().kind(), rule.custom().path()};
        case HttpRule::PATTERN_NOT_SET:
            break;
    }
    return {};
}

bool is_message(const FieldDescriptor* field) {
    return field != nullptr && !field->is_repeated() &&
           field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
}

Result<Route> make_route(const MethodDescriptor& method, const HttpRule& rule, int binding) {
    const auto wrong = [&](const std::string& what) {
        return fail(ErrorKind::InvalidArgument,
                    "the HTTP rule of " + method.full_name() + ": " + what);
    };
    Pattern pattern = pattern_of(rule);
    auto path = PathTemplate::parse(pattern.path);
    if (!path) {
        return wrong(path.error().message);
    }
    Route route;
    route.method = &method;
    route.verb = std::move(pattern.verb);
    route.path = std::move(*path);
    route.binding = binding;
    for (const auto& variable : route.path.variables()) {
        const auto found = find_field_path(*method.input_type(), variable.field_path);
        if (found.empty() || found.back()->is_repeated() || is_message(found.back())) {
            return wrong("{" + variable.field_path + "} is no plain field of the request");
        }
    }
    if (rule.body() == "*") {
        route.body = Route::Body::Whole;
    } else if (!rule.body().empty()) {
        route.body = Route::Body::Field;
        route.body_field = method.input_type()->FindFieldByName(rule.body());
        if (!is_message(route.body_field)) {
            return wrong("its body \"" + rule.body() + "\" is no message of the request");
        }
    }
    if (!rule.response_body().empty()) {
        route.response_field = method.output_type()->FindFieldByName(rule.response_body());
        if (route.response_field == nullptr) {
            return wrong("the response has no field \"" + rule.response_body() + "\"");
        }
    }
    return route;
}

Result<void> add_routes(const MethodDescriptor& method, std::vector<Route>& routes) {
    if (!method.options().HasExtension(google::api::http) || method.client_streaming() ||
        method.server_streaming()) {
        return {};
    }
    const HttpRule& rule = method.options().GetExtension(google::api::http);
    for (int binding = 0; binding <= rule.additional_bindings_size(); ++binding) {
        auto route = make_route(method, binding == 0 ? rule : rule.additional_bindings(binding - 1),
                                binding);
        if (!route) {
            return std::unexpected(route.error());
        }
        routes.push_back(std::move(*route));
    }
    return {};
}

}  // namespace

Result<RouteTable> RouteTable::build(
    const std::vector<const google::protobuf::ServiceDescriptor*>& services) {
    std::vector<Route> all;
    for (const auto* service : services) {
        for (int i = 0; i < service->method_count(); ++i) {
            if (auto added = add_routes(*service->method(i), all); !added) {
                return std::unexpected(added.error());
            }
        }
    }
    const auto by_name = [](const Route& a, const Route& b) {
        return std::pair(std::string_view(a.method->full_name()), a.binding) <
               std::pair(std::string_view(b.method->full_name()), b.binding);
    };
    std::sort(all.begin(), all.end(), by_name);
    std::map<std::string, std::size_t> last;
    for (std::size_t i = 0; i < all.size(); ++i) {
        last[all[i].verb + " " + all[i].path.shape()] = i;
    }
    RouteTable table;
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool seen = last.at(all[i].verb + " " + all[i].path.shape()) == i;
        (seen ? table.routes_ : table.hidden_).push_back(std::move(all[i]));
    }
    table.by_path_.resize(table.routes_.size());
    std::iota(table.by_path_.begin(), table.by_path_.end(), std::size_t{0});
    std::sort(table.by_path_.begin(), table.by_path_.end(), [&](std::size_t a, std::size_t b) {
        const PathTemplate& left = table.routes_[a].path;
        const PathTemplate& right = table.routes_[b].path;
        return PathTemplate::more_specific(left, right) ||
               (!PathTemplate::more_specific(right, left) && a < b);
    });
    return table;
}

RouteTable::Match RouteTable::find(std::string_view verb, const RequestPath& path) const {
    std::vector<const Route*> fitting;
    for (const std::size_t index : by_path_) {
        if (routes_[index].path.matches(path)) {
            fitting.push_back(&routes_[index]);
        }
    }
    const auto has_verb = [](const Route* route) { return !route->path.verb().empty(); };
    if (std::ranges::any_of(fitting, has_verb)) {
        std::erase_if(fitting, [&](const Route* route) { return !has_verb(route); });
    }
    Match match;
    for (const Route* route : fitting) {
        if (route->verb == verb) {
            match.route = route;
            return match;
        }
        match.allowed.push_back(route->verb);
    }
    std::ranges::sort(match.allowed);
    const auto surplus = std::ranges::unique(match.allowed);
    match.allowed.erase(surplus.begin(), surplus.end());
    return match;
}

}  // namespace remora::rest
