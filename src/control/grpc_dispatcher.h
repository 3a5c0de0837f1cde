// SPDX-License-Identifier: Apache-2.0
// Dispatcher: brings a gRPC call from a thread of the server to the control reactor and waits for
// its answer.
//
// A call that may change something is told to the audit log before it is made, and after it.
// The request is copied into the call, which both sides own: a client that gives up leaves the
// call to run to its end (an atomic operation finishes or undoes itself), and nobody waits.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>

#include <google/protobuf/message.h>
#include <grpcpp/server_context.h>

#include "control/audit_log.h"
#include "control/control_plane.h"
#include "control/grpc_status_map.h"
#include "control/in_process_mark.h"
#include "control/secret.h"
#include "reactor/reactor.h"

namespace remora::control {

class Dispatcher {
  public:
    /// `audit` may be null: then nobody is told. `mark` is on calls from within this process.
    Dispatcher(reactor::Reactor& control,
               ControlPlane& plane,
               std::shared_ptr<AuditLog> audit,
               InProcessMark mark)
        : control_(control), plane_(plane), audit_(std::move(audit)), mark_(std::move(mark)) {}

    /// Calls are refused until the state is rebuilt, and again from the beginning of the end.
    void set_ready(bool ready) { ready_.store(ready); }

    /// `name` is the method's, in the service of the request's file.
    template <typename Part, typename Request, typename Response>
    grpc::Status call(const char* name,
                      const grpc::ServerContext& context,
                      const Request& request,
                      Response& response,
                      Part ControlPlane::* part,
                      Task<core::Result<Response>> (Part::*method)(const Request&));

    /// Gives `write(event)` each change until the client goes or it returns false. Keeps a thread
    /// of the server for as long.
    grpc::Status watch(const grpc::ServerContext& context,
                       const api::WatchResourcesRequest& request,
                       const std::function<bool(const api::ResourceEvent&)>& write);

    /// A call that needs nothing of the control plane: `answer()` gives a Result of the response,
    /// on the calling thread of the server.
    template <typename Response, typename Answer>
    grpc::Status answer_here(Response& response, Answer answer);

  private:
    static grpc::Status not_ready() {
        return {grpc::StatusCode::UNAVAILABLE,
                "remorad is starting or stopping; try again in a moment"};
    }

    template <typename Request, typename Response>
    struct Call {
        explicit Call(const Request& asked) : request(asked) {}
        Call(const Call&) = delete;
        Call& operator=(const Call&) = delete;
        ~Call() { wipe_key(request); }

        void finish(core::Result<Response> answer) {
            const std::scoped_lock lock(mutex);
            result = std::move(answer);
            finished = true;
            done.notify_one();
            if (abandoned) {
                // Nobody else is left to do it; a commit has just kept this thread for longer.
                end_audit(true);
            }
        }
        void end_audit(bool client_gone) {
            const Response none;
            audit.end(result ? grpc::Status::OK : to_grpc_status(result.error()),
                      result ? *result : none, client_gone);
        }

        Request request;
        AuditEntry audit;
        std::mutex mutex;
        std::condition_variable done;
        bool finished = false;
        bool abandoned = false;  ///< The client's thread waits no more.
        core::Result<Response> result = core::fail(core::ErrorKind::Internal, "no answer");
    };

    template <typename Part, typename Request, typename Response>
    static Task<> run(Part* part,
                      Task<core::Result<Response>> (Part::*method)(const Request&),
                      std::shared_ptr<Call<Request, Response>> call) {
        auto result = co_await (part->*method)(call->request);
        call->finish(std::move(result));
    }

    core::Result<AuditEntry> begin_audit(const char* name,
                                         const grpc::ServerContext& context,
                                         const google::protobuf::Message& request);

    template <typename Request, typename Response>
    static grpc::Status wait(const grpc::ServerContext& context,
                             Call<Request, Response>& call,
                             Response& response);

    reactor::Reactor& control_;
    ControlPlane& plane_;
    std::shared_ptr<AuditLog> audit_;
    const InProcessMark mark_;
    std::atomic<bool> ready_{false};
};

template <typename Part, typename Request, typename Response>
grpc::Status Dispatcher::call(const char* name,
                              const grpc::ServerContext& context,
                              const Request& request,
                              Response& response,
                              Part ControlPlane::* part,
                              Task<core::Result<Response>> (Part::*method)(const Request&)) {
    auto entry = begin_audit(name, context, request);
    if (!entry) {
        return to_grpc_status(entry.error());
    }
    if (!ready_.load()) {
        entry->end(not_ready(), response, false);
        return not_ready();
    }
    auto call = std::make_shared<Call<Request, Response>>(request);
    call->audit = std::move(*entry);
    wipe_key(const_cast<Request&>(request));  // the server's own, which nobody reads any more
    control_.post_function([plane = &plane_, part, method, call] {
        const bool taken = plane->gate().spawn(&Dispatcher::run<Part, Request, Response>,
                                               &(plane->*part), method, call);
        if (!taken) {
            call->finish(core::fail(core::ErrorKind::Unavailable, "remorad is stopping"));
        }
    });
    return wait(context, *call, response);
}

template <typename Response, typename Answer>
grpc::Status Dispatcher::answer_here(Response& response, Answer answer) {
    if (!ready_.load()) {
        return not_ready();
    }
    core::Result<Response> result = answer();
    if (!result) {
        return to_grpc_status(result.error());
    }
    response = std::move(*result);
    return grpc::Status::OK;
}

template <typename Request, typename Response>
grpc::Status Dispatcher::wait(const grpc::ServerContext& context,
                              Call<Request, Response>& call,
                              Response& response) {
    // gRPC cancels a call whose deadline passes or whose client goes; this is how often we look.
    constexpr auto kStep = std::chrono::milliseconds(100);
    constexpr int kMostSteps = 2 * 60 * 60 * 10;  // For clients that set no deadline.
    std::unique_lock lock(call.mutex);
    for (int step = 0; !call.finished; ++step) {
        if (context.IsCancelled()) {
            call.abandoned = true;
            return {grpc::StatusCode::CANCELLED, "the client gave up; the call goes on"};
        }
        if (step == kMostSteps) {
            call.abandoned = true;
            return {grpc::StatusCode::DEADLINE_EXCEEDED,
                    "the call did not end in two hours; it goes on, ask for its outcome"};
        }
        call.done.wait_for(lock, kStep);
    }
    call.end_audit(false);
    if (!call.result) {
        return to_grpc_status(call.result.error());
    }
    response = std::move(*call.result);
    return grpc::Status::OK;
}

}  // namespace remora::control
