// SPDX-License-Identifier: Apache-2.0
// Dispatcher: streams of changes.
#include "control/grpc_dispatcher.h"

namespace remora::control {

namespace {

/// How often a stream that has nothing to tell looks whether its client is still there.
constexpr core::Nanos kStep = std::chrono::milliseconds(200);

class Registration {
  public:
    void finish(core::Result<void> result) {
        const std::scoped_lock lock(mutex_);
        result_ = std::move(result);
        finished_ = true;
        done_.notify_one();
    }
    /// False when the client has gone first.
    bool wait(const grpc::ServerContext& context) {
        std::unique_lock lock(mutex_);
        while (!finished_ && !context.IsCancelled()) {
            done_.wait_for(lock, kStep);
        }
        return finished_;
    }
    [[nodiscard]] const core::Result<void>& result() const { return result_; }

  private:
    std::mutex mutex_;
    std::condition_variable done_;
    bool finished_ = false;
    core::Result<void> result_;
};

grpc::Status ended(Watcher::State state) {
    if (state == Watcher::State::FallenBehind) {
        return {grpc::StatusCode::OUT_OF_RANGE, "more than " +
                                                    std::to_string(Watcher::kMostWaiting) +
                                                    " changes wait for this client; watch anew"};
    }
    return {grpc::StatusCode::UNAVAILABLE, "remorad is stopping"};
}

}  // namespace

grpc::Status Dispatcher::watch(const grpc::ServerContext& context,
                               const api::WatchResourcesRequest& request,
                               const std::function<bool(const api::ResourceEvent&)>& write) {
    if (!ready_.load()) {
        return not_ready();
    }
    // Shared with the control reactor, which forgets a watcher that nobody else holds.
    auto watcher = std::make_shared<Watcher>(request);
    auto registered = std::make_shared<Registration>();
    control_.post_function([plane = &plane_, watcher, registered, request] {
        if (!plane->gate().enter()) {
            registered->finish(core::fail(core::ErrorKind::Unavailable, "remorad is stopping"));
            return;
        }
        registered->finish(plane->watchers.add(watcher, request));
        plane->gate().leave();
    });
    if (!registered->wait(context)) {
        return grpc::Status::CANCELLED;
    }
    if (!registered->result()) {
        return to_grpc_status(registered->result().error());
    }
    while (!context.IsCancelled()) {
        const Watcher::Taken taken = watcher->take(kStep);
        for (const SharedEvent& event : taken.events) {
            if (!write(*event)) {
                return grpc::Status::CANCELLED;
            }
        }
        if (taken.state != Watcher::State::Going) {
            return ended(taken.state);
        }
        if (!ready_.load()) {
            return ended(Watcher::State::Closed);
        }
    }
    return grpc::Status::CANCELLED;
}

}  // namespace remora::control
