// SPDX-License-Identifier: Apache-2.0
// Caller: does a call over gRPC, whatever its messages. ChannelCaller's channel leads into the
// server of the same process, so a call over HTTP passes the checks, locks and limits of any other.
// Any thread, several at once.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/message.h>
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/support/status.h>

#include "core/units.h"

namespace remora::rest {

class Caller {
  public:
    Caller() = default;
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    virtual ~Caller() = default;

    /// Waits for the answer, at most for `limit`. `peer` is the client's address, for the audit.
    virtual grpc::Status call(const google::protobuf::MethodDescriptor& method,
                              const google::protobuf::Message& request,
                              google::protobuf::Message& response,
                              core::Nanos limit,
                              const std::string& peer) = 0;
};

class ChannelCaller final : public Caller {
  public:
    explicit ChannelCaller(std::shared_ptr<grpc::Channel> channel) : channel_(std::move(channel)) {}

    grpc::Status call(const google::protobuf::MethodDescriptor& method,
                      const google::protobuf::Message& request,
                      google::protobuf::Message& response,
                      core::Nanos limit,
                      const std::string& peer) override;
    /// Calls under way end as cancelled (what they began goes on), later ones fail at once.
    void cancel();

  private:
    bool enter(grpc::ClientContext& context);
    void leave(grpc::ClientContext& context);

    std::shared_ptr<grpc::Channel> channel_;
    std::mutex mutex_;
    std::vector<grpc::ClientContext*> under_way_;
    bool cancelled_ = false;
};

}  // namespace remora::rest
