// SPDX-License-Identifier: Apache-2.0
#include "cli/client.h"

#include <cmath>
#include <cstdio>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/credentials.h>

#include "cli/endpoint.h"

namespace remora::cli {

namespace {

constexpr double kLongestTimeoutSeconds = 86400;

std::shared_ptr<grpc::Channel> connect(const std::string& server) {
    if (!server.starts_with("unix:")) {
        take(parse_endpoint("--server", server));
    }
    grpc::ChannelArguments arguments;
    // The daemon's address is meant as written: a web proxy in the environment is not for it.
    arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
    arguments.SetMaxReceiveMessageSize(-1);
    return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), arguments);
}

std::string seconds_text(double seconds) {
    char text[32];
    std::snprintf(text, sizeof text, "%g s", seconds);
    return text;
}

}  // namespace

Client::Client(const Session& session, std::chrono::milliseconds busy)
    : server_(session.server),
      timeout_seconds_(session.timeout_seconds + std::chrono::duration<double>(busy).count()) {
    if (!std::isfinite(timeout_seconds_) || session.timeout_seconds <= 0 ||
        session.timeout_seconds > kLongestTimeoutSeconds) {
        refuse_argument("--timeout " + seconds_text(session.timeout_seconds) +
                        " is no time to wait: use more than 0 and at most 86400 seconds");
    }
    channel_ = connect(server_);
    deadline_ = std::chrono::system_clock::now() +
                std::chrono::milliseconds(std::llround(timeout_seconds_ * 1000));
}

void Client::call(std::string_view service,
                  std::string_view method,
                  const Message& request,
                  Message& response) {
    const std::string path = "/" + std::string(service) + "/" + std::string(method);
    grpc::ClientContext context;
    context.set_deadline(deadline_);
    grpc::CompletionQueue queue;
    grpc::TemplatedGenericStub<Message, Message> stub(channel_);
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool finished = false;
    queue.Next(&tag, &finished);  // Bounded by the call's deadline.
    queue.Shutdown();
    if (!status.ok()) {
        refuse(status);
    }
}

Client::Ended Client::stream(std::string_view service,
                             std::string_view method,
                             const Message& request,
                             Message& response,
                             const std::function<bool()>& take,
                             const std::function<bool()>& stop) {
    constexpr auto kStep = std::chrono::milliseconds(100);
    const std::string path = "/" + std::string(service) + "/" + std::string(method);
    grpc::ClientContext context;
    grpc::CompletionQueue queue;
    grpc::TemplatedGenericStub<Message, Message> stub(channel_);
    bool stopped = false;
    // Waits for the one operation under way, and cancels the call when the user wants its end.
    const auto done = [&] {
        void* tag = nullptr;
        bool good = false;
        while (queue.AsyncNext(&tag, &good, std::chrono::system_clock::now() + kStep) ==
               grpc::CompletionQueue::TIMEOUT) {
            if (!stopped && stop()) {
                stopped = true;
                context.TryCancel();
            }
        }
        return good;
    };
    const auto call = stub.PrepareCall(&context, path, &queue);
    call->StartCall(this);
    if (done()) {
        call->WriteLast(request, grpc::WriteOptions(), this);
        bool going = done();
        while (going) {
            call->Read(&response, this);
            going = done();
            if (going && !stopped && (stop() || !take())) {
                stopped = true;
                context.TryCancel();
            }
        }
    }
    grpc::Status status;
    call->Finish(&status, this);
    done();
    queue.Shutdown();
    if (stopped) {
        return Ended::ByUs;
    }
    if (status.error_code() == grpc::StatusCode::OUT_OF_RANGE) {
        return Ended::FellBehind;
    }
    refuse(status);
}

void Client::refuse(const grpc::Status& status) const {
    const grpc::StatusCode code = status.error_code();
    // A daemon may say UNAVAILABLE about others; it is about itself only without a connection.
    if (code == grpc::StatusCode::UNAVAILABLE && channel_->GetState(false) != GRPC_CHANNEL_READY) {
        throw Refused(code, "no daemon answers at " + server_ +
                                ": start one with `remorad --state DIR --grpc " + server_ +
                                "`, or name another with --server (" + status.error_message() +
                                ")");
    }
    if (code == grpc::StatusCode::DEADLINE_EXCEEDED &&
        std::chrono::system_clock::now() >= deadline_) {
        throw Refused(code, "the daemon at " + server_ + " did not answer within " +
                                seconds_text(timeout_seconds_) +
                                ": give it longer with --timeout SECONDS");
    }
    std::string sentence = status.error_message();
    while (sentence.ends_with('.') || sentence.ends_with('\n')) {
        sentence.pop_back();
    }
    throw Refused(code, sentence.empty() ? "the daemon refused, without a reason" : sentence);
}

}  // namespace remora::cli
