// SPDX-License-Identifier: Apache-2.0
// The gRPC server in front of a control plane over fakes, on a reactor of its own thread: health,
// codes and sentences as a client gets them, reflection, and many clients at once.
#include <latch>
#include <thread>

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "control/grpc_server.h"
#include "reactor/linux/reactor_thread.h"
#include "remora/v1/remora.grpc.pb.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

class GrpcTest : public testing::Test {
  public:
    GrpcTest() : thread_(std::move(*reactor::ReactorThread::start({}))) {
        network_.targets[kTarget] = {{kNqn, {{1, uuid_of(1)}, {2, uuid_of(2)}, {3, uuid_of(3)}}}};
        on_reactor([this] {
            plane_ = std::make_unique<control::ControlPlane>(store_, node_, host_, core::Prng(7),
                                                             control::Options());
        });
        server_ =
            std::move(*control::GrpcServer::start("127.0.0.1:0", thread_->reactor(), *plane_));
        channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
        stub_ = api::RemoraService::NewStub(channel_);
    }
    ~GrpcTest() override {
        server_->stop();
        await([this]() -> Task<> { EXPECT_TRUE(co_await plane_->stop(core::kNever)); });
        on_reactor([this] { plane_.reset(); });
    }

    template <typename F>
    void on_reactor(F body) {
        std::latch done(1);
        thread_->reactor().post_function([&] {
            body();
            done.count_down();
        });
        done.wait();
    }
    template <typename F>
    void await(F body) {
        std::latch done(1);
        thread_->reactor().post_function([&] { run(body, done); });
        done.wait();
    }
    void serve() {
        await([this]() -> Task<> { EXPECT_TRUE(co_await plane_->start()); });
        server_->set_serving(true);
    }
    grpc::Status attach(int volume, int function, api::Attachment& out) {
        grpc::ClientContext context;
        return stub_->AttachVolume(&context, PlaneFixture::attach_request(volume, function), &out);
    }

    std::unique_ptr<api::RemoraService::Stub> stub_;
    std::shared_ptr<grpc::Channel> channel_;

  private:
    template <typename F>
    static reactor::detail::Detached run(F& body, std::latch& done) {
        co_await body();
        done.count_down();
    }

    Steps steps_;
    Network network_;
    std::map<std::uint32_t, std::string> plugged_;
    MemoryStore store_{steps_};
    FakeNode node_{network_, steps_};
    FakeHost host_{plugged_, steps_};
    std::unique_ptr<reactor::ReactorThread> thread_;
    std::unique_ptr<control::ControlPlane> plane_;
    std::unique_ptr<control::GrpcServer> server_;
};

/// grpc.health.v1.HealthCheckResponse holds one enum, field 1: 1 = SERVING, 2 = NOT_SERVING.
int health(const std::shared_ptr<grpc::Channel>& channel) {
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice nothing;
    const grpc::ByteBuffer empty(&nothing, 1);
    auto call = stub.PrepareUnaryCall(&context, "/grpc.health.v1.Health/Check", empty, &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    grpc::Status status;
    call->Finish(&answer, &status, &stub);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    grpc::Slice bytes;
    if (!status.ok() || !answer.DumpToSingleSlice(&bytes).ok() || bytes.size() != 2) {
        return -1;
    }
    return bytes.begin()[1];
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
    for (const char* service :
         {"opi_api.storage.v1.MallocVolumeService", "opi_api.storage.v1.NullVolumeService",
          "opi_api.storage.v1.AioVolumeService", "opi_api.storage.v1.FrontendNvmeService",
          "opi_api.storage.v1.NvmeRemoteControllerService",
          "opi_api.storage.v1.FrontendVirtioBlkService", "remora.v1.RemoraService"}) {
        EXPECT_NE(text.find(service), std::string::npos) << service;
    }
    context.TryCancel();
    grpc::Status status;
    call->Finish(&status, &stub);
    queue.Next(&tag, &ok);
}

}  // namespace

}  // namespace remora::test
