// SPDX-License-Identifier: Apache-2.0
// rest::Server: the listening HTTP server in front of a gRPC channel. Started and stopped on the
// main thread; requests run on a fixed number of threads of the HTTP library, each with one
// connection at a time, and a bounded number of connections waits for one of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/result.h"

namespace grpc {
class Channel;
}

namespace remora::rest {

class Server {
  public:
    /// `address` is HOST:PORT; port 0 = one is picked. `services` are the full names of those
    /// behind the channel. Errors: InvalidArgument for an address that is none,
    /// FailedPrecondition when it cannot be listened on.
    static core::Result<std::unique_ptr<Server>> start(const std::string& address,
                                                       std::shared_ptr<grpc::Channel> channel,
                                                       const std::vector<std::string>& services);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    /// HOST:PORT with the port that was picked.
    [[nodiscard]] const std::string& address() const;
    /// Takes no further connections and requests, gives those under way a few seconds, ends the
    /// threads. Before the gRPC server is stopped.
    void stop();

  private:
    struct Parts;
    explicit Server(std::unique_ptr<Parts> parts);

    std::unique_ptr<Parts> parts_;
};

}  // namespace remora::rest
