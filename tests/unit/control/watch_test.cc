// SPDX-License-Identifier: Apache-2.0
// Streams of changes: from the model's commits to a watcher's queue, and over gRPC.
#include <set>

#include <google/protobuf/descriptor.h>

#include "google/api/field_behavior.pb.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::Watcher;
using Event = api::ResourceEvent;

const std::string kMalloc = "opi_api.storage.v1.MallocVolume";

class WatchTest : public PlaneFixture {
  public:
    Result<void> add(const std::shared_ptr<Watcher>& watcher,
                     const api::WatchResourcesRequest& request) {
        Result<void> result;
        run([&]() -> Task<> {
            result = plane->watchers.add(watcher, request);
            co_return;
        });
        return result;
    }
    std::shared_ptr<Watcher> watch(const std::string& kind = kMalloc, bool changes_only = false) {
        api::WatchResourcesRequest request;
        request.set_changes_only(changes_only);
        if (!kind.empty()) {
            request.add_kinds(kind);
        }
        auto watcher = std::make_shared<Watcher>(request);
        EXPECT_TRUE(add(watcher, request));
        return watcher;
    }
    /// "ADDED volumes/m0", for each event but changes of conditions.
    static std::vector<std::string> take(Watcher& watcher) {
        std::vector<std::string> out;
        for (const auto& event : watcher.take(core::Nanos{0}).events) {
            if (event->type() != Event::TYPE_CONDITION) {
                out.push_back(Event::Type_Name(event->type()).substr(5) +
                              (event->name().empty() ? "" : " " + event->name()));
            }
        }
        return out;
    }
    Result<google::protobuf::Empty> delete_malloc(const std::string& name) {
        opi::DeleteMallocVolumeRequest request;
        request.set_name(name);
        return call(&ControlPlane::volumes, &control::Volumes::delete_malloc, request);
    }
    Result<opi::MallocVolume> grow(const opi::MallocVolume& volume) {
        opi::UpdateMallocVolumeRequest request;
        *request.mutable_malloc_volume() = volume;
        request.mutable_malloc_volume()->set_blocks_count(volume.blocks_count() * 2);
        return call(&ControlPlane::volumes, &control::Volumes::update_malloc, request);
    }
};

using Texts = std::vector<std::string>;

TEST_F(WatchTest, WhatExists_comesFirst_thenEachChange) {
    const auto volume = create_malloc("m0");
    ASSERT_TRUE(volume);
    const auto watcher = watch();
    EXPECT_EQ(take(*watcher), (Texts{"EXISTING volumes/m0", "SYNCED"}));
    ASSERT_TRUE(create_malloc("m1"));
    ASSERT_TRUE(grow(*volume));
    ASSERT_TRUE(delete_malloc("volumes/m0"));
    EXPECT_EQ(take(*watcher),
              (Texts{"ADDED volumes/m1", "MODIFIED volumes/m0", "DELETED volumes/m0"}));
}

TEST_F(WatchTest, Events_haveTheResourceAndGrowingRevisions) {
    const auto watcher = watch(kMalloc, true);
    ASSERT_TRUE(create_malloc("m0", 2048));
    const auto taken = watcher->take(core::Nanos{0}).events;
    ASSERT_GE(taken.size(), 2U);
    EXPECT_EQ(taken[0]->type(), Event::TYPE_SYNCED);
    EXPECT_GT(taken[1]->revision(), taken[0]->revision());
    opi::MallocVolume volume;
    ASSERT_TRUE(taken[1]->resource().UnpackTo(&volume));
    EXPECT_EQ(volume.blocks_count(), 2048);
    EXPECT_EQ(taken[1]->kind(), kMalloc);
}

TEST_F(WatchTest, OtherKinds_areLeftOut) {
    const auto watcher = watch("opi_api.storage.v1.VirtioBlk");
    ASSERT_TRUE(create_malloc("m0"));
    EXPECT_EQ(take(*watcher), (Texts{"SYNCED"}));
}

TEST_F(WatchTest, CallThatFails_isNoChange) {
    const auto watcher = watch();
    steps.taken = 0;
    steps.fail_at = 1;
    (void)create_malloc("m0");
    steps.fail_at = 0;
    EXPECT_EQ(take(*watcher), (Texts{"SYNCED"}));
}

TEST_F(WatchTest, Conditions_areToldWhenTheyChange) {
    ASSERT_TRUE(create_malloc("m0"));
    const auto watcher = watch(kMalloc, true);
    node->volumes.erase("mallocVolumes/m0");
    std::string reason;
    turn_until([&] {
        for (const auto& event : watcher->take(core::Nanos{0}).events) {
            if (event->type() == Event::TYPE_CONDITION && event->name() == "volumes/m0") {
                reason = event->conditions(0).reason();
            }
        }
        return reason == "NotBuilt";
    });
}

TEST_F(WatchTest, WhoDoesNotTake_fallsBehind_andIsForgotten) {
    const auto watcher = watch(kMalloc, true);
    const auto event = std::make_shared<const Event>();
    std::size_t pushed = 0;
    while (watcher->push(event)) {
        ++pushed;
        ASSERT_LE(pushed, Watcher::kMostWaiting);
    }
    const auto taken = watcher->take(core::Nanos{0});
    EXPECT_EQ(taken.state, Watcher::State::FallenBehind);
    EXPECT_GE(taken.events.size(), Watcher::kMostWaiting);
}

TEST_F(WatchTest, TooMany_orUnknownKinds_areRefused) {
    std::vector<std::shared_ptr<Watcher>> watchers;
    for (std::size_t i = 0; i < control::WatchHub::kMostWatchers; ++i) {
        watchers.push_back(watch());
    }
    api::WatchResourcesRequest request;
    EXPECT_KIND(add(std::make_shared<Watcher>(request), request), ResourceExhausted);
    watchers.pop_back();  // its client has gone
    EXPECT_TRUE(add(std::make_shared<Watcher>(request), request));
    request.add_kinds("opi_api.storage.v1.NoSuchKind");
    EXPECT_KIND(add(std::make_shared<Watcher>(request), request), InvalidArgument);
}

TEST_F(GrpcTest, Watch_streams_untilTheClientGoes) {
    serve();
    grpc::ClientContext context;
    api::WatchResourcesRequest request;
    request.add_kinds("remora.v1.Attachment");
    const auto reader = stub_->WatchResources(&context, request);
    Event event;
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.type(), Event::TYPE_SYNCED);
    api::Attachment disk;
    ASSERT_TRUE(attach(1, 0, disk).ok());
    ASSERT_TRUE(reader->Read(&event));
    EXPECT_EQ(event.type(), Event::TYPE_ADDED);
    EXPECT_EQ(event.name(), "attachments/0");
    context.TryCancel();
    while (reader->Read(&event)) {
    }
    EXPECT_EQ(reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

// --- Capabilities ---

bool is_required(const google::protobuf::FieldDescriptor& field) {
    const auto& options = field.options();
    for (int i = 0; i < options.ExtensionSize(google::api::field_behavior); ++i) {
        if (options.GetExtension(google::api::field_behavior, i) == google::api::REQUIRED) {
            return true;
        }
    }
    return false;
}

/// Something in each required field.
void fill(google::protobuf::Message& message, int depth = 0) {
    using google::protobuf::FieldDescriptor;
    const auto* reflection = message.GetReflection();
    for (int i = 0; i < message.GetDescriptor()->field_count() && depth < 4; ++i) {
        const FieldDescriptor* field = message.GetDescriptor()->field(i);
        if (field->is_repeated() || !(is_required(*field) || field->name() == "name")) {
            continue;
        }
        switch (field->cpp_type()) {
            case FieldDescriptor::CPPTYPE_STRING:
                reflection->SetString(&message, field,
                                      field->type() == FieldDescriptor::TYPE_BYTES
                                          ? std::string(32, 'k')
                                          : "volumes/x-1");
                break;
            case FieldDescriptor::CPPTYPE_INT32:
                reflection->SetInt32(&message, field, 1);
                break;
            case FieldDescriptor::CPPTYPE_INT64:
                reflection->SetInt64(&message, field, 512);
                break;
            case FieldDescriptor::CPPTYPE_UINT32:
                reflection->SetUInt32(&message, field, 1);
                break;
            case FieldDescriptor::CPPTYPE_ENUM: {
                const auto* tcp = field->enum_type()->FindValueByName("NVME_TRANSPORT_TYPE_TCP");
                const auto* first = field->enum_type()->value(1);
                reflection->SetEnumValue(&message, field, (tcp != nullptr ? tcp : first)->number());
                break;
            }
            case FieldDescriptor::CPPTYPE_MESSAGE:
                fill(*reflection->MutableMessage(&message, field), depth + 1);
                break;
            case FieldDescriptor::CPPTYPE_UINT64:
                reflection->SetUInt64(&message, field, 1);
                break;
            case FieldDescriptor::CPPTYPE_BOOL:
            case FieldDescriptor::CPPTYPE_DOUBLE:
            case FieldDescriptor::CPPTYPE_FLOAT:
                break;
        }
    }
}

TEST_F(GrpcTest, Capabilities_sayOfEachCall_whetherItDoesAnything) {
    serve();
    grpc::ClientContext context;
    api::Capabilities capabilities;
    ASSERT_TRUE(stub_->GetCapabilities(&context, {}, &capabilities).ok());
    std::set<std::string> services;
    for (const auto& one : capabilities.calls()) {
        services.insert(one.service());
        const auto* method = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(
            one.service() + "." + one.method());
        ASSERT_NE(method, nullptr) << one.method();
        if (method->server_streaming()) {
            continue;
        }
        const std::unique_ptr<google::protobuf::Message> request(
            google::protobuf::MessageFactory::generated_factory()
                ->GetPrototype(method->input_type())
                ->New());
        fill(*request);
        for (int i = 0; i < request->GetDescriptor()->field_count(); ++i) {
            const auto* id = request->GetDescriptor()->field(i);
            if (method->name().starts_with("Create") && id->name().ends_with("_id") &&
                id->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_STRING) {
                request->GetReflection()->SetString(request.get(), id, "x-1");
            }
        }
        const auto status = raw_call(channel_, "/" + one.service() + "/" + one.method(),
                                     request->SerializeAsString())
                                .status;
        EXPECT_EQ(status.error_code() != grpc::StatusCode::UNIMPLEMENTED, one.supported())
            << one.service() << '.' << one.method() << ": " << status.error_message();
        EXPECT_EQ(one.reason().empty(), one.supported());
    }
    EXPECT_EQ(services.size(), 15U);
}

}  // namespace

}  // namespace remora::test
