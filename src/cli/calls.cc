// SPDX-License-Identifier: Apache-2.0
#include "cli/calls.h"

#include <string_view>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/field_mask.pb.h>

#include "core/check.h"

namespace remora::cli {

namespace {

namespace pb = google::protobuf;

MessagePtr make(const pb::Descriptor* type) {
    return MessagePtr(pb::MessageFactory::generated_factory()->GetPrototype(type)->New());
}

/// One call of a kind's service, with its messages.
struct Call {
    std::string_view service;
    const pb::MethodDescriptor* method = nullptr;
    MessagePtr request;
    MessagePtr response;

    /// The method must exist: kinds are constant data that a test walks.
    Call(const Kind& kind, const std::string& name) : service(kind.service) {
        const auto* found =
            pb::DescriptorPool::generated_pool()->FindServiceByName(std::string(kind.service));
        CHECK(found != nullptr);
        method = found->FindMethodByName(name);
        CHECK(method != nullptr);
        request = make(method->input_type());
        response = make(method->output_type());
    }

    void set(const std::string& field, const std::string& value) const {
        const auto* found = request->GetDescriptor()->FindFieldByName(field);
        CHECK(found != nullptr);
        request->GetReflection()->SetString(request.get(), found, value);
    }

    void run(Client& client) const { client.call(service, method->name(), *request, *response); }
};

std::string of(std::string_view verb, const Kind& kind, std::string_view suffix = {}) {
    return std::string(verb) + std::string(kind.message) + std::string(suffix);
}

/// "ListNvmePaths", "ListCapacities".
std::string list_method(const Kind& kind) {
    const std::string_view one = kind.message;
    return "List" + (one.ends_with('y') ? std::string(one.substr(0, one.size() - 1)) + "ies"
                                        : std::string(one) + "s");
}

/// The field that holds the resources of a list's answer.
const pb::FieldDescriptor* items_field(const pb::Descriptor& response) {
    const pb::FieldDescriptor* items = nullptr;
    for (int i = 0; i < response.field_count(); ++i) {
        if (response.field(i)->is_repeated()) {
            items = response.field(i);
        }
    }
    CHECK(items != nullptr);
    return items;
}

/// Takes one page's resources; returns the token of the next page, "" after the last.
std::string take_page(Message& response, std::vector<MessagePtr>& all) {
    const auto* items = items_field(*response.GetDescriptor());
    const auto* reflection = response.GetReflection();
    for (int i = 0; i < reflection->FieldSize(response, items); ++i) {
        MessagePtr resource = make(items->message_type());
        resource->CopyFrom(reflection->GetRepeatedMessage(response, items, i));
        all.push_back(std::move(resource));
    }
    const auto* token = response.GetDescriptor()->FindFieldByName("next_page_token");
    return token == nullptr ? "" : reflection->GetString(response, token);
}

std::string parent_name(const Kind& kind, const std::string& typed) {
    if (typed.empty() && kind.list_needs_parent) {
        refuse_argument("say whose: remora list " + std::string(kind.name) + " PARENT");
    }
    // "-" in place of an id stands for all parents (AIP-159).
    const std::string id = typed.empty() ? "-" : typed;
    return id.find('/') == std::string::npos ? std::string(kind.parent) + "/" + id : id;
}

/// The field of a Create or Update request that holds the resource.
const pb::FieldDescriptor& resource_field(const Call& call) {
    const auto* type = call.request->GetDescriptor();
    for (int i = 0; i < type->field_count(); ++i) {
        if (type->field(i)->message_type() == call.method->output_type()) {
            return *type->field(i);
        }
    }
    CHECK(false);
}

}  // namespace

MessagePtr new_resource(const Kind& kind) {
    const std::string package(kind.service.substr(0, kind.service.rfind('.') + 1));
    const auto* type = pb::DescriptorPool::generated_pool()->FindMessageTypeByName(
        package + std::string(kind.message));
    CHECK(type != nullptr);
    return make(type);
}

std::string name_of(const Message& resource) {
    const auto* field = resource.GetDescriptor()->FindFieldByName("name");
    CHECK(field != nullptr);
    return resource.GetReflection()->GetString(resource, field);
}

MessagePtr create_resource(Client& client,
                           const Kind& kind,
                           const std::string& typed,
                           const Message& resource) {
    Call call(kind, of("Create", kind));
    const pb::FieldDescriptor& field = resource_field(call);
    std::string id = typed;
    if (!kind.parent.empty()) {
        const auto [parent, child_id] = split_child(kind, typed);
        call.set("parent", parent);
        id = child_id;
    }
    call.set(field.name() + "_id", id);
    call.request->GetReflection()->MutableMessage(call.request.get(), &field)->CopyFrom(resource);
    call.run(client);
    return std::move(call.response);
}

MessagePtr get_resource(Client& client, const Kind& kind, const std::string& typed) {
    Call call(kind, of("Get", kind));
    call.set("name", full_name(kind, typed));
    call.run(client);
    return std::move(call.response);
}

std::vector<MessagePtr> list_resources(Client& client,
                                       const Kind& kind,
                                       const std::string& parent) {
    std::vector<MessagePtr> all;
    std::string token;
    do {
        Call call(kind, list_method(kind));
        if (!kind.parent.empty()) {
            call.set("parent", parent_name(kind, parent));
        } else if (call.request->GetDescriptor()->FindFieldByName("parent") != nullptr) {
            // OPI's name for what all volumes are in; a call without it is refused.
            call.set("parent", std::string(kind.collection));
        }
        call.set("page_token", token);
        call.run(client);
        std::string next = take_page(*call.response, all);
        if (!next.empty() && next == token) {
            throw Refused(grpc::StatusCode::INTERNAL,
                          "the daemon's list does not go on: its page token leads to itself");
        }
        token = std::move(next);
    } while (!token.empty());
    return all;
}

MessagePtr update_resource(Client& client,
                           const Kind& kind,
                           const Message& resource,
                           std::span<const std::string> paths) {
    Call call(kind, of("Update", kind));
    const auto* reflection = call.request->GetReflection();
    reflection->MutableMessage(call.request.get(), &resource_field(call))->CopyFrom(resource);
    const auto* field = call.request->GetDescriptor()->FindFieldByName("update_mask");
    CHECK(field != nullptr);
    auto& mask = as<pb::FieldMask>(*reflection->MutableMessage(call.request.get(), field));
    for (const std::string& path : paths) {
        mask.add_paths(path);
    }
    call.run(client);
    return std::move(call.response);
}

void delete_resource(Client& client,
                     const Kind& kind,
                     const std::string& typed,
                     bool allow_missing) {
    if (kind.remove != nullptr) {
        kind.remove(client, typed, allow_missing);
        return;
    }
    Call call(kind, of("Delete", kind));
    call.set("name", full_name(kind, typed));
    const auto* field = call.request->GetDescriptor()->FindFieldByName("allow_missing");
    CHECK(field != nullptr);
    call.request->GetReflection()->SetBool(call.request.get(), field, allow_missing);
    call.run(client);
}

MessagePtr get_stats(Client& client, const Kind& kind, const std::string& typed) {
    Call call(kind, of("Stats", kind));
    call.set("name", full_name(kind, typed));
    call.run(client);
    return std::move(call.response);
}

}  // namespace remora::cli
