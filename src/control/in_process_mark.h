// SPDX-License-Identifier: Apache-2.0
// InProcessMark: a secret of this process that the calls of its own channels carry, so that what
// comes by them is told from what any client of the network might write. Value type; any thread.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include <grpcpp/server_context.h>

#include "core/result.h"

namespace grpc {
class Channel;
class Server;
}  // namespace grpc

namespace remora::control {

class InProcessMark {
  public:
    /// Errors: Internal when the machine has no random numbers.
    static core::Result<InProcessMark> make();

    /// A channel into `server` whose calls carry the mark.
    [[nodiscard]] std::shared_ptr<grpc::Channel> channel(grpc::Server& server) const;
    /// Whether the call came by such a channel.
    [[nodiscard]] bool is_on(const grpc::ServerContext& context) const;

  private:
    explicit InProcessMark(std::string secret) : secret_(std::move(secret)) {}

    std::string secret_;
};

}  // namespace remora::control
