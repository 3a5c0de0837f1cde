// SPDX-License-Identifier: Apache-2.0
#include "rest/openapi.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "rest/fields.h"
#include "rest/openapi_schemas.h"

namespace remora::rest {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::ordered_json;

namespace {

/// How deep a query parameter's name may go into messages ("a.b.c.d").
constexpr int kDeepestParameter = 4;

/// "volumes" names a "volume".
std::string singular(const std::string& collection) {
    return collection.ends_with('s') && collection.size() > 1
               ? collection.substr(0, collection.size() - 1)
               : collection + "Id";
}

/// One name a wildcard of the template, in order.
std::vector<std::string> wildcard_names(const PathTemplate& path) {
    std::vector<std::string> names;
    const auto& segments = path.segments();
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (segments[i].kind == PathTemplate::Segment::Kind::Literal) {
            continue;
        }
        const bool after_word =
            i > 0 && segments[i - 1].kind == PathTemplate::Segment::Kind::Literal && i > 1;
        std::string name = segments[i].kind == PathTemplate::Segment::Kind::Many ? "rest"
                           : after_word ? singular(segments[i - 1].literal)
                                        : "segment";
        const auto same = std::ranges::count(names, name);
        names.push_back(same == 0 ? name : name + std::to_string(names.size() + 1));
    }
    return names;
}

ordered_json parameter(const std::string& name,
                       const char* place,
                       bool required,
                       ordered_json schema) {
    ordered_json made{{"name", name}, {"in", place}};
    if (required) {
        made["required"] = true;
    }
    made["schema"] = std::move(schema);
    return made;
}

bool is_in_path(const Route& route, const std::string& field_path) {
    return std::ranges::any_of(route.path.variables(), [&](const auto& variable) {
        return variable.field_path == field_path;
    });
}

/// Where in the request a message lies: what goes before the names of its fields.
struct Place {
    std::string proto_prefix;
    std::string json_prefix;
    int depth = 0;
};

/// Query parameters for each leaf that neither path nor body carries.
void add_query(const Route& route,
               const Descriptor& message,
               const Place& place,
               Schemas& schemas,
               ordered_json& parameters) {
    for (int i = 0; i < message.field_count(); ++i) {
        const FieldDescriptor& field = *message.field(i);
        const std::string proto_path = place.proto_prefix + field.name();
        const std::string name = place.json_prefix + field.json_name();
        if ((place.depth == 0 && &field == route.body_field) || is_in_path(route, proto_path)) {
            continue;
        }
        const auto* inner = field.message_type();
        if (inner == nullptr || (!field.is_repeated() && has_own_json(*inner))) {
            parameters.push_back(parameter(name, "query",
                                           has_behavior(field, google::api::REQUIRED),
                                           schemas.of_field(field)));
        } else if (!field.is_repeated() && place.depth < kDeepestParameter) {
            add_query(route, *inner, {proto_path + ".", name + ".", place.depth + 1}, schemas,
                      parameters);
        }
    }
}

ordered_json request_body(const Route& route, Schemas& schemas) {
    ordered_json schema;
    const bool partial = route.verb == "PATCH";
    if (route.body == Route::Body::Whole) {
        std::vector<std::string> bound;
        for (const auto& variable : route.path.variables()) {
            bound.push_back(variable.field_path);
        }
        schema = schemas.object(*route.method->input_type(), bound, !partial);
    } else if (partial) {
        schema = schemas.object(*route.body_field->message_type(), {}, false);
    } else {
        schema = schemas.of_message(*route.body_field->message_type());
    }
    return {{"required", true}, {"content", {{"application/json", {{"schema", schema}}}}}};
}

ordered_json operation(const Route& route, Schemas& schemas) {
    ordered_json made{{"operationId", operation_id(route)},
                      {"tags", ordered_json::array({route.method->service()->name()})}};
    ordered_json parameters = ordered_json::array();
    for (const std::string& name : wildcard_names(route.path)) {
        parameters.push_back(parameter(name, "path", true, {{"type", "string"}}));
    }
    if (route.body != Route::Body::Whole) {
        add_query(route, *route.method->input_type(), {}, schemas, parameters);
    }
    if (!parameters.empty()) {
        made["parameters"] = std::move(parameters);
    }
    if (route.body != Route::Body::None) {
        made["requestBody"] = request_body(route, schemas);
    }
    ordered_json answer = route.response_field != nullptr
                              ? schemas.of_field(*route.response_field)
                              : schemas.of_message(*route.method->output_type());
    made["responses"] = {{"200",
                          {{"description", "The call's response."},
                           {"content", {{"application/json", {{"schema", std::move(answer)}}}}}}},
                         {"default", {{"$ref", "#/components/responses/Error"}}}};
    return made;
}

ordered_json error_schema() {
    return {{"type", "object"},
            {"required", {"code", "message", "details"}},
            {"properties",
             {{"code", {{"type", "integer"}, {"description", "A gRPC status code."}}},
              {"message", {{"type", "string"}}},
              {"details", {{"type", "array"}, {"items", {{"type", "object"}}}}}}}};
}

}  // namespace

std::string openapi_path(const PathTemplate& path) {
    const std::vector<std::string> names = wildcard_names(path);
    auto name = names.begin();
    std::string text;
    for (const auto& segment : path.segments()) {
        text += '/';
        text += segment.kind == PathTemplate::Segment::Kind::Literal ? segment.literal
                                                                     : "{" + *name++ + "}";
    }
    return path.verb().empty() ? text : text + ":" + path.verb();
}

std::string operation_id(const Route& route) {
    const std::string id = route.method->service()->name() + "_" + route.method->name();
    return route.binding == 0 ? id : id + "_" + std::to_string(route.binding + 1);
}

std::string openapi_document(const RouteTable& table) {
    Schemas schemas;
    // Sorted, so that the document does not depend on the order of files.
    std::map<std::string, std::map<std::string, ordered_json>> paths;
    for (const Route& route : table.routes()) {
        std::string verb = route.verb;
        std::ranges::transform(verb, verb.begin(), [](char c) {
            return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        });
        paths[openapi_path(route.path)][verb] = operation(route, schemas);
    }
    ordered_json document{{"openapi", "3.0.3"},
                          {"info",
                           {{"title", "Remora: OPI storage over HTTP"},
                            {"version", "v1"},
                            {"license", {{"name", "Apache-2.0"}}}}}};
    document["paths"] = ordered_json::object();
    for (const auto& [path, operations] : paths) {
        for (const auto& [verb, made] : operations) {
            document["paths"][path][verb] = made;
        }
    }
    ordered_json all = schemas.take();
    all["Error"] = error_schema();
    document["components"] = {
        {"responses",
         {{"Error",
           {{"description", "The call was refused or failed."},
            {"content",
             {{"application/json", {{"schema", {{"$ref", "#/components/schemas/Error"}}}}}}}}}}},
        {"schemas", std::move(all)}};
    return document.dump(1);
}

}  // namespace remora::rest
