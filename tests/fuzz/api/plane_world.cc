// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/api/plane_world.h"

#include <array>
#include <set>
#include <utility>

#include <google/protobuf/text_format.h>

#include "control/names.h"
#include "tests/unit/control/bad_input_rows.h"

namespace remora::fuzz {

namespace {

using core::Result;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using reactor::Task;

constexpr const char* kTarget = "10.0.0.1:4420";

core::Uuid uuid_of(unsigned char number) {
    core::Uuid uuid;
    uuid.bytes[0] = 0x11;
    uuid.bytes[15] = number;
    return uuid;
}

/// What is listed, from the top of what stands on what down.
struct Listed {
    const char* singular;
    const char* plural;
    const char* parent = "";  ///< Of all parents.
};
constexpr std::array kListed{
    Listed{"Attachment", "Attachments"},
    Listed{"VirtioBlk", "VirtioBlks"},
    Listed{"NvmeNamespace", "NvmeNamespaces", "nvmeSubsystems/-"},
    Listed{"NvmeController", "NvmeControllers", "nvmeSubsystems/-"},
    Listed{"NvmeSubsystem", "NvmeSubsystems"},
    Listed{"QosVolume", "QosVolumes", "todo"},
    Listed{"FaultInjection", "FaultInjections"},
    Listed{"RaidVolume", "RaidVolumes"},
    Listed{"IntegrityVolume", "IntegrityVolumes"},
    Listed{"EncryptedVolume", "EncryptedVolumes", "todo"},
    Listed{"NvmePath", "NvmePaths", "nvmeRemoteControllers/-"},
    Listed{"NvmeRemoteController", "NvmeRemoteControllers"},
    Listed{"MallocVolume", "MallocVolumes"},
    Listed{"NullVolume", "NullVolumes"},
    Listed{"AioVolume", "AioVolumes"},
    Listed{"DiscoveryReferral", "DiscoveryReferrals"},
    Listed{"Capacity", "Capacities"},
};

std::string text_field(const Message& message, const std::string& name) {
    const auto* field = message.GetDescriptor()->FindFieldByName(name);
    return field == nullptr ? "" : message.GetReflection()->GetString(message, field);
}

MessagePtr request_of(const PlaneCall& call, const std::string& field, const std::string& value) {
    MessagePtr request(call.request->New());
    if (!value.empty()) {
        const auto* at = request->GetDescriptor()->FindFieldByName(field);
        request->GetReflection()->SetString(request.get(), at, value);
    }
    return request;
}

/// An array without what its data plane says of it: this world's does not go on with a rebuild or
/// a scrub after a restart.
const Message& stored_of(Message& shown) {
    if (auto* array = dynamic_cast<remora::v1::RaidVolume*>(&shown)) {
        array->clear_member_states();
        array->clear_health();
        array->clear_work();
    } else if (auto* checked = dynamic_cast<remora::v1::IntegrityVolume*>(&shown)) {
        checked->clear_work();
    }
    return shown;
}

}  // namespace

PlaneWorld::PlaneWorld() {
    network_.targets[kTarget] = {
        {"nqn.2024-01.org.example:empty", {}},
        {"nqn.2024-01.org.example:target", {{1, uuid_of(1)}, {2, uuid_of(2)}, {3, uuid_of(3)}}}};
    start();
}

PlaneWorld::~PlaneWorld() {
    stop();
}

void PlaneWorld::start() {
    node_ = std::make_unique<test::FakeNode>(network_, steps_);
    host_ = std::make_unique<test::FakeHost>(plugged_, steps_);
    host_->places.virtual_of = {{3, 2}, {9, 1}};
    control::Options options;
    options.socket_directory = "/run/remora";
    options.seal_keys = &seal_keys_;
    options.crypt_kernel = "fake";
    world_.on_reactor([this, &options] {
        plane_ =
            std::make_unique<control::ControlPlane>(store_, *node_, *host_, core::Prng(7), options);
    });
    world_.run([this]() -> Task<> {
        const auto started = co_await plane_->start();
        CHECK(started.has_value());
    });
}

void PlaneWorld::stop() {
    world_.run([this]() -> Task<> {
        const bool stopped = co_await plane_->stop(core::kNever);
        CHECK(stopped);
    });
    world_.on_reactor([this] { plane_.reset(); });
}

void PlaneWorld::finish_work() {
    world_.on_reactor([this] {
        for (const auto& [name, array] : node_->arrays) {
            node_->finish_rebuild(name);
        }
        plane_->raid_volumes.settle();
    });
}

void PlaneWorld::restart() {
    stop();
    start();
}

Result<MessagePtr> PlaneWorld::call(const PlaneCall& call, const Message& request) {
    Result<MessagePtr> result = core::fail(core::ErrorKind::Internal, "no answer");
    world_.run([&]() -> Task<> { result = co_await call.run(*plane_, request); });
    return result;
}

void PlaneWorld::make_world() {
    for (const auto& [method, text] : test::world_calls()) {
        const PlaneCall& made = *find_call(method);
        const MessagePtr request(made.request->New());
        CHECK(google::protobuf::TextFormat::ParseFromString(text, request.get()));
        const auto answer = call(made, *request);
        CHECK(answer.has_value() || answer.error().kind == core::ErrorKind::Unimplemented);
    }
}

std::string PlaneWorld::everything() {
    std::string all;
    for (const control::StoredObject& object : *store_.load()) {
        all += std::string(control::store_text(object.kind)) + " " + object.name + " " +
               object.body + "\n";
    }
    for (const auto& [function, socket] : plugged_) {
        all += function.text() + " " + socket + "\n";
    }
    return all + node_->everything();
}

std::vector<MessagePtr> PlaneWorld::list(const std::string& plural, const std::string& parent) {
    constexpr std::size_t kMost = 1000;
    const PlaneCall& lists = *find_call("List" + plural);
    std::vector<MessagePtr> all;
    std::string token;
    do {
        const MessagePtr request = request_of(lists, "parent", parent);
        const auto* type = request->GetDescriptor();
        request->GetReflection()->SetInt32(request.get(), type->FindFieldByName("page_size"), 3);
        request->GetReflection()->SetString(request.get(), type->FindFieldByName("page_token"),
                                            token);
        const auto answer = call(lists, *request);
        CHECK(answer.has_value());
        const auto& field = *(*answer)->GetDescriptor()->field(0);
        const int count = (*answer)->GetReflection()->FieldSize(**answer, &field);
        CHECK(count <= 3);
        for (int i = 0; i < count; ++i) {
            const Message& one =
                (*answer)->GetReflection()->GetRepeatedMessage(**answer, &field, i);
            all.emplace_back(one.New())->CopyFrom(one);
        }
        token = text_field(**answer, "next_page_token");
        CHECK(all.size() < kMost && (token.empty() || count == 3));
    } while (!token.empty());
    return all;
}

std::string PlaneWorld::check_listings() {
    std::string text;
    for (const Listed& kind : kListed) {
        std::string last;
        for (const MessagePtr& one : list(kind.plural, kind.parent)) {
            const std::string name = text_field(*one, "name");
            CHECK(!name.empty() && (last.empty() || control::NaturalLess()(last, name)));
            const PlaneCall& gets = *find_call(std::string("Get") + kind.singular);
            const auto got = call(gets, *request_of(gets, "name", name));
            CHECK(got.has_value());
            CHECK((*got)->SerializeAsString() == one->SerializeAsString());
            text += stored_of(*one).ShortDebugString() + "\n";
            last = name;
        }
    }
    return text;
}

void PlaneWorld::delete_all(const std::string& singular, const std::string& plural) {
    std::string parent;
    for (const Listed& kind : kListed) {
        parent = kind.singular == singular ? kind.parent : parent;
    }
    for (const MessagePtr& one : list(plural, parent)) {
        const bool attached = singular == "Attachment";
        const PlaneCall& deletes = *find_call(attached ? "DetachVolume" : "Delete" + singular);
        const auto gone =
            call(deletes, *request_of(deletes, attached ? "volume_uuid" : "name",
                                      text_field(*one, attached ? "volume_uuid" : "name")));
        CHECK(gone.has_value());
    }
}

void PlaneWorld::delete_everything() {
    // This world's change of a key never ends, and what is being given one is deleted only then.
    node_->rekey_trouble = "it cannot go on";
    for (const Listed& kind : kListed) {
        delete_all(kind.singular, kind.plural);
    }
}

void PlaneWorld::check_nothing_left() {
    // Which key a remote volume had is remembered beyond what stood on it.
    const auto stored = store_.load();
    CHECK(std::ranges::all_of(*stored, [](const control::StoredObject& object) {
        return object.kind == control::Kind::KeyVerifier;
    }));
    CHECK(plugged_.empty() && node_->volumes.empty() && node_->subsystems.empty());
    CHECK(node_->listeners.empty() && node_->namespaces.empty() && node_->remotes.empty());
    CHECK(node_->vhosts.empty() && node_->referrals.empty());
    CHECK(node_->competition == node::Competition{});
}

}  // namespace remora::fuzz
