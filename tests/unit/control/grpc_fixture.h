// SPDX-License-Identifier: Apache-2.0
// GrpcTest: the gRPC server in front of a control plane over fakes, on a reactor of its own thread,
// and calls to any method by its name, with requests written as text. The machine that the
// inventory shows is the folder machine(), empty at first.
#pragma once

#include <filesystem>
#include <latch>
#include <memory>
#include <string>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/text_format.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "control/audit_log.h"
#include "control/grpc_server.h"
#include "reactor/linux/reactor_thread.h"
#include "remora/v1/remora.grpc.pb.h"
#include "tests/support/scratch_folder.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

/// One call of bytes with bytes.
struct RawAnswer {
    grpc::Status status;
    std::string bytes;
};

inline RawAnswer raw_call(const std::shared_ptr<grpc::Channel>& channel,
                          const std::string& path,
                          const std::string& request) {
    grpc::GenericStub stub(channel);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    const grpc::Slice slice(request);
    auto call = stub.PrepareUnaryCall(&context, path, grpc::ByteBuffer(&slice, 1), &queue);
    call->StartCall();
    grpc::ByteBuffer answer;
    RawAnswer out;
    call->Finish(&answer, &out.status, &stub);
    void* tag = nullptr;
    bool ok = false;
    queue.Next(&tag, &ok);
    grpc::Slice bytes;
    if (out.status.ok() && answer.DumpToSingleSlice(&bytes).ok()) {
        out.bytes.assign(bytes.begin(), bytes.end());
    }
    return out;
}

class GrpcTest : public testing::Test {
  public:
    /// `audit` is told of changes; null: nobody is.
    explicit GrpcTest(std::shared_ptr<control::AuditLog> audit = nullptr)
        : thread_(std::move(*reactor::ReactorThread::start({}))) {
        network_.targets[kTarget] = {{kNqn, {{1, uuid_of(1)}, {2, uuid_of(2)}, {3, uuid_of(3)}}}};
        on_reactor([this] {
            control::Options options;
            options.seal_keys = &seal_keys_;
            options.crypt_kernel = "fake";
            plane_ = std::make_unique<control::ControlPlane>(store_, node_, host_, core::Prng(7),
                                                             options);
        });
        server_ = std::move(*control::GrpcServer::start("127.0.0.1:0", thread_->reactor(), *plane_,
                                                        platform::MachineFiles(machine_.path()),
                                                        std::move(audit)));
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

    /// Calls `method` ("opi_api.storage.v1.NullVolumeService.GetNullVolume") with the request that
    /// `text` is in protobuf's text format. The answer, if there is one, is put into text as well.
    grpc::Status call(const std::string& method, const std::string& text, std::string* answer) {
        const auto* found =
            google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(method);
        if (found == nullptr) {
            return {grpc::StatusCode::INTERNAL, "no method " + method};
        }
        auto& factory = *google::protobuf::MessageFactory::generated_factory();
        const std::unique_ptr<google::protobuf::Message> request(
            factory.GetPrototype(found->input_type())->New());
        if (!google::protobuf::TextFormat::ParseFromString(text, request.get())) {
            return {grpc::StatusCode::INTERNAL, "no " + found->input_type()->name() + ": " + text};
        }
        const RawAnswer raw =
            raw_call(channel_, "/" + found->service()->full_name() + "/" + found->name(),
                     request->SerializeAsString());
        const std::unique_ptr<google::protobuf::Message> response(
            factory.GetPrototype(found->output_type())->New());
        if (!response->ParseFromString(raw.bytes)) {
            return {grpc::StatusCode::INTERNAL, "the answer is no " + found->output_type()->name()};
        }
        if (answer != nullptr) {
            *answer = response->ShortDebugString();
        }
        return raw.status;
    }
    /// All that is stored, on the data plane and in the host: equal before and after a call that
    /// did nothing.
    std::string everything() {
        std::string all;
        on_reactor([&] {
            for (const control::StoredObject& object : *store_.load()) {
                all += std::string(control::store_text(object.kind)) + " " + object.name + " " +
                       object.body + "\n";
            }
            all += node_.everything();
            for (const auto& [function, socket] : plugged_) {
                all += function.text() + " " + socket + "\n";
            }
        });
        return all;
    }
    [[nodiscard]] const ScratchFolder& machine() const { return machine_; }
    control::GrpcServer& server() { return *server_; }
    reactor::Reactor& control_reactor() { return thread_->reactor(); }

    std::unique_ptr<api::RemoraService::Stub> stub_;
    std::shared_ptr<grpc::Channel> channel_;

  private:
    template <typename F>
    static reactor::detail::Detached run(F& body, std::latch& done) {
        co_await body();
        done.count_down();
    }

    ScratchFolder machine_;
    Steps steps_;
    Network network_;
    std::map<core::HostFunction, std::string> plugged_;
    MemoryStore store_{steps_};
    FakeNode node_{network_, steps_};
    FakeHost host_{plugged_, steps_};
    std::unique_ptr<reactor::ReactorThread> thread_;
    FakeSealKeys seal_keys_;
    std::unique_ptr<control::ControlPlane> plane_;
    std::unique_ptr<control::GrpcServer> server_;
};

}  // namespace remora::test
