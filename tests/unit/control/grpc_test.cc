// SPDX-License-Identifier: Apache-2.0
// The gRPC server: health, codes and sentences as a client gets them, reflection, and many clients
// at once.
#include <thread>
#include <vector>

#include "tests/unit/control/grpc_fixture.h"
#include "tests/unit/control/served_services.h"

namespace remora::test {

namespace {

/// grpc.health.v1.HealthCheckResponse holds one enum, field 1: 1 = SERVING, 2 = NOT_SERVING.
/// `service` empty: the whole server. -1: no answer; -2: it knows no such service.
int health(const std::shared_ptr<grpc::Channel>& channel, const std::string& service = "") {
    std::string request;
    if (!service.empty()) {
        request = std::string("\x0a") + static_cast<char>(service.size()) + service;
    }
    const RawAnswer answer = raw_call(channel, "/grpc.health.v1.Health/Check", request);
    if (answer.status.error_code() == grpc::StatusCode::NOT_FOUND) {
        return -2;
    }
    return answer.status.ok() && answer.bytes.size() == 2 ? answer.bytes[1] : -1;
}

TEST_F(GrpcTest, Server_untilRebuilt_isNotServing) {
    EXPECT_EQ(health(channel_), 2);
    api::Attachment disk;
    EXPECT_EQ(attach(1, 0, disk).error_code(), grpc::StatusCode::UNAVAILABLE);

    serve();

    EXPECT_EQ(health(channel_), 1);
    EXPECT_TRUE(attach(1, 0, disk).ok());
    EXPECT_EQ(disk.name(), "attachments/0");
}

TEST_F(GrpcTest, Health_ofEachService_followsTheServers) {
    for (const std::string& service : served_services()) {
        EXPECT_EQ(health(channel_, service), 2) << service;
    }

    serve();

    for (const std::string& service : served_services()) {
        EXPECT_EQ(health(channel_, service), 1) << service;
    }
    EXPECT_EQ(health(channel_, "opi_api.storage.v1.NoSuchService"), -2);
}

TEST_F(GrpcTest, Errors_haveTheRightCodeAndASentence) {
    serve();
    api::Attachment disk;
    ASSERT_TRUE(attach(1, 0, disk).ok());

    EXPECT_EQ(attach(2, 0, disk).error_code(), grpc::StatusCode::ALREADY_EXISTS);
    EXPECT_EQ(attach(99, 1, disk).error_code(), grpc::StatusCode::NOT_FOUND);
    const auto full = attach(2, 64, disk);
    EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_NE(full.error_message().find("64"), std::string::npos);
}

TEST_F(GrpcTest, Attach_manyClientsOneFunction_oneWins) {
    serve();
    std::atomic<int> winners{0};
    {
        std::vector<std::jthread> clients;
        for (int i = 0; i < 3; ++i) {
            clients.emplace_back([&, i] {
                api::Attachment disk;
                winners += attach(i + 1, 5, disk).ok() ? 1 : 0;
            });
        }
    }
    EXPECT_EQ(winners.load(), 1);
}

TEST_F(GrpcTest, Reflection_isThere) {
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    auto call = stub.PrepareCall(
        &context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
    void* tag = nullptr;
    bool ok = false;
    call->StartCall(&stub);
    queue.Next(&tag, &ok);
    // ServerReflectionRequest.list_services (field 7) = "*".
    const std::string request("\x3a\x01*", 3);
    const grpc::Slice slice(request);
    call->Write(grpc::ByteBuffer(&slice, 1), &stub);
    queue.Next(&tag, &ok);
    grpc::ByteBuffer answer;
    call->Read(&answer, &stub);
    queue.Next(&tag, &ok);
    ASSERT_TRUE(ok);
    grpc::Slice bytes;
    ASSERT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
    const std::string text(bytes.begin(), bytes.end());
    for (const std::string& service : served_services()) {
        EXPECT_NE(text.find(service), std::string::npos) << service;
    }
    context.TryCancel();
    grpc::Status status;
    call->Finish(&status, &stub);
    queue.Next(&tag, &ok);
}

}  // namespace

}  // namespace remora::test
