// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/controller.h"

#include <algorithm>
#include <utility>

#include "backends/nvme_tcp/fabrics.h"
#include "core/log.h"
#include "reactor/call.h"

namespace remora::backends::nvme_tcp {

using core::ErrorKind;
using log::kv;

namespace {

core::Error stopped(const std::string& name) {
    return {ErrorKind::Aborted, "remote controller " + name + " is being stopped"};
}

/// Until a namespace was seen: what every controller in use can do, so that a front end that is
/// rebuilt before the path is up offers its guest what it offered before.
NamespaceIdentity identity_of(const KnownNamespace& known) {
    NamespaceIdentity identity;
    identity.nsid = known.nsid;
    identity.uuid = known.uuid;
    identity.geometry.block_size = known.block_size;
    identity.geometry.block_count = known.block_count;
    identity.geometry.can_discard = true;
    identity.geometry.can_write_zeroes = true;
    identity.geometry.volatile_cache = true;
    return identity;
}

}  // namespace

Controller::Controller(ControllerOptions options,
                       std::span<const block::ReactorContext> reactors,
                       reactor::Reactor& control)
    : options_(std::move(options)), reactor_(control) {
    LaneOwner& owner = *this;
    for (const block::ReactorContext& context : reactors) {
        const auto index = static_cast<std::uint32_t>(lanes_.size());
        lanes_.push_back(std::make_unique<Lane>(index, context, control, owner, options_.timing));
    }
    for (const auto& lane : lanes_) {
        lane->meet(lanes_);
    }
    for (const KnownNamespace& known : options_.known) {
        devices_[known.nsid] =
            std::make_unique<NamespaceDevice>(options_.name, identity_of(known), lanes_, control);
    }
}

Controller::~Controller() {
    CHECK(gate_.closed() && !admin_ && waiters_.empty());
}

void Controller::start() {
    CHECK_ON_REACTOR(reactor_);
    gate_.spawn([](Controller* self) { return self->live(); }, this);
}

Task<> Controller::live() {
    while (!stopping_) {
        const auto associated = co_await associate();
        if (associated) {
            co_await serve();
        } else if (!stopping_) {
            note_failure(associated.error());
        }
        co_await dissociate();
        co_await pause();
    }
}

Task<> Controller::serve() {
    state_ = PathState::Live;
    has_error_ = false;
    refused_ = false;
    was_live_ = true;
    const Nanos live_since = reactor_.now();
    notify_change();
    log::info("remote controller live", kv("name", options_.name), kv("subsystem", options_.subnqn),
              kv("endpoint", options_.endpoint.text()));
    while (!stopping_ && !reset_wanted_ && !down_) {
        const bool scan_due = scan_wanted_ || reactor_.now() >= next_scan_;
        if (!scan_due && reactor_.now() < next_ana_) {
            co_await wake_.wait_until(std::min(next_scan_, next_ana_));
            continue;
        }
        Result<void> read;
        if (scan_due) {
            read = co_await scan();
        } else {
            read = co_await read_ana();
        }
        if (!read && !reset_wanted_) {
            note_down(read.error());
        }
    }
    if (stopping_) {
        co_return;
    }
    ++reconnects_;
    if (reactor_.now() - live_since > options_.timing.backoff_max) {
        backoff_step_ = 0;  // one that breaks as soon as it is up comes back slower and slower
    }
    if (down_) {
        last_error_ = *down_;
        has_error_ = true;
        log::warn("remote controller lost", kv("name", options_.name),
                  kv("reason", last_error_.message));
    }
}

/// Between two attempts: exponential, with jitter so that many hosts do not come back at once.
Task<> Controller::pause() {
    const Timing& timing = options_.timing;
    Nanos longest = timing.backoff_max;
    if (!refused_ || was_live_) {
        // A target that restarts may refuse for a moment what it accepted before.
        longest =
            std::min<Nanos>(timing.backoff_min * (1LL << std::min(backoff_step_, 20U)), longest);
        ++backoff_step_;
    }
    const auto half = static_cast<std::uint64_t>(longest.count() / 2);
    const Nanos delay(static_cast<std::int64_t>(half + reactor_.prng().below(half + 1)));
    const Nanos until = reactor_.now() + delay;
    while (!stopping_ && !hurry_ && reactor_.now() < until) {
        co_await wake_.wait_until(until);
    }
    hurry_ = false;
}

Task<bool> Controller::wait_change(Nanos deadline) {
    reactor::Signal signal;
    waiters_.push_back(&signal);
    const bool notified = co_await signal.wait_until(deadline);
    std::erase(waiters_, &signal);
    co_return notified;
}

void Controller::notify_change() {
    for (reactor::Signal* waiter : waiters_) {
        waiter->notify();
    }
}

void Controller::note_down(const core::Error& reason) {
    if (!down_) {
        down_ = reason;
    }
    cut_scan_short(*down_);
    wake_.notify();
}

/// Whatever ends the association does not wait until a slow controller has shown all its
/// namespaces: without its connection the scan fails at once.
void Controller::cut_scan_short(const core::Error& reason) {
    if (scanning_) {
        admin_->queue().fail(reason);
    }
}

void Controller::note_failure(const core::Error& reason) {
    if (!has_error_ || last_error_.message != reason.message) {
        log::warn("remote controller cannot connect", kv("name", options_.name),
                  kv("reason", reason.message));
    }
    last_error_ = reason;
    has_error_ = true;
    refused_ = is_refusal(reason);
    ++failures_;
    notify_change();
}

void Controller::on_lane_down(std::uint32_t /*lane*/, const core::Error& reason) {
    if (state_ != PathState::Down) {
        note_down(reason);
    }
}

void Controller::on_admin_down(const core::Error& reason) {
    if (state_ != PathState::Down && !reset_wanted_) {
        note_down(reason);
    }
}

Task<Result<void>> Controller::wait_ready(Nanos limit) {
    if (!gate_.enter()) {
        co_return std::unexpected(stopped(options_.name));
    }
    auto result = co_await ready_by(reactor_.now() + limit);
    gate_.leave();
    co_return result;
}

Task<Result<void>> Controller::ready_by(Nanos deadline) {
    const std::uint64_t failures_before = failures_;
    if (refused_) {
        hurry_ = true;  // whoever asks may have mended what was refused
        wake_.notify();
    }
    while (state_ != PathState::Live) {
        if (stopping_) {
            co_return std::unexpected(stopped(options_.name));
        }
        if (refused_ && failures_ != failures_before) {
            co_return std::unexpected(last_error_);
        }
        const bool in_time = co_await wait_change(deadline);
        if (!in_time && state_ != PathState::Live) {
            if (has_error_) {
                co_return std::unexpected(last_error_);
            }
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 "remote controller " + options_.name + " is not connected to " +
                                     options_.endpoint.text() + " in time");
        }
    }
    co_return Result<void>{};
}

ControllerStatus Controller::status() const {
    ControllerStatus out;
    out.state = state_;
    out.reconnects = reconnects_;
    if (has_error_) {
        out.last_error = last_error_.message;
    }
    for (const auto& [nsid, device] : devices_) {
        const NamespaceIdentity& identity = device->identity();
        NamespaceStatus one;
        one.nsid = nsid;
        one.volume = device->name();
        one.uuid = device->uuid();
        one.nguid = identity.nguid;
        one.eui64 = identity.eui64;
        one.geometry = identity.geometry;
        one.present = device->state() != NamespaceState::Away;
        one.problem = device->problem();
        one.shown = device->shown_uuid();
        one.ana = device->ana();
        if (out.last_error.empty()) {
            out.last_error = one.problem;
        }
        out.namespaces.push_back(std::move(one));
    }
    return out;
}

std::vector<NamespaceDevice*> Controller::devices() const {
    std::vector<NamespaceDevice*> out;
    out.reserve(devices_.size());
    for (const auto& [nsid, device] : devices_) {
        out.push_back(device.get());
    }
    return out;
}

block::Device* Controller::device(std::uint32_t nsid) const {
    const auto found = devices_.find(nsid);
    return found == devices_.end() ? nullptr : found->second.get();
}

Task<Result<void>> Controller::rescan() {
    if (!gate_.enter()) {
        co_return std::unexpected(stopped(options_.name));
    }
    auto result = co_await rescan_by(reactor_.now() + options_.timing.admin_timeout * 2);
    gate_.leave();
    co_return result;
}

Task<Result<void>> Controller::rescan_by(Nanos deadline) {
    scan_wanted_ = true;
    wake_.notify();
    const std::uint64_t wanted = scans_started_ + 1;  // one that begins after this call
    while (scans_done_ < wanted) {
        if (state_ != PathState::Live || stopping_) {
            co_return core::fail(ErrorKind::Unavailable,
                                 "remote controller " + options_.name + " is not connected");
        }
        const bool in_time = co_await wait_change(deadline);
        if (!in_time) {
            co_return core::fail(ErrorKind::DeadlineExceeded,
                                 "remote controller " + options_.name + " does not list in time");
        }
    }
    co_return Result<void>{};
}

Task<Result<void>> Controller::forget(std::uint32_t nsid) {
    if (!gate_.enter()) {
        co_return std::unexpected(stopped(options_.name));
    }
    while (devices_busy_) {
        co_await wait_change(core::kNever);  // a scan, whose waits have deadlines
    }
    devices_busy_ = true;
    auto result = co_await forget_device(nsid);
    devices_busy_ = false;
    notify_change();
    gate_.leave();
    co_return result;
}

Task<Result<void>> Controller::forget_device(std::uint32_t nsid) {
    const auto found = devices_.find(nsid);
    if (found == devices_.end()) {
        co_return core::fail(ErrorKind::NotFound, "remote controller " + options_.name +
                                                      " has no namespace " + std::to_string(nsid));
    }
    NamespaceDevice* device = found->second.get();
    std::uint32_t channels = 0;
    for (std::size_t i = 0; i < device->view_count(); ++i) {
        NamespaceView* view = &device->view(i);
        channels += co_await reactor::call_on(
            *view->reactor, [view] { return view->open_channels + view->inside; });
    }
    if (channels > 0) {
        co_return core::fail(ErrorKind::FailedPrecondition,
                             "volume " + device->name() + " is in use");
    }
    devices_.erase(nsid);
    co_return Result<void>{};
}

Task<> Controller::reset() {
    if (!gate_.enter()) {
        co_return;
    }
    hurry_ = true;
    reset_wanted_ = state_ == PathState::Live;
    if (reset_wanted_) {
        cut_scan_short(
            {ErrorKind::Aborted, "remote controller " + options_.name + " is being reset"});
    }
    wake_.notify();
    while (reset_wanted_ && !stopping_) {
        co_await wait_change(core::kNever);  // dissociate(), whose waits have deadlines
    }
    gate_.leave();
}

Task<> Controller::stop() {
    stopping_ = true;
    const core::Error reason = stopped(options_.name);
    cut_scan_short(reason);
    if (state_ == PathState::Connecting) {
        // Cut short what connects; each of its waits would end by itself, but later.
        if (admin_) {
            admin_->queue().fail(reason);
        }
        for (const auto& lane : lanes_) {
            lane->reactor().post_function([at = lane.get(), reason] { at->abort_connect(reason); });
        }
    }
    wake_.notify();
    notify_change();
    co_await gate_.close();
    for (const auto& lane : lanes_) {
        Lane* at = lane.get();
        co_await reactor::call_on(at->reactor(), [at] { at->shut_down(); });
    }
    // Couriers come home: each of these calls passes behind what they have on the way.
    for (const auto& lane : lanes_) {
        Lane* at = lane.get();
        bool idle = false;
        while (!idle) {
            idle = co_await reactor::call_on(at->reactor(), [at] { return at->couriers_idle(); });
        }
    }
}

core::Result<std::unique_ptr<RemoteController>> RemoteController::create(
    ControllerOptions options,
    std::span<const block::ReactorContext> reactors,
    reactor::Reactor& control) {
    const auto wrong = [&options](const std::string& what) {
        return core::fail(ErrorKind::InvalidArgument,
                          "remote controller " + options.name + ": " + what);
    };
    const auto bad_nqn = [](const std::string& nqn) {
        return nqn.empty() || nqn.size() > nvme::spec::kNqnMaxBytes;
    };
    if (options.name.empty()) {
        return wrong("it needs a name");
    }
    if (options.endpoint.family != Endpoint::Family::Tcp || options.endpoint.port == 0) {
        return wrong("its endpoint must be a TCP address and port");
    }
    if (bad_nqn(options.subnqn) || bad_nqn(options.hostnqn)) {
        return wrong("subsystem and host NQN must have 1 to 223 bytes");
    }
    if (options.queue_size < 2 || options.queue_size > kMaxQueueSize) {
        return wrong("queue size " + std::to_string(options.queue_size) + " is not in 2..1024");
    }
    if (reactors.empty()) {
        return wrong("there is no reactor for its I/O");
    }
    for (const KnownNamespace& known : options.known) {
        const block::Geometry geometry = identity_of(known).geometry;
        if (const auto valid = block::check_geometry(geometry); !valid) {
            return core::fail("known namespace " + std::to_string(known.nsid), valid.error());
        }
    }
    auto controller = std::make_unique<Controller>(std::move(options), reactors, control);
    controller->start();
    return controller;
}

}  // namespace remora::backends::nvme_tcp
