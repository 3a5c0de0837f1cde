// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/multipath_controller.h"

#include <algorithm>
#include <utility>

#include "backends/nvme_tcp/multipath_parts.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using core::fail;

namespace {

constexpr Nanos kFirstSlice = std::chrono::milliseconds(20);

}  // namespace

MultipathController::MultipathController(MultipathOptions options,
                                         std::span<const block::ReactorContext> reactors,
                                         reactor::Reactor& control)
    : options_(std::move(options)), reactors_(reactors), reactor_(control) {}

MultipathController::~MultipathController() {
    CHECK(gate_.closed() && waits_.closed() && paths_.empty() && volumes_.empty() &&
          waiters_.empty());
}

MultipathController::Path* MultipathController::find(const std::string& id) const {
    const auto found = std::ranges::find_if(
        paths_, [&](const auto& path) { return path->id() == id && !path->leaving; });
    return found == paths_.end() ? nullptr : found->get();
}

ControllerOptions MultipathController::controller_options(const PathOptions& options) const {
    ControllerOptions out;
    out.name = options_.name + "/" + options.id;
    out.endpoint = options.endpoint;
    out.subnqn = options_.subnqn;
    out.hostnqn = options_.hostnqn;
    out.hostid = options_.hostid;
    out.io_queues = options_.io_queues;
    out.queue_size = options_.queue_size;
    out.header_digest = options_.header_digest;
    out.data_digest = options_.data_digest;
    out.known = options.known;
    out.timing = options_.timing;
    return out;
}

Result<void> MultipathController::add_path(PathOptions options) {
    if (find(options.id) != nullptr) {
        return fail(ErrorKind::AlreadyExists,
                    "the remote controller " + options_.name + " has a path " + options.id);
    }
    if (paths_.size() >= kMaxPaths) {
        return fail(ErrorKind::ResourceExhausted, "the remote controller " + options_.name +
                                                      " has " + std::to_string(kMaxPaths) +
                                                      " paths, the most");
    }
    auto made = RemoteController::create(controller_options(options), reactors_, reactor_);
    if (!made) {
        return std::unexpected(made.error());
    }
    paths_.push_back(std::make_unique<Path>(*this, std::move(options), std::move(*made)));
    on_path_changed(*paths_.back());
    return {};
}

Task<Result<void>> MultipathController::wait_path(std::string id, Nanos limit) {
    if (!waits_.enter()) {
        co_return fail(ErrorKind::Aborted, options_.name + " is being stopped");
    }
    auto ready = co_await wait_one(id, limit);
    waits_.leave();
    co_return ready;
}

Task<Result<void>> MultipathController::wait_one(std::string id, Nanos limit) {
    Path* path = find(id);
    if (path == nullptr || !path->gate().enter()) {
        co_return fail(ErrorKind::NotFound,
                       "the remote controller " + options_.name + " has no path " + id);
    }
    auto ready = co_await path->controller().wait_ready(limit);
    path->gate().leave();
    if (ready && gate_.enter()) {
        co_await align();
        gate_.leave();
    }
    co_return ready;
}

/// Those that are live already are asked first, which costs nothing.
Task<Result<void>> MultipathController::wait_any(Nanos limit) {
    std::vector<std::string> ids;
    for (const auto& path : paths_) {
        const bool live = path->controller().status().state == PathState::Live;
        ids.insert(live ? ids.begin() : ids.end(), path->id());
    }
    if (!waits_.enter()) {
        co_return fail(ErrorKind::Aborted, options_.name + " is being stopped");
    }
    auto ready = co_await wait_one_of(std::move(ids), reactor_.now() + limit);
    waits_.leave();
    co_return ready;
}

/// Asks one after the other, in slices that grow, until one is ready. When all of them refuse in
/// a way that repeating does not mend, that is the answer.
Task<Result<void>> MultipathController::wait_one_of(std::vector<std::string> ids, Nanos deadline) {
    Result<void> last =
        fail(ErrorKind::FailedPrecondition, options_.name + " has no path to wait for");
    Nanos slice = ids.size() == 1 ? deadline - reactor_.now() : kFirstSlice;
    bool all_refuse = false;
    do {
        all_refuse = true;
        for (const std::string& id : ids) {
            const Nanos end = std::min(reactor_.now() + slice, deadline);
            last = co_await wait_one(id, std::max(end - reactor_.now(), Nanos{0}));
            if (last) {
                co_return last;
            }
            all_refuse &= reactor_.now() < end;
        }
        slice *= 2;
    } while (!all_refuse && reactor_.now() < deadline);
    co_return last;
}

Task<Result<void>> MultipathController::remove_path(std::string id) {
    Path* path = find(id);
    if (path == nullptr || !gate_.enter()) {
        co_return fail(ErrorKind::NotFound,
                       "the remote controller " + options_.name + " has no path " + id);
    }
    path->leaving = true;
    Task<> alone = path->gate().close();
    co_await align();
    co_await path->controller().stop();  // gives back, or fails, all that it has
    co_await alone;
    path->gone = true;
    co_await align();
    co_await lock();
    for (const auto& [number, volume] : volumes_) {
        std::erase_if(volume->sizes, [&](const auto& seen) { return seen.first.first == id; });
    }
    std::erase_if(paths_, [&](const auto& at) { return at.get() == path; });
    unlock();
    gate_.leave();
    co_return Result<void>{};
}

Task<> MultipathController::set_policy(PathPolicy policy) {
    options_.policy = policy;
    if (gate_.enter()) {
        co_await align();
        gate_.leave();
    }
}

void MultipathController::set_timing(const Timing& timing) {
    options_.timing = timing;
    for (const auto& path : paths_) {
        path->controller().set_timing(timing);
    }
}

Task<> MultipathController::reset() {
    std::vector<std::string> ids;
    ids.reserve(paths_.size());
    for (const auto& path : paths_) {
        ids.push_back(path->id());
    }
    for (const std::string& id : ids) {
        Path* path = find(id);
        if (path != nullptr && path->gate().enter()) {
            co_await path->controller().reset();
            path->gate().leave();
        }
    }
}

MultipathStatus MultipathController::status() const {
    MultipathStatus out;
    for (const auto& path : paths_) {
        if (path->leaving) {
            continue;
        }
        MultipathStatus::Path& shown = out.paths.emplace_back();
        shown.id = path->id();
        shown.controller = path->controller().status();
        for (const NamespaceStatus& space : shown.controller.namespaces) {
            const Volume* volume = volume_of(space.uuid);
            shown.numbers.push_back(volume == nullptr ? 0 : volume->number);
        }
    }
    for (const auto& [number, volume] : volumes_) {
        MultipathStatus::Volume& shown = out.volumes.emplace_back();
        shown.number = number;
        shown.name = volume->device->name();
        shown.uuid = volume->device->uuid();
        shown.geometry = volume->geometry;
        bool present = false;
        for (const MultipathDevice::Path& joined : volume->joined) {
            const NamespaceDevice& space = *joined.device;
            const bool better = space.state() == NamespaceState::Present && !present;
            if (shown.nsid == 0 || better) {
                shown.nsid = space.nsid();
                shown.nguid = space.identity().nguid;
                shown.eui64 = space.identity().eui64;
            }
            present |= space.state() == NamespaceState::Present;
            shown.replaced |= space.state() == NamespaceState::Mismatch;
        }
        shown.nsid = shown.nsid == 0 ? number : shown.nsid;
        shown.replaced &= !present;
    }
    return out;
}

block::Device* MultipathController::device(std::uint32_t number) const {
    const auto found = volumes_.find(number);
    return found == volumes_.end() ? nullptr : found->second->device.get();
}

std::vector<std::string> MultipathController::only_by(const std::string& id) const {
    std::vector<std::string> out;
    for (const auto& [number, volume] : volumes_) {
        bool by_path = false;
        bool by_others = false;
        for (const MultipathDevice::Path& joined : volume->joined) {
            const Path* path = path_of(*joined.device);
            const bool is_it = path != nullptr && path->id() == id;
            by_path |= is_it;
            by_others |=
                !is_it && !joined.leaving && joined.device->state() == NamespaceState::Present;
        }
        if (by_path && !by_others) {
            out.push_back(volume->device->name());
        }
    }
    return out;
}

Task<> MultipathController::stop() {
    stopping_ = true;
    for (const auto& path : paths_) {
        path->leaving = true;
    }
    for (reactor::Signal* waiter : waiters_) {
        waiter->notify();
    }
    co_await gate_.close();
    for (const auto& [number, volume] : volumes_) {
        co_await volume->device->set_paths({}, volume->geometry, options_.policy);
    }
    volumes_.clear();
    for (const auto& path : paths_) {
        Task<> alone = path->gate().close();
        co_await path->controller().stop();
        co_await alone;
    }
    co_await waits_.close();
    paths_.clear();
}

/// Whoever changes which paths the reactors know is alone.
Task<> MultipathController::lock() {
    while (busy_) {
        co_await wait_change(core::kNever);  // for calls to our own reactors
    }
    busy_ = true;
}

void MultipathController::unlock() {
    busy_ = false;
    for (reactor::Signal* waiter : waiters_) {
        waiter->notify();
    }
}

Task<bool> MultipathController::wait_change(Nanos deadline) {
    reactor::Signal signal;
    waiters_.push_back(&signal);
    const bool notified = co_await signal.wait_until(deadline);
    std::erase(waiters_, &signal);
    co_return notified;
}

}  // namespace remora::backends::nvme_tcp
