// SPDX-License-Identifier: Apache-2.0
#include "rest/caller.h"

#include <string>

#include <grpc/support/time.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include "core/http_peer.h"

namespace remora::rest {

using google::protobuf::Message;

grpc::Status ChannelCaller::call(const google::protobuf::MethodDescriptor& method,
                                 const Message& request,
                                 Message& response,
                                 core::Nanos limit,
                                 const std::string& peer) {
    grpc::ClientContext context;
    context.AddMetadata(core::kHttpPeerKey, peer);
    context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                      gpr_time_from_nanos(limit.count(), GPR_TIMESPAN)));
    if (!enter(context)) {
        return {grpc::StatusCode::UNAVAILABLE, "remorad is stopping"};
    }
    grpc::CompletionQueue queue;
    grpc::TemplatedGenericStub<Message, Message> stub(channel_);
    const std::string path = "/" + method.service()->full_name() + "/" + method.name();
    grpc::Status status;
    const auto call = stub.PrepareUnaryCall(&context, path, request, &queue);
    call->StartCall();
    call->Finish(&response, &status, this);
    void* tag = nullptr;
    bool finished = false;
    queue.Next(&tag, &finished);  // Bounded by the call's deadline.
    queue.Shutdown();
    leave(context);
    return status;
}

bool ChannelCaller::enter(grpc::ClientContext& context) {
    const std::scoped_lock lock(mutex_);
    if (!cancelled_) {
        under_way_.push_back(&context);
    }
    return !cancelled_;
}

void ChannelCaller::leave(grpc::ClientContext& context) {
    const std::scoped_lock lock(mutex_);
    std::erase(under_way_, &context);
}

void ChannelCaller::cancel() {
    const std::scoped_lock lock(mutex_);
    cancelled_ = true;
    for (grpc::ClientContext* context : under_way_) {
        context->TryCancel();
    }
}

}  // namespace remora::rest
