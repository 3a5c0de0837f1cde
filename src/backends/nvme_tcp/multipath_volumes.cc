// SPDX-License-Identifier: Apache-2.0
// MultipathController, the part that finds out which volumes there are and which paths lead to
// each.
#include <algorithm>
#include <utility>

#include "backends/nvme_tcp/multipath_parts.h"
#include "core/log.h"
#include "reactor/call.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using core::fail;
using log::kv;

namespace {

/// Between two looks whether a namespace that is left has nothing inside any more. That ends: its
/// commands are answered, or its path is given up (Timing::io_timeout).
constexpr Nanos kTidyPause = std::chrono::milliseconds(50);

}  // namespace

/// What a path shows has changed: makes the volumes that are new, and has the reactors told.
void MultipathController::on_path_changed(Path& path) {
    if (stopping_) {
        return;
    }
    take_up(path);
    if (!aligning_) {
        aligning_ = true;
        gate_.spawn([](MultipathController* self) { return self->align(); }, this);
    }
    if (listener_ != nullptr) {
        listener_->on_volumes_changed();
    }
}

void MultipathController::take_up(Path& path) {
    for (const NamespaceDevice* space : path.controller().devices()) {
        Volume* volume = volume_of(space->uuid());
        if (volume == nullptr) {
            volume = add_volume(*space, path.known_number(space->nsid()));
        }
        if (volume == nullptr || space->state() != NamespaceState::Present) {
            continue;
        }
        // The newest news of its size counts, whichever path brings it.
        const std::uint64_t size = space->identity().geometry.block_count;
        const auto [seen, first] = volume->sizes.try_emplace({path.id(), space->nsid()}, 0);
        if (std::exchange(seen->second, size) != size) {
            volume->geometry.block_count = size;
        }
    }
}

MultipathController::Volume* MultipathController::add_volume(const NamespaceDevice& space,
                                                             std::uint32_t number) {
    if (volumes_.size() >= kMaxVolumes) {
        if (!std::exchange(told_full_, true)) {
            log::warn("volumes left out", kv("name", options_.name),
                      kv("reason", std::to_string(kMaxVolumes) + " are kept already"));
        }
        return nullptr;
    }
    auto volume = std::make_unique<Volume>();
    volume->number = free_number(number == 0 ? space.nsid() : number);
    volume->geometry = space.identity().geometry;
    volume->applied = volume->geometry;
    volume->policy = options_.policy;
    MultipathDevice::Options options;
    options.name = options_.name + "n" + std::to_string(volume->number);
    options.uuid = space.uuid();
    options.geometry = volume->geometry;
    options.policy = options_.policy;
    options.path_timeout = options_.timing.path_timeout;
    volume->device = std::make_unique<MultipathDevice>(options, reactors_, reactor_);
    Volume* added = volume.get();
    volumes_.emplace(volume->number, std::move(volume));
    return added;
}

MultipathController::Volume* MultipathController::volume_of(const core::Uuid& uuid) const {
    const auto found = std::ranges::find_if(
        volumes_, [&](const auto& entry) { return entry.second->device->uuid() == uuid; });
    return found == volumes_.end() ? nullptr : found->second.get();
}

/// The number itself, unless a volume that has come back under another one keeps it.
std::uint32_t MultipathController::free_number(std::uint32_t wanted) const {
    std::uint32_t number = wanted;
    for (std::uint32_t other = 1; volumes_.contains(number); ++other) {
        number = other;  // at most kMaxVolumes are taken
    }
    return number;
}

MultipathController::Path* MultipathController::path_of(const NamespaceDevice& space) const {
    for (const auto& path : paths_) {
        if (path->controller().device(space.nsid()) == &space) {
            return path.get();
        }
    }
    return nullptr;
}

/// The path's namespace that is the volume: one that is there, and of several the one in use.
NamespaceDevice* MultipathController::choose_space(const Path& path, const Volume& volume) const {
    NamespaceDevice* best = nullptr;
    int best_rank = 0;
    for (NamespaceDevice* space : path.controller().devices()) {
        if (space->uuid() != volume.device->uuid() ||
            space->identity().geometry.block_size != volume.geometry.block_size) {
            continue;
        }
        if (space->state() == NamespaceState::Mismatch && space->shown_uuid() != space->uuid() &&
            volume_of(space->shown_uuid()) != nullptr) {
            continue;  // its place is needed for a volume that is known by another path
        }
        const bool joined = std::ranges::any_of(
            volume.joined, [&](const auto& path_of_it) { return path_of_it.device == space; });
        const int rank = 1 + (joined ? 1 : 0) + (space->state() == NamespaceState::Present ? 2 : 0);
        if (rank > best_rank) {
            best = space;
            best_rank = rank;
        }
    }
    return best;
}

std::vector<MultipathDevice::Path> MultipathController::paths_of(const Volume& volume) const {
    std::vector<MultipathDevice::Path> out;
    for (const auto& path : paths_) {
        if (path->gone) {
            continue;
        }
        const NamespaceDevice* chosen = nullptr;
        if (NamespaceDevice* space = choose_space(*path, volume)) {
            out.push_back({space, path->leaving});
            chosen = space;
        }
        for (const MultipathDevice::Path& joined : volume.joined) {
            if (joined.device != chosen && path_of(*joined.device) == path.get()) {
                out.push_back({joined.device, true});
            }
        }
    }
    return out;
}

/// What all its paths can do.
block::Geometry MultipathController::geometry_of(const Volume& volume) const {
    block::Geometry out = volume.geometry;
    bool first = true;
    for (const auto& path : paths_) {
        const NamespaceDevice* space = path->leaving ? nullptr : choose_space(*path, volume);
        if (space == nullptr || space->state() != NamespaceState::Present) {
            continue;
        }
        const block::Geometry& shown = space->identity().geometry;
        out.can_discard = (first || out.can_discard) && shown.can_discard;
        out.can_write_zeroes = (first || out.can_write_zeroes) && shown.can_write_zeroes;
        out.volatile_cache = (!first && out.volatile_cache) || shown.volatile_cache;
        out.read_only = (!first && out.read_only) || shown.read_only;
        out.optimal_blocks = first ? shown.optimal_blocks : out.optimal_blocks;
        first = false;
    }
    return out;
}

/// Brings the reactors in line with what the paths show.
Task<> MultipathController::align() {
    co_await lock();
    aligning_ = false;
    co_await align_locked();
    unlock();
}

Task<> MultipathController::align_locked() {
    std::vector<Volume*> volumes;  // they go only under the lock
    volumes.reserve(volumes_.size());
    for (const auto& [number, volume] : volumes_) {
        volumes.push_back(volume.get());
    }
    bool leftovers = false;
    for (Volume* volume : volumes) {
        auto paths = paths_of(*volume);
        volume->geometry = geometry_of(*volume);
        const PathPolicy policy = options_.policy;
        if (paths != volume->joined || volume->geometry != volume->applied ||
            policy != volume->policy) {
            const block::Geometry geometry = volume->geometry;
            co_await volume->device->set_paths(paths, geometry, policy);
            volume->joined = std::move(paths);
            volume->applied = geometry;
            volume->policy = policy;
        }
        for (const MultipathDevice::Path& joined : volume->joined) {
            const Path* path = path_of(*joined.device);
            leftovers |= joined.leaving && path != nullptr && !path->leaving;
        }
    }
    if (leftovers && !std::exchange(tidying_, true)) {
        gate_.spawn([](MultipathController* self) { return self->tidy(); }, this);
    }
}

/// Lets go of namespaces that their volumes have left for another one of the same path.
Task<> MultipathController::tidy() {
    bool more = true;
    while (more && !stopping_) {
        co_await wait_change(reactor_.now() + kTidyPause);
        co_await lock();
        more = co_await tidy_locked();
        unlock();
    }
    tidying_ = false;
}

/// Whether there is more to do.
Task<bool> MultipathController::tidy_locked() {
    std::vector<Volume*> volumes;
    volumes.reserve(volumes_.size());
    for (const auto& [number, volume] : volumes_) {
        volumes.push_back(volume.get());
    }
    bool more = false;
    for (Volume* volume : volumes) {
        const std::vector<MultipathDevice::Path> joined = volume->joined;
        for (const MultipathDevice::Path& one : joined) {
            Path* path = path_of(*one.device);
            if (!one.leaving || path == nullptr || path->leaving) {
                continue;
            }
            const std::uint32_t inside = co_await inside_of(one.device);
            if (inside > 0) {
                more = true;
                continue;
            }
            std::erase(volume->joined, one);
            co_await volume->device->set_paths(volume->joined, volume->applied, volume->policy);
            const std::uint32_t nsid = one.device->nsid();
            volume->sizes.erase({path->id(), nsid});
            const auto forgotten = co_await path->controller().forget(nsid);
            if (!forgotten) {
                log::warn("replaced namespace kept", kv("nsid", nsid),
                          kv("reason", forgotten.error().message));
            }
            rescan(*path);
        }
    }
    co_return more;
}

Task<std::uint32_t> MultipathController::inside_of(NamespaceDevice* space) {
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < space->view_count(); ++i) {
        NamespaceView* view = &space->view(i);
        sum += co_await reactor::call_on(*view->reactor, [view] { return view->inside; });
    }
    co_return sum;
}

/// In the background: it asks the controller.
void MultipathController::rescan(Path& path) {
    path.gate().spawn(
        [](Path* at) -> Task<> {
            const auto scanned = co_await at->controller().rescan();
            if (!scanned) {
                log::debug("namespaces not read again", kv("reason", scanned.error().message));
            }
        },
        &path);
}

Task<Result<void>> MultipathController::forget(std::uint32_t number) {
    if (!gate_.enter()) {
        co_return fail(ErrorKind::Aborted, options_.name + " is being stopped");
    }
    co_await lock();
    auto forgotten = co_await forget_locked(number);
    unlock();
    if (forgotten) {
        for (const auto& path : paths_) {
            rescan(*path);
        }
    }
    gate_.leave();
    co_return forgotten;
}

Task<Result<void>> MultipathController::forget_locked(std::uint32_t number) {
    const auto found = volumes_.find(number);
    if (found == volumes_.end()) {
        co_return fail(ErrorKind::NotFound, "the remote controller " + options_.name +
                                                " has no volume " + std::to_string(number));
    }
    Volume* volume = found->second.get();
    const std::uint32_t channels = co_await volume->device->channels();
    if (channels > 0) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "volume " + volume->device->name() + " is in use");
    }
    const std::vector<MultipathDevice::Path> joined = std::exchange(volume->joined, {});
    co_await volume->device->set_paths({}, volume->applied, volume->policy);
    for (const MultipathDevice::Path& one : joined) {
        Path* path = path_of(*one.device);
        if (path != nullptr && !path->leaving) {
            (void)co_await path->controller().forget(one.device->nsid());
        }
    }
    volumes_.erase(number);
    co_return Result<void>{};
}

}  // namespace remora::backends::nvme_tcp
