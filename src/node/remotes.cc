// SPDX-License-Identifier: Apache-2.0
#include "node/remotes.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "reactor/gate.h"

namespace remora::node {

namespace host = backends::nvme_tcp;

using core::ErrorKind;
using core::fail;
using host::MultipathController;

namespace {

host::PathOptions to_options(const RemotePathSpec& path) {
    host::PathOptions out;
    out.id = path.id;
    out.endpoint = path.endpoint;
    for (const KnownNamespace& known : path.known) {
        out.known.push_back(
            {known.nsid, known.uuid, known.block_size, known.block_count, known.number});
    }
    return out;
}

host::Timing to_host(const ConnectionTimings& timings) {
    host::Timing timing;
    timing.connect_timeout = timings.connect;
    timing.keep_alive = timings.keep_alive;
    timing.io_timeout = timings.io;
    timing.backoff_max = timings.reconnect_max;
    return timing;
}

host::PathPolicy to_host(PathPolicy policy) {
    switch (policy) {
        case PathPolicy::Failover:
            return host::PathPolicy::Failover;
        case PathPolicy::RoundRobin:
            return host::PathPolicy::RoundRobin;
        case PathPolicy::QueueDepth:
            return host::PathPolicy::QueueDepth;
    }
    return host::PathPolicy::QueueDepth;
}

PathState to_path_state(host::PathState state) {
    switch (state) {
        case host::PathState::Connecting:
            return PathState::Connecting;
        case host::PathState::Live:
            return PathState::Live;
        case host::PathState::Down:
            return PathState::Down;
    }
    return PathState::Down;
}

RemotePathStatus to_status(const std::string& remote, const host::MultipathStatus::Path& path) {
    RemotePathStatus out;
    out.id = path.id;
    out.state = to_path_state(path.controller.state);
    out.last_error = path.controller.last_error;
    out.reconnects = path.controller.reconnects;
    for (std::size_t i = 0; i < path.controller.namespaces.size(); ++i) {
        const host::NamespaceStatus& space = path.controller.namespaces[i];
        PathNamespace& shown = out.namespaces.emplace_back();
        shown.identity = {space.nsid, space.uuid, space.geometry.block_size,
                          space.geometry.block_count, path.numbers[i]};
        shown.volume = path.numbers[i] == 0 ? "" : remote + "n" + std::to_string(path.numbers[i]);
        shown.access = space.ana;
        shown.present = space.present && space.problem.empty();
    }
    return out;
}

/// The better of two paths' states.
PathState better(PathState a, PathState b) {
    for (const PathState state : {PathState::Live, PathState::Connecting}) {
        if (a == state || b == state) {
            return state;
        }
    }
    return PathState::Down;
}

}  // namespace

/// One remote controller and the volumes it shows. A shown volume stays until the remote goes.
class Remotes::Remote final : public host::VolumeListener {
  public:
    Remote(std::string name,
           VolumeTable& volumes,
           std::unique_ptr<MultipathController> controller,
           PathPolicy policy)
        : name_(std::move(name)),
          volumes_(volumes),
          controller_(std::move(controller)),
          policy_(policy) {
        controller_->set_listener(this);
        on_volumes_changed();
    }
    Remote(const Remote&) = delete;
    Remote& operator=(const Remote&) = delete;
    ~Remote() { controller_->set_listener(nullptr); }

    MultipathController& controller() { return *controller_; }
    [[nodiscard]] const MultipathController& controller() const { return *controller_; }
    [[nodiscard]] std::vector<std::string> shown() const { return {shown_.begin(), shown_.end()}; }
    [[nodiscard]] PathPolicy policy() const { return policy_; }
    void set_policy(PathPolicy policy) { policy_ = policy; }
    /// What uses this object across a wait is inside; stop() lets it end first.
    reactor::Gate& gate() { return gate_; }

    Task<> stop() {
        Task<> alone = gate_.close();  // closed from here on, so that nothing is shown again
        hide_all();
        co_await alone;
        co_await controller_->stop();
    }

    void hide_all() {
        controller_->set_listener(nullptr);
        for (const std::string& name : shown_) {
            const auto removed = volumes_.remove(name);
            CHECK(removed.has_value());
        }
        shown_.clear();
    }

    /// Lets go of unused volumes whose place on every path has gone to another volume, so that the
    /// new one can be shown. One in use stays, and its I/O fails with the reason: it must not
    /// become another disk under its user.
    Task<> drop_replaced() {
        std::vector<std::uint32_t> replaced;
        for (const auto& volume : controller_->status().volumes) {
            if (volume.replaced && !leaving_.contains(volume.number) &&
                volumes_.users(volume.name).empty()) {
                replaced.push_back(volume.number);
                leaving_.insert(volume.number);
                if (shown_.erase(volume.name) > 0) {
                    const auto removed = volumes_.remove(volume.name);
                    CHECK(removed.has_value());
                }
            }
        }
        for (const std::uint32_t number : replaced) {
            const auto forgotten = co_await controller_->forget(number);
            leaving_.erase(number);
            if (!forgotten) {
                log::warn("replaced namespace kept", log::kv("number", number),
                          log::kv("reason", forgotten.error().message));
            }
        }
        on_volumes_changed();
    }

    void on_volumes_changed() override {
        if (gate_.closed()) {
            return;
        }
        for (const auto& volume : controller_->status().volumes) {
            block::Device* device = controller_->device(volume.number);
            if (device == nullptr || shown_.contains(volume.name) ||
                leaving_.contains(volume.number)) {
                continue;
            }
            if (auto added = volumes_.add_shown(*device, name_); !added) {
                log::warn("remote namespace not shown", log::kv("volume", volume.name),
                          log::kv("reason", added.error().message));
                continue;
            }
            shown_.insert(volume.name);
        }
    }

  private:
    std::string name_;
    VolumeTable& volumes_;
    std::unique_ptr<MultipathController> controller_;
    PathPolicy policy_;
    std::set<std::string> shown_;
    std::set<std::uint32_t> leaving_;  // being forgotten: not to be shown by an event meanwhile
    reactor::Gate gate_;
};

Remotes::Remotes(VolumeTable& volumes,
                 std::span<const block::ReactorContext> reactors,
                 reactor::Reactor& control,
                 HostIdentity identity,
                 core::Nanos path_timeout)
    : volumes_(volumes),
      reactors_(reactors),
      control_(control),
      identity_(std::move(identity)),
      path_timeout_(path_timeout) {}

Remotes::~Remotes() {
    CHECK(remotes_.empty());
}

Result<Remotes::Remote*> Remotes::find(const std::string& name) {
    const auto at = remotes_.find(name);
    if (at == remotes_.end()) {
        return fail(ErrorKind::NotFound, "there is no remote controller '" + name + "'");
    }
    return at->second.get();
}

Task<Result<void>> Remotes::create(RemoteSpec spec) {
    if (remotes_.contains(spec.name)) {
        co_return fail(ErrorKind::AlreadyExists,
                       "a remote controller named '" + spec.name + "' exists already");
    }
    if (spec.paths.empty()) {
        co_return fail(ErrorKind::InvalidArgument,
                       "the remote controller '" + spec.name + "' has no path");
    }
    host::MultipathOptions options;
    options.name = spec.name;
    options.subnqn = spec.subnqn;
    options.hostnqn = spec.hostnqn.empty() ? identity_.hostnqn : spec.hostnqn;
    options.hostid = identity_.hostid;
    options.policy = to_host(spec.policy);
    options.io_queues = spec.io_queues;
    options.queue_size = spec.queue_size;
    options.header_digest = spec.header_digest;
    options.data_digest = spec.data_digest;
    options.timing = to_host(spec.timings);
    options.timing.path_timeout = path_timeout_;
    auto controller = std::make_unique<MultipathController>(options, reactors_, control_);
    for (const RemotePathSpec& path : spec.paths) {
        if (auto added = controller->add_path(to_options(path)); !added) {
            co_await controller->stop();
            co_return added;
        }
    }
    remotes_.emplace(spec.name, std::make_unique<Remote>(spec.name, volumes_, std::move(controller),
                                                         spec.policy));
    co_return Result<void>{};
}

Result<void> Remotes::add_path(const std::string& name, const RemotePathSpec& path) {
    const auto remote = find(name);
    if (!remote) {
        return std::unexpected(remote.error());
    }
    return (*remote)->controller().add_path(to_options(path));
}

Task<Result<void>> Remotes::wait(std::string name, core::Nanos limit) {
    return wait_ready(std::move(name), {}, limit);
}

Task<Result<void>> Remotes::wait_path(std::string name, std::string path, core::Nanos limit) {
    return wait_ready(std::move(name), std::move(path), limit);
}

/// `path` empty: any of them.
Task<Result<void>> Remotes::wait_ready(std::string name, std::string path, core::Nanos limit) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    Result<void> ready;
    if (path.empty()) {
        ready = co_await (*remote)->controller().wait_any(limit);
    } else {
        ready = co_await (*remote)->controller().wait_path(path, limit);
    }
    // It may have been removed while we waited.
    if (const auto still = find(name); ready && still && (*still)->gate().enter()) {
        Remote& remote_now = **still;
        co_await remote_now.drop_replaced();
        remote_now.gate().leave();
    }
    co_return ready;
}

Result<void> Remotes::check_unused(std::span<const std::string> volumes) const {
    for (const std::string& volume : volumes) {
        const auto users = volumes_.users(volume);
        if (!users.empty()) {
            return fail(ErrorKind::FailedPrecondition, "volume '" + volume + "' is used by " +
                                                           users.front() + "; remove that first");
        }
    }
    return {};
}

Task<Result<void>> Remotes::remove_path(std::string name, std::string path) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    if (auto unused = check_unused((*remote)->controller().only_by(path)); !unused) {
        co_return unused;
    }
    if (!(*remote)->gate().enter()) {
        co_return fail(ErrorKind::NotFound, "the remote controller '" + name + "' is going away");
    }
    Remote& at = **remote;
    auto removed = co_await at.controller().remove_path(path);
    at.gate().leave();
    co_return removed;
}

Task<Result<void>> Remotes::set_policy(std::string name, PathPolicy policy) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    if (!(*remote)->gate().enter()) {
        co_return fail(ErrorKind::NotFound, "the remote controller '" + name + "' is going away");
    }
    Remote& at = **remote;
    at.set_policy(policy);
    co_await at.controller().set_policy(to_host(policy));
    at.gate().leave();
    co_return Result<void>{};
}

Result<void> Remotes::set_timings(const std::string& name, const ConnectionTimings& timings) {
    const auto remote = find(name);
    if (!remote) {
        return std::unexpected(remote.error());
    }
    host::Timing timing = to_host(timings);
    timing.path_timeout = path_timeout_;
    (*remote)->controller().set_timing(timing);
    return {};
}

Task<Result<void>> Remotes::remove(std::string name) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    if (auto unused = check_unused((*remote)->shown()); !unused) {
        co_return unused;
    }
    // Out of the tables first, so that nobody starts to use it while it stops.
    const std::unique_ptr<Remote> leaving = std::move(remotes_.extract(name).mapped());
    co_await leaving->stop();
    co_return Result<void>{};
}

Task<Result<void>> Remotes::reset(std::string name) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    if (!(*remote)->gate().enter()) {
        co_return Result<void>{};
    }
    Remote& at = **remote;
    co_await at.controller().reset();
    at.gate().leave();
    co_return Result<void>{};
}

std::optional<RemoteStatus> Remotes::status(const std::string& name) const {
    const auto at = remotes_.find(name);
    if (at == remotes_.end()) {
        return std::nullopt;
    }
    const host::MultipathStatus from = at->second->controller().status();
    RemoteStatus status;
    status.state = PathState::Down;
    status.policy = at->second->policy();
    for (const auto& path : from.paths) {
        RemotePathStatus& shown = status.paths.emplace_back(to_status(name, path));
        status.state = better(status.state, shown.state);
        status.reconnects += shown.reconnects;
        if (status.last_error.empty()) {
            status.last_error = shown.last_error;
        }
    }
    for (const auto& volume : from.volumes) {
        status.namespaces.push_back({volume.nsid, volume.name, volume.uuid, volume.nguid,
                                     volume.eui64, volume.geometry, volume.number});
    }
    return status;
}

Task<> Remotes::stop() {
    while (!remotes_.empty()) {
        const std::unique_ptr<Remote> leaving =
            std::move(remotes_.extract(remotes_.begin()).mapped());
        co_await leaving->stop();
    }
}

}  // namespace remora::node
