// SPDX-License-Identifier: Apache-2.0
#include "node/remotes.h"

#include <utility>

#include "core/log.h"
#include "reactor/gate.h"

namespace remora::node {

using backends::nvme_tcp::ControllerOptions;
using backends::nvme_tcp::RemoteController;
using core::ErrorKind;
using core::fail;

/// One remote controller and the volumes it shows. A shown volume stays until the remote goes.
class Remotes::Remote final : public backends::nvme_tcp::NamespaceListener {
  public:
    Remote(VolumeTable& volumes, std::unique_ptr<RemoteController> controller)
        : volumes_(volumes), controller_(std::move(controller)) {
        controller_->set_listener(this);
        on_namespaces_changed();
    }
    Remote(const Remote&) = delete;
    Remote& operator=(const Remote&) = delete;
    ~Remote() { controller_->set_listener(nullptr); }

    RemoteController& controller() { return *controller_; }
    [[nodiscard]] const RemoteController& controller() const { return *controller_; }
    [[nodiscard]] const std::set<std::string>& shown() const { return shown_; }
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

    /// Lets go of unused volumes whose namespace number the controller has given to another volume,
    /// so that the new one can be shown. One in use stays, and its I/O fails with the reason: it
    /// must not become another disk under its user.
    Task<> drop_replaced() {
        std::vector<std::uint32_t> replaced;
        for (const auto& space : controller_->status().namespaces) {
            if (!space.problem.empty() && !leaving_.contains(space.nsid) &&
                volumes_.users(space.volume).empty()) {
                replaced.push_back(space.nsid);
                leaving_.insert(space.nsid);
                if (shown_.erase(space.volume) > 0) {
                    const auto removed = volumes_.remove(space.volume);
                    CHECK(removed.has_value());
                }
            }
        }
        for (const std::uint32_t nsid : replaced) {
            const auto forgotten = co_await controller_->forget(nsid);
            leaving_.erase(nsid);
            if (!forgotten) {
                log::warn("replaced namespace kept", log::kv("nsid", nsid),
                          log::kv("reason", forgotten.error().message));
            }
        }
        if (!replaced.empty()) {
            const auto scanned = co_await controller_->rescan();
            if (!scanned) {
                log::warn("namespaces not read again", log::kv("reason", scanned.error().message));
            }
        }
        on_namespaces_changed();
    }

    void on_namespaces_changed() override {
        if (gate_.closed()) {
            return;
        }
        for (const auto& space : controller_->status().namespaces) {
            block::Device* device = controller_->device(space.nsid);
            if (device == nullptr || shown_.contains(space.volume) ||
                leaving_.contains(space.nsid)) {
                continue;
            }
            if (auto added = volumes_.add_shown(*device); !added) {
                log::warn("remote namespace not shown", log::kv("volume", space.volume),
                          log::kv("reason", added.error().message));
                continue;
            }
            shown_.insert(space.volume);
        }
    }

  private:
    VolumeTable& volumes_;
    std::unique_ptr<RemoteController> controller_;
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

Result<void> Remotes::create(RemoteSpec spec) {
    if (remotes_.contains(spec.name)) {
        return fail(ErrorKind::AlreadyExists,
                    "a remote controller named '" + spec.name + "' exists already");
    }
    ControllerOptions options;
    options.name = spec.name;
    options.endpoint = spec.endpoint;
    options.subnqn = spec.subnqn;
    options.hostnqn = spec.hostnqn.empty() ? identity_.hostnqn : spec.hostnqn;
    options.hostid = identity_.hostid;
    options.io_queues = spec.io_queues;
    options.queue_size = spec.queue_size;
    options.header_digest = spec.header_digest;
    options.data_digest = spec.data_digest;
    options.timing.path_timeout = path_timeout_;
    for (const KnownNamespace& known : spec.known) {
        options.known.push_back({known.nsid, known.uuid, known.block_size, known.block_count});
    }
    auto controller = RemoteController::create(std::move(options), reactors_, control_);
    if (!controller) {
        return std::unexpected(controller.error());
    }
    remotes_.emplace(spec.name, std::make_unique<Remote>(volumes_, std::move(*controller)));
    return {};
}

Task<Result<void>> Remotes::wait(std::string name, core::Nanos limit) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    auto ready = co_await (*remote)->controller().wait_ready(limit);
    // It may have been removed while we waited.
    if (const auto still = find(name); ready && still && (*still)->gate().enter()) {
        Remote& remote_now = **still;
        co_await remote_now.drop_replaced();
        remote_now.gate().leave();
    }
    co_return ready;
}

Result<void> Remotes::check_unused(const Remote& remote) const {
    for (const std::string& volume : remote.shown()) {
        const auto users = volumes_.users(volume);
        if (!users.empty()) {
            return fail(ErrorKind::FailedPrecondition, "volume '" + volume + "' is used by " +
                                                           users.front() + "; remove that first");
        }
    }
    return {};
}

Task<Result<void>> Remotes::remove(std::string name) {
    const auto remote = find(name);
    if (!remote) {
        co_return std::unexpected(remote.error());
    }
    if (auto unused = check_unused(**remote); !unused) {
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
    co_await (*remote)->controller().reset();
    co_return Result<void>{};
}

namespace {

PathState to_path_state(backends::nvme_tcp::PathState state) {
    switch (state) {
        case backends::nvme_tcp::PathState::Connecting:
            return PathState::Connecting;
        case backends::nvme_tcp::PathState::Live:
            return PathState::Live;
        case backends::nvme_tcp::PathState::Down:
            return PathState::Down;
    }
    return PathState::Down;
}

}  // namespace

std::optional<RemoteStatus> Remotes::status(const std::string& name) const {
    const auto at = remotes_.find(name);
    if (at == remotes_.end()) {
        return std::nullopt;
    }
    const backends::nvme_tcp::ControllerStatus from = at->second->controller().status();
    RemoteStatus status;
    status.state = to_path_state(from.state);
    status.last_error = from.last_error;
    status.reconnects = from.reconnects;
    for (const auto& space : from.namespaces) {
        status.namespaces.push_back(
            {space.nsid, space.volume, space.uuid, space.nguid, space.eui64, space.geometry});
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
