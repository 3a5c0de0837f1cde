// SPDX-License-Identifier: Apache-2.0
// Dispatcher: brings a gRPC call from a thread of the server to the control reactor and waits for
// its answer.
//
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

#include <grpcpp/server_context.h>

#include "control/control_plane.h"
#include "control/grpc_status_map.h"
#include "reactor/reactor.h"

namespace remora::control {

class Dispatcher {
  public:
    Dispatcher(reactor::Reactor& control, ControlPlane& plane) : control_(control), plane_(plane) {}

    /// Calls are refused until the state is rebuilt, and again from the beginning of the end.
    void set_ready(bool ready) { ready_.store(ready); }

    template <typename Part, typename Request, typename Response>
    grpc::Status call(const grpc::ServerContext& context,
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

        void finish(core::Result<Response> answer) {
            const std::scoped_lock lock(mutex);
            result = std::move(answer);
            finished = true;
            done.notify_one();
        }

        Request request;
        std::mutex mutex;
        std::condition_variable done;
        bool finished = false;
        core::Result<Response> result = core::fail(core::ErrorKind::Internal, "no answer");
    };

    template <typename Part, typename Request, typename Response>
    static Task<> run(Part* part,
                      Task<core::Result<Response>> (Part::*method)(const Request&),
                      std::shared_ptr<Call<Request, Response>> call) {
        auto result = co_await (part->*method)(call->request);
        call->finish(std::move(result));
    }

    template <typename Request, typename Response>
    static grpc::Status wait(const grpc::ServerContext& context,
                             Call<Request, Response>& call,
                             Response& response);

    reactor::Reactor& control_;
    ControlPlane& plane_;
    std::atomic<bool> ready_{false};
};

template <typename Part, typename Request, typename Response>
grpc::Status Dispatcher::call(const grpc::ServerContext& context,
                              const Request& request,
                              Response& response,
                              Part ControlPlane::* part,
                              Task<core::Result<Response>> (Part::*method)(const Request&)) {
    if (!ready_.load()) {
        return not_ready();
    }
    auto call = std::make_shared<Call<Request, Response>>(request);
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
            return {grpc::StatusCode::CANCELLED, "the client gave up; the call goes on"};
        }
        if (step == kMostSteps) {
            return {grpc::StatusCode::DEADLINE_EXCEEDED,
                    "the call did not end in two hours; it goes on, ask for its outcome"};
        }
        call.done.wait_for(lock, kStep);
    }
    if (!call.result) {
        return to_grpc_status(call.result.error());
    }
    response = std::move(*call.result);
    return grpc::Status::OK;
}

}  // namespace remora::control
