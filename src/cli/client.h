// SPDX-License-Identifier: Apache-2.0
// Client: one command's connection to a daemon. Calls are made by method name with any request
// type, so the tables of kinds need no stub each. One thread; all calls of a command share one
// deadline.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <string_view>

#include <google/protobuf/message.h>
#include <grpcpp/channel.h>

#include "cli/failure.h"

namespace remora::cli {

using google::protobuf::Message;

inline constexpr const char* kDefaultServer = "127.0.0.1:50051";
inline constexpr double kDefaultTimeoutSeconds = 30;

/// What holds for every command: the global flags, and where output goes.
struct Session {
    std::ostream& out;
    std::string server = kDefaultServer;
    double timeout_seconds = kDefaultTimeoutSeconds;
    std::string output = "table";

    [[nodiscard]] bool json() const { return output == "json"; }
};

class Client {
  public:
    /// `busy` is how long the daemon works on the command by its very nature (a benchmark's
    /// time), on top of the session's timeout. Throws Refused for an address that is none.
    explicit Client(const Session& session, std::chrono::milliseconds busy = {});

    /// One call of `service` ("remora.v1.RemoraService"). Throws Refused with the daemon's words,
    /// or with ours when no daemon answered.
    void call(std::string_view service,
              std::string_view method,
              const Message& request,
              Message& response);

    enum class Ended {
        ByUs,        ///< `take` or `stop` said so.
        FellBehind,  ///< OUT_OF_RANGE: the daemon kept no more for us.
    };

    /// A call whose answers have no end: each is read into `response`, and then `take` is called,
    /// which says whether there shall be another. `stop` is asked a few times a second. No time
    /// limit. Throws as call() does when the daemon ends it.
    Ended stream(std::string_view service,
                 std::string_view method,
                 const Message& request,
                 Message& response,
                 const std::function<bool()>& take,
                 const std::function<bool()>& stop);

  private:
    [[noreturn]] void refuse(const grpc::Status& status) const;

    std::string server_;
    double timeout_seconds_;
    std::shared_ptr<grpc::Channel> channel_;
    std::chrono::system_clock::time_point deadline_;
};

}  // namespace remora::cli
