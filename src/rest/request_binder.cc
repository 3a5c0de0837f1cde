// SPDX-License-Identifier: Apache-2.0
#include "rest/request_binder.h"

#include <algorithm>
#include <optional>
#include <string_view>

#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/field_mask.pb.h>
#include <nlohmann/json.hpp>

#include "rest/fields.h"
#include "rest/json_input.h"
#include "rest/update_mask.h"

namespace remora::rest {

using core::ErrorKind;
using core::fail;
using core::Result;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using nlohmann::json;

namespace {

using FieldPath = std::vector<const FieldDescriptor*>;

/// The message that has the path's last field, made on the way.
Message& owner(Message& request, const FieldPath& path) {
    Message* here = &request;
    for (std::size_t i = 0; i + 1 < path.size(); ++i) {
        here = here->GetReflection()->MutableMessage(here, path[i]);
    }
    return *here;
}

/// A query that sets a second member of a oneof would silently undo the first.
bool is_taken(const Message& message, const FieldDescriptor& field) {
    const auto* choice = field.real_containing_oneof();
    return choice != nullptr && message.GetReflection()->HasOneof(message, choice) &&
           !message.GetReflection()->HasField(message, &field);
}

bool is_bound_elsewhere(const Route& route, const FieldPath& path) {
    if (route.body == Route::Body::Whole || path.front() == route.body_field) {
        return true;
    }
    return std::ranges::any_of(route.path.variables(), [&](const auto& variable) {
        return find_field_path(*route.method->input_type(), variable.field_path) == path;
    });
}

Result<void> bind_query(const Route& route, const Parts& parts, Message& request) {
    for (const Parameter& parameter : parts.query) {
        const FieldPath path = find_field_path(*request.GetDescriptor(), parameter.name);
        if (path.empty() || is_bound_elsewhere(route, path)) {
            continue;
        }
        const FieldDescriptor& field = *path.back();
        Message& message = owner(request, path);
        const std::string where = "query parameter " + parameter.name;
        if (is_taken(message, field)) {
            return fail(ErrorKind::InvalidArgument, where + ": another one of \"" +
                                                        field.real_containing_oneof()->name() +
                                                        "\" is given, too");
        }
        if (auto read = read_text(parameter.value, message, field, where); !read) {
            return read;
        }
    }
    return {};
}

Result<void> bind_path(const Parts& parts, Message& request) {
    for (const auto& captured : parts.captured) {
        const FieldPath path = find_field_path(*request.GetDescriptor(), captured.field_path);
        auto read = read_text(captured.value, owner(request, path), *path.back(),
                              "the path's " + captured.field_path);
        if (!read) {
            return read;
        }
    }
    return {};
}

/// The request's own mask field, for a call that updates the message in its body.
const FieldDescriptor* mask_field(const Route& route) {
    const auto* field = route.method->input_type()->FindFieldByName("update_mask");
    const bool is_mask = field != nullptr && !field->is_repeated() &&
                         field->message_type() == google::protobuf::FieldMask::descriptor();
    return is_mask && route.verb == "PATCH" && route.body == Route::Body::Field ? field : nullptr;
}

Result<void> bind_mask(const Route& route, const json& body, Message& request) {
    const FieldDescriptor* field = mask_field(route);
    if (field == nullptr || request.GetReflection()->HasField(request, field)) {
        return {};
    }
    const auto mask = mask_of(body, *route.body_field->message_type());
    if (mask.paths().empty()) {
        return fail(ErrorKind::InvalidArgument,
                    "the body names no field to change; give some, or an update_mask");
    }
    Message& own = *request.GetReflection()->MutableMessage(&request, field);
    return own.ParseFromString(mask.SerializeAsString())
               ? Result<void>()
               : fail(ErrorKind::Internal, "the update mask does not parse");
}

}  // namespace

Result<std::unique_ptr<Message>> bind_request(const Route& route, const Parts& parts) {
    const Descriptor* type = route.method->input_type();
    const Message* prototype =
        google::protobuf::MessageFactory::generated_factory()->GetPrototype(type);
    if (prototype == nullptr) {
        return fail(ErrorKind::Internal, type->full_name() + " is not part of this build");
    }
    std::unique_ptr<Message> request(prototype->New());
    json body = json::object();
    if (route.body != Route::Body::None && !parts.body.empty()) {
        auto parsed = parse_json(parts.body);
        if (!parsed) {
            return std::unexpected(parsed.error());
        }
        body = std::move(*parsed);
    }
    if (route.body != Route::Body::None) {
        Message& target =
            route.body == Route::Body::Whole
                ? *request
                : *request->GetReflection()->MutableMessage(request.get(), route.body_field);
        if (auto read = read_message(body, target, "body"); !read) {
            return std::unexpected(read.error());
        }
    }
    if (auto bound = bind_query(route, parts, *request); !bound) {
        return std::unexpected(bound.error());
    }
    if (auto bound = bind_mask(route, body, *request); !bound) {
        return std::unexpected(bound.error());
    }
    if (auto bound = bind_path(parts, *request); !bound) {
        return std::unexpected(bound.error());
    }
    return request;
}

}  // namespace remora::rest
