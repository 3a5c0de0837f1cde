// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/multipath_view.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "backends/nvme_tcp/lane.h"
#include "core/probe.h"

namespace remora::backends::nvme_tcp {

using block::Request;
using block::RequestBatch;
using block::Status;

MultipathView::MultipathView(reactor::Reactor& reactor, const Options& options)
    : reactor_(reactor),
      options_(options),
      geometry_(options.geometry),
      refused_(reactor),
      timer_(*this) {}

MultipathView::~MultipathView() {
    CHECK(members_.empty() && waiting_.empty() && returned_.empty() && !timer_.armed());
    CHECK(open_channels == 0 && listeners.empty());
}

void MultipathView::submit(RequestBatch& batch) {
    DCHECK(reactor_.is_current());
    if (paths_.size() == 1 && waiting_.empty() && returned_.empty()) [[likely]] {
        NamespaceView& only = *paths_.front();
        only.lane->submit(only, batch);
        return;
    }
    place_waiting();
    Placement placement;
    const core::Nanos deadline = reactor_.now() + options_.path_timeout;
    while (Request* request = batch.pop_front()) {
        request->nvme_status = 0;
        Progress& progress = start_progress(*request);
        progress.origin = options_.lane;
        progress.sequence = take_sequence();
        progress.deadline_ns = deadline.count();
        const Status valid = block::validate(*request, geometry_);
        if (valid != Status::Ok) {
            refuse(*request, valid);
        } else if (!place(*request, placement)) {
            waiting_.push_back(*request);
        }
    }
    send(placement);
    expire();
}

void MultipathView::set_members(std::span<const Member> members) {
    const NamespaceView* current = current_ < paths_.size() ? paths_[current_] : nullptr;
    const std::vector<Member> before = std::exchange(members_, {members.begin(), members.end()});
    paths_.clear();
    for (const Member& member : members_) {
        member.view->group = this;
        if (!member.leaving) {
            paths_.push_back(member.view);
        }
        if (member.view->lane != nullptr) {
            member.view->lane->add_grouped(*member.view);
        }
    }
    CHECK(paths_.size() <= kMaxPaths);
    for (const Member& old : before) {
        const bool listed = std::ranges::any_of(
            members_, [&](const Member& member) { return member.view == old.view; });
        if (!listed) {
            CHECK(old.view->inside == 0);
            old.view->group = nullptr;
            if (old.view->lane != nullptr) {
                old.view->lane->remove_grouped(*old.view);
            }
        }
    }
    const auto still = std::ranges::find(paths_, current);
    current_ = still == paths_.end() ? 0 : static_cast<std::size_t>(still - paths_.begin());
    for (const Member& member : members_) {
        Lane* lane = member.view->lane;
        if (lane != nullptr && spares(*member.view) && (member.leaving || !lane->live())) {
            lane->release(*member.view);
        }
    }
    path_changed();
    if (members_.empty()) {
        timer_.cancel();
    }
}

void MultipathView::set_geometry(const block::Geometry& geometry) {
    if (geometry == geometry_) {
        return;
    }
    geometry_ = geometry;
    // A listener may take itself away while it is told.
    const std::vector<block::DeviceListener*> told = listeners;
    for (block::DeviceListener* listener : told) {
        listener->on_geometry_changed();
    }
}

bool MultipathView::spares(const NamespaceView& view) const {
    return paths_.size() > 1 || paths_.empty() || paths_.front() != &view;
}

bool MultipathView::has_alternative(const NamespaceView& view) const {
    return std::ranges::any_of(
        paths_, [&](const NamespaceView* path) { return path != &view && usable(*path); });
}

void MultipathView::take_back(Request& request) {
    Progress& progress = progress_of(request);
    DCHECK(progress.outstanding == 0 && !progress.held && progress.origin == options_.lane);
    progress.queued = false;
    progress.retry = false;
    progress.status = Status::Ok;
    progress.next_block = 0;
    returned_.push_back(request);
    if (!linked()) {
        reactor_.run_soon(*this);
    }
}

void MultipathView::path_changed() {
    if (!waiting_.empty() && !linked()) {
        reactor_.run_soon(*this);
    }
}

void MultipathView::run() {
    place_waiting();
    expire();
}

bool MultipathView::usable(const NamespaceView& view) {
    return view.lane->live() && view.sendable();
}

/// A bit for each path of the best class that can be used; `avoid` only for want of another.
std::uint32_t MultipathView::best_paths(const NamespaceView* avoid) const {
    std::array<std::uint32_t, 2> classes{};
    std::uint32_t avoided = 0;
    for (std::size_t i = 0; i < paths_.size(); ++i) {
        const NamespaceView& path = *paths_[i];
        if (!usable(path)) {
            continue;
        }
        const std::uint32_t bit = std::uint32_t{1} << i;
        if (&path == avoid) {
            avoided = bit;
        } else {
            classes[path.ana == AnaState::Optimized ? 0 : 1] |= bit;
        }
    }
    if (classes[0] != 0) {
        return classes[0];
    }
    return classes[1] != 0 ? classes[1] : avoided;
}

std::size_t MultipathView::least_busy(std::uint32_t paths, const Placement& placement) const {
    std::size_t best = 0;
    std::size_t fewest = std::numeric_limits<std::size_t>::max();
    for (std::uint32_t left = paths; left != 0; left &= left - 1) {
        const auto at = static_cast<std::size_t>(std::countr_zero(left));
        const std::size_t busy = paths_[at]->inside + placement.batches[at].size();
        if (busy < fewest) {
            fewest = busy;
            best = at;
        }
    }
    return best;
}

/// Index of the path for the next request, or -1. A single path takes everything: its lane waits.
int MultipathView::choose(const NamespaceView* avoid, const Placement& placement) {
    if (paths_.size() == 1) {
        return 0;
    }
    const std::uint32_t best = best_paths(avoid);
    if (best == 0) {
        return -1;
    }
    const auto lowest = static_cast<std::size_t>(std::countr_zero(best));
    switch (options_.policy) {
        case PathPolicy::Failover:
            if ((best >> current_ & 1U) != 0) {
                return static_cast<int>(current_);
            }
            if (avoid == nullptr) {
                current_ = lowest;
            }
            return static_cast<int>(lowest);
        case PathPolicy::RoundRobin: {
            const std::uint32_t behind = best & ~((std::uint32_t{2} << current_) - 1U);
            current_ = behind != 0 ? static_cast<std::size_t>(std::countr_zero(behind)) : lowest;
            return static_cast<int>(current_);
        }
        case PathPolicy::QueueDepth:
            return static_cast<int>(least_busy(best, placement));
    }
    return -1;
}

/// An older request may still change the same blocks on a connection that has died.
bool MultipathView::must_wait(const Request& request) const {
    if (paths_.size() == 1 || !changes_blocks(request)) {
        return false;
    }
    return std::ranges::any_of(members_, [&](const Member& member) {
        return member.view->held > 0 && member.view->lane->holds_overlap(*member.view, request);
    });
}

bool MultipathView::place(Request& request, Placement& placement) {
    if (must_wait(request)) {
        REMORA_COVER("host: a write waits for an older one on a dead connection");
        return false;
    }
    Progress& progress = progress_of(request);
    const int at = choose(progress.moved ? progress.view : nullptr, placement);
    if (at < 0) {
        return false;
    }
    placement.batches[static_cast<std::size_t>(at)].push_back(request);
    return true;
}

void MultipathView::place_waiting() {
    merge_by_age(waiting_, returned_);
    if (waiting_.empty()) {
        return;
    }
    Placement placement;
    RequestBatch kept;
    while (Request* request = waiting_.pop_front()) {
        if (!place(*request, placement)) {
            kept.push_back(*request);
        }
    }
    waiting_.append(kept);
    send(placement);
}

void MultipathView::send(Placement& placement) {
    for (std::size_t i = 0; i < paths_.size(); ++i) {
        if (!placement.batches[i].empty()) {
            paths_[i]->lane->resume(*paths_[i], placement.batches[i]);
        }
    }
}

void MultipathView::on_timer(reactor::Timer& /*timer*/) {
    expire();
}

/// Fails what has waited too long and sets the timer for the next one.
void MultipathView::expire() {
    if (waiting_.empty()) {
        timer_.cancel();
        return;
    }
    const std::int64_t now = reactor_.now().count();
    std::int64_t next = core::kNever.count();
    RequestBatch kept;
    while (Request* request = waiting_.pop_front()) {
        const Progress& progress = progress_of(*request);
        if (progress.deadline_ns <= now) {
            REMORA_COVER("host: a request has waited too long for any of its paths");
            request->nvme_status = progress.nvme_status;
            refuse(*request, Status::PathError);
            continue;
        }
        next = std::min(next, progress.deadline_ns);
        kept.push_back(*request);
    }
    waiting_.append(kept);
    if (next != core::kNever.count()) {
        reactor_.arm(timer_, core::Nanos(next));
    }
}

void MultipathView::refuse(Request& request, Status status) {
    refused_.push(request, status);
}

}  // namespace remora::backends::nvme_tcp
