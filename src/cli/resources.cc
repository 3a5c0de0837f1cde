// SPDX-License-Identifier: Apache-2.0
#include "cli/resources.h"

#include <memory>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/field_mask.pb.h>

#include "cli/limits.h"
#include "cli/output.h"
#include "core/check.h"
#include "core/units.h"
#include "remora/v1/remora.pb.h"
#include "storage/opicommon.pb.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;
namespace pb = google::protobuf;
using MessagePtr = std::unique_ptr<Message>;

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

std::string name_of(const Message& resource) {
    const auto* field = resource.GetDescriptor()->FindFieldByName("name");
    CHECK(field != nullptr);
    return resource.GetReflection()->GetString(resource, field);
}

void print_table(const Session& session, const Kind& kind, const std::vector<MessagePtr>& all) {
    std::vector<std::string> titles{"NAME"};
    for (const Column& column : kind.columns) {
        titles.emplace_back(column.title);
    }
    Table table(titles);
    for (const MessagePtr& resource : all) {
        std::vector<std::string> cells{short_name(name_of(*resource))};
        for (const Column& column : kind.columns) {
            cells.push_back(column.text(*resource));
        }
        table.add(std::move(cells));
    }
    table.print(session.out);
}

void print_one(const Session& session, const Kind& kind, MessagePtr resource) {
    if (session.json()) {
        session.out << to_json(*resource);
        return;
    }
    std::vector<MessagePtr> one;
    one.push_back(std::move(resource));
    print_table(session, kind, one);
}

void print_all(const Session& session, const Kind& kind, const std::vector<MessagePtr>& all) {
    if (!session.json()) {
        print_table(session, kind, all);
        return;
    }
    session.out << '[';
    const char* separator = "\n";
    for (const MessagePtr& resource : all) {
        std::string text = to_json(*resource);
        text.erase(text.find_last_not_of('\n') + 1);
        session.out << std::exchange(separator, ",\n") << text;
    }
    session.out << (all.empty() ? "]\n" : "\n]\n");
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

std::string volume_reference(const Kind& kind, const std::string& typed) {
    if (kind.parent.empty() && typed.find('/') == std::string::npos) {
        return std::string(kind.pattern) + "/" + typed;
    }
    return full_name(kind, typed);
}

std::string bytes_text(std::uint64_t bytes) {
    return core::format_size(bytes);
}

void print_opi_stats(const Session& session, const opi_api::storage::v1::VolumeStats& stats) {
    Table table({"READS", "READ", "WRITES", "WRITTEN", "UNMAPS", "UNMAPPED"});
    const auto size = [](std::int32_t bytes) {
        return bytes < 0 ? std::string("?") : bytes_text(static_cast<std::uint64_t>(bytes));
    };
    table.add({std::to_string(stats.read_ops_count()), size(stats.read_bytes_count()),
               std::to_string(stats.write_ops_count()), size(stats.write_bytes_count()),
               std::to_string(stats.unmap_ops_count()), size(stats.unmap_bytes_count())});
    table.print(session.out);
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

/// Asks for the object, has it changed, and sends what lies under `path`.
template <typename Change>
void update(const Session& session,
            const Kind& kind,
            const std::string& typed,
            std::string_view path,
            Change change) {
    Client client(session);
    Call before(kind, of("Get", kind));
    before.set("name", full_name(kind, typed));
    before.run(client);
    Call call(kind, of("Update", kind));
    const auto* type = call.request->GetDescriptor();
    const auto* reflection = call.request->GetReflection();
    Message& resource = *reflection->MutableMessage(call.request.get(), &resource_field(call));
    resource.CopyFrom(*before.response);
    change(resource);
    const auto* mask = type->FindFieldByName("update_mask");
    CHECK(mask != nullptr);
    as<pb::FieldMask>(*reflection->MutableMessage(call.request.get(), mask))
        .add_paths(std::string(path));
    call.run(client);
    print_one(session, kind, std::move(call.response));
}

}  // namespace

void create(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const Values& values) {
    Call call(kind, of("Create", kind));
    const pb::FieldDescriptor& resource = resource_field(call);
    std::string id = typed;
    if (!kind.parent.empty()) {
        const auto [parent, child_id] = split_child(kind, typed);
        call.set("parent", parent);
        id = child_id;
    }
    call.set(resource.name() + "_id", id);
    kind.build(values,
               *call.request->GetReflection()->MutableMessage(call.request.get(), &resource));
    Client client(session);
    call.run(client);
    print_one(session, kind, std::move(call.response));
}

void get(const Session& session, const Kind& kind, const std::string& typed) {
    Call call(kind, of("Get", kind));
    call.set("name", full_name(kind, typed));
    Client client(session);
    call.run(client);
    print_one(session, kind, std::move(call.response));
}

void list(const Session& session, const Kind& kind, const std::string& parent) {
    Client client(session);
    std::vector<MessagePtr> all;
    std::string token;
    do {
        Call call(kind, of("List", kind, "s"));
        if (!kind.parent.empty()) {
            call.set("parent", parent_name(kind, parent));
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
    print_all(session, kind, all);
}

void remove(const Session& session,
            const Kind& kind,
            const std::string& typed,
            bool allow_missing) {
    Client client(session);
    if (kind.remove != nullptr) {
        kind.remove(client, typed, allow_missing);
    } else {
        Call call(kind, of("Delete", kind));
        call.set("name", full_name(kind, typed));
        const auto* field = call.request->GetDescriptor()->FindFieldByName("allow_missing");
        CHECK(field != nullptr);
        call.request->GetReflection()->SetBool(call.request.get(), field, allow_missing);
        call.run(client);
    }
    if (session.json()) {
        session.out << "{}\n";
    } else {
        session.out << "deleted " << kind.name << ' ' << typed << '\n';
    }
}

void resize(const Session& session,
            const Kind& kind,
            const std::string& typed,
            const std::string& size_text) {
    update(session, kind, typed, "blocks_count", [&size_text](Message& volume) {
        const auto* block = volume.GetDescriptor()->FindFieldByName("block_size");
        const auto* count = volume.GetDescriptor()->FindFieldByName("blocks_count");
        CHECK(block != nullptr && count != nullptr);
        const std::uint64_t size = take(core::parse_size(size_text), "--size");
        const auto block_size =
            static_cast<std::uint64_t>(volume.GetReflection()->GetInt64(volume, block));
        if (size == 0 || block_size == 0 || size % block_size != 0) {
            refuse_argument("--size " + size_text +
                            " is not a multiple of the volume's block size, " +
                            std::to_string(block_size));
        }
        volume.GetReflection()->SetInt64(&volume, count,
                                         static_cast<std::int64_t>(size / block_size));
    });
}

void limit(const Session& session,
           const Kind& kind,
           const std::string& typed,
           const Values& values) {
    update(session, kind, typed, kind.limits_path,
           [&](Message& resource) { set_limits(values, *kind.limits(resource)); });
}

void stats(const Session& session, const Kind& kind, const std::string& typed) {
    if (kind.counters == Counters::Volume) {
        volume_stats(session, volume_reference(kind, typed));
        return;
    }
    Call call(kind, of("Stats", kind));
    call.set("name", full_name(kind, typed));
    Client client(session);
    call.run(client);
    const auto* field = call.response->GetDescriptor()->FindFieldByName("stats");
    CHECK(field != nullptr);
    const Message& counters = call.response->GetReflection()->GetMessage(*call.response, field);
    if (session.json()) {
        session.out << to_json(counters);
    } else {
        print_opi_stats(session, as<opi_api::storage::v1::VolumeStats>(counters));
    }
}

void volume_stats(const Session& session, const std::string& reference) {
    api::GetVolumeStatsRequest request;
    request.set_volume_name_ref(reference);
    api::VolumeStats64 counters;
    Client(session).call("remora.v1.RemoraService", "GetVolumeStats", request, counters);
    if (session.json()) {
        session.out << to_json(counters);
        return;
    }
    Table table({"READS", "READ", "WRITES", "WRITTEN", "UNMAPS", "UNMAPPED", "FLUSHES", "ERRORS"});
    table.add({std::to_string(counters.read_ops()), bytes_text(counters.read_bytes()),
               std::to_string(counters.write_ops()), bytes_text(counters.write_bytes()),
               std::to_string(counters.unmap_ops()), bytes_text(counters.unmap_bytes()),
               std::to_string(counters.flush_ops()), std::to_string(counters.errors())});
    table.print(session.out);
}

}  // namespace remora::cli
