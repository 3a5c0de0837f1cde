// SPDX-License-Identifier: Apache-2.0
// AuditLog: who asked for which change, when, and what came of it. Any thread.
//
// A call leaves two records with one number: `begin` before anything is done, durable by then, and
// `end` with the outcome. So whatever was done is there: where a crash took the `end`, the `start`
// record of the next remorad follows, and the outcome is the resource's state. A call whose `begin`
// cannot be written is refused, and nothing is done.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include "core/result.h"

namespace remora::control {

/// Where records go, a line each.
class AuditSink {
  public:
    AuditSink() = default;
    AuditSink(const AuditSink&) = delete;
    AuditSink& operator=(const AuditSink&) = delete;
    virtual ~AuditSink() = default;

    /// Adds `line`, which ends with the only newline in it, wholly or not at all. `durable`: it
    /// survives a loss of power when this returns. Any thread; may block as a disk does.
    virtual core::Result<void> append(std::string_view line, bool durable) = 0;
};

/// Who called. Each is bounded text, and empty where it is not known.
struct AuditCaller {
    std::string via;       ///< "grpc" or "rest".
    std::string peer;      ///< ADDR:PORT of the client.
    std::string identity;  ///< What its certificate says, where the connection has one.
};

/// The HTTP front's word of who its client is counts only where the call came `in_process`.
AuditCaller caller_of(const grpc::ServerContext& context, bool in_process);

class AuditLog;

/// A call that was begun, to be ended once. Empty: a call that leaves no trace.
class AuditEntry {
  public:
    AuditEntry() = default;

    /// `response` is looked at when `status` is good. `client_gone`: nobody took the answer.
    /// What cannot be written goes to the program's log.
    void end(const grpc::Status& status,
             const google::protobuf::Message& response,
             bool client_gone);

  private:
    friend class AuditLog;

    std::shared_ptr<AuditLog> log_;
    std::uint64_t number_ = 0;
    std::int64_t began_ns_ = 0;
    const google::protobuf::MethodDescriptor* method_ = nullptr;
    AuditCaller caller_;
    std::string resource_;
};

class AuditLog : public std::enable_shared_from_this<AuditLog> {
  public:
    /// Writes the `start` record. `last_number` is the largest in the sink so far.
    static core::Result<std::shared_ptr<AuditLog>> start(std::unique_ptr<AuditSink> sink,
                                                         std::uint64_t last_number);

    /// Errors: ResourceExhausted when it cannot be written, and then the call must not be made.
    core::Result<AuditEntry> begin(AuditCaller caller,
                                   const google::protobuf::MethodDescriptor& method,
                                   const google::protobuf::Message& request);

  private:
    friend class AuditEntry;
    AuditLog(std::unique_ptr<AuditSink> sink, std::uint64_t last_number)
        : sink_(std::move(sink)), last_number_(last_number) {}
    core::Result<void> append(const std::string& line, bool durable);

    std::unique_ptr<AuditSink> sink_;
    std::atomic<std::uint64_t> last_number_;
    std::atomic<bool> failing_{false};
};

}  // namespace remora::control
