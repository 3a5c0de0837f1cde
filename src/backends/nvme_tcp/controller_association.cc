// SPDX-License-Identifier: Apache-2.0
// Controller, the part that builds an association and ends it: admin queue, I/O queues, namespaces,
// events.
#include <algorithm>
#include <utility>

#include "backends/nvme_tcp/controller.h"
#include "core/log.h"
#include "reactor/call.h"

namespace remora::backends::nvme_tcp {

namespace {

constexpr std::uint32_t kAdminQueueSize = 32;
// A controller that tells of changes without end gets no more attention than this.
constexpr Nanos kEventPause = std::chrono::milliseconds(20);
/// Largest command made of a request.
constexpr std::uint64_t kMaxPartBytes = std::uint64_t{1} << 20U;

}  // namespace

QueuePairOptions Controller::queue_options(std::uint16_t queue_id) const {
    QueuePairOptions out;
    out.endpoint = options_.endpoint;
    out.queue_id = queue_id;
    out.queue_size = kAdminQueueSize;
    out.header_digest = options_.header_digest;
    out.data_digest = options_.data_digest;
    out.subnqn = options_.subnqn;
    out.hostnqn = options_.hostnqn;
    out.hostid = options_.hostid.bytes;
    out.connect_timeout = options_.timing.connect_timeout;
    if (queue_id == 0) {
        out.keep_alive_ms = static_cast<std::uint32_t>(
            std::chrono::duration_cast<std::chrono::milliseconds>(options_.timing.keep_alive)
                .count());
        return out;
    }
    out.cntlid = admin_->queue().cntlid();
    out.in_capsule = facts_.in_capsule_bytes;
    out.queue_size = std::clamp(facts_.max_queue_entries, 2U, options_.queue_size);
    return out;
}

TransferLimits Controller::transfer_limits() const {
    TransferLimits limits;
    limits.max_transfer_bytes = static_cast<std::uint32_t>(
        facts_.max_transfer_bytes == 0 ? kMaxPartBytes
                                       : std::min(facts_.max_transfer_bytes, kMaxPartBytes));
    if (facts_.max_zeroes_bytes != 0) {
        limits.max_zeroes_bytes = facts_.max_zeroes_bytes;
    }
    limits.max_discard_blocks = std::max(facts_.max_discard_blocks, 1U);
    return limits;
}

Task<Result<void>> Controller::associate() {
    state_ = PathState::Connecting;
    background_ = std::make_unique<reactor::Gate>();
    Admin::Owner& owner = *this;
    admin_ =
        std::make_unique<Admin>(reactor_, owner, queue_options(0), options_.timing.admin_timeout);
    auto done = co_await admin_->start();
    if (!done) {
        co_return done;
    }
    const auto facts = co_await admin_->identify_controller();
    if (!facts) {
        co_return std::unexpected(facts.error());
    }
    facts_ = *facts;
    background_->spawn([](Controller* self) { return self->keep_alive_loop(); }, this);
    const auto count = static_cast<std::uint32_t>(lanes_.size());
    const std::uint32_t wanted =
        options_.io_queues == 0 ? count : std::min(options_.io_queues, count);
    const auto granted = co_await admin_->set_queue_count(wanted);
    if (!granted) {
        co_return std::unexpected(granted.error());
    }
    done = co_await connect_lanes(*granted);
    if (!done) {
        co_return done;
    }
    const std::uint32_t events =
        (facts_.tells_namespace_changes ? nvme::spec::kEventNamespaceAttribute : 0U) |
        (facts_.ana.reported && facts_.tells_ana_changes ? nvme::spec::kEventAnaChange : 0U);
    if (events != 0) {
        done = co_await admin_->set_event_mask(events);
        if (!done) {
            co_return done;
        }
        background_->spawn([](Controller* self) { return self->event_loop(); }, this);
    }
    done = co_await scan();
    if (done && !down_ && !stopping_) {
        co_await lanes_go_live(*granted);
    }
    if (done && down_) {
        co_return std::unexpected(*down_);
    }
    co_return done;
}

/// Leaves nothing of the association: see the header of remote_controller.h for why it is in this
/// order. Connections are closed side by side, so this takes one linger at most after disable().
Task<> Controller::dissociate() {
    state_ = PathState::Down;
    notify_change();
    const Nanos linger = options_.timing.close_linger;
    keep_alive_end_.notify();
    bool reset_confirmed = false;
    if (admin_) {
        reset_confirmed = co_await admin_->disable(stopping_, linger);
    }
    reactor::Gate closing;
    for (const auto& lane : lanes_) {
        closing.spawn(
            [](Lane* at, Nanos limit, bool ended) {
                return reactor::call_on(at->reactor(),
                                        [=] { return at->disconnect(limit, ended); });
            },
            lane.get(), linger, reset_confirmed);
    }
    if (admin_) {
        (void)co_await admin_->queue().close(linger);
    }
    co_await closing.close();
    if (background_) {
        co_await background_->close();
        background_.reset();
    }
    admin_.reset();
    down_.reset();
    keep_alive_end_.reset();
    reset_wanted_ = false;
    next_ana_ = core::kNever;
    ana_change_ = core::kNever;
    notify_change();
}

Task<Result<void>> Controller::connect_lanes(std::uint32_t granted) {
    for (std::uint32_t i = 0; i < granted && !stopping_; ++i) {
        Lane* lane = lanes_[i].get();
        const QueuePairOptions options = queue_options(static_cast<std::uint16_t>(i + 1));
        auto connected = co_await reactor::call_on(
            lane->reactor(), [lane, options] { return lane->connect(options); });
        if (!connected) {
            co_return connected;
        }
    }
    co_return Result<void>{};
}

Task<> Controller::lanes_go_live(std::uint32_t granted) {
    const TransferLimits limits = transfer_limits();
    const Timing timing = options_.timing;
    for (std::uint32_t i = 0; i < lanes_.size(); ++i) {
        Lane* lane = lanes_[i].get();
        Lane* carrier = i < granted ? nullptr : lanes_[i % granted].get();
        co_await reactor::call_on(lane->reactor(), [lane, limits, timing, carrier] {
            lane->go_live(limits, timing, carrier);
        });
    }
}

/// Reads the controller's namespaces and brings the devices in line with them.
Task<Result<void>> Controller::scan() {
    while (devices_busy_) {
        co_await wait_change(core::kNever);  // forget(), which only asks our own reactors
    }
    devices_busy_ = true;
    scan_wanted_ = false;
    ++scans_started_;
    scanning_ = true;
    const Nanos deadline = reactor_.now() + options_.timing.scan_timeout;
    auto shown = co_await ask_namespaces(deadline);
    bool changed = false;
    if (shown) {
        changed = take_namespaces(*shown);
        if (const auto learned = co_await learn_ana(deadline); !learned) {
            shown = std::unexpected(learned.error());
        }
    }
    scanning_ = false;
    if (shown) {
        co_await update_views();
        scans_done_ = scans_started_;
    }
    devices_busy_ = false;
    notify_change();
    if (changed && listener_ != nullptr) {
        listener_->on_namespaces_changed();
    }
    if (!shown) {
        co_return std::unexpected(shown.error());
    }
    co_return Result<void>{};
}

Task<Result<std::vector<NamespaceIdentity>>> Controller::ask_namespaces(Nanos deadline) {
    const auto nsids = co_await admin_->active_namespaces(kMaxNamespaces, deadline);
    if (!nsids) {
        co_return std::unexpected(nsids.error());
    }
    bool ask_again = false;
    std::vector<NamespaceIdentity> shown;
    for (const std::uint32_t nsid : *nsids) {
        if (reactor_.now() >= deadline) {
            co_return core::fail(core::ErrorKind::DeadlineExceeded,
                                 "remote controller " + options_.name + " does not show its " +
                                     std::to_string(nsids->size()) + " namespaces in time");
        }
        const auto one = co_await admin_->describe_namespace(nsid, facts_, deadline, ask_again);
        if (!one) {
            co_return std::unexpected(one.error());
        }
        if (*one) {
            shown.push_back(**one);
        }
    }
    next_scan_ = ask_again ? reactor_.now() + options_.timing.backoff_max : core::kNever;
    if (ask_again && !std::exchange(told_undescribed_, true)) {
        log::warn("a namespace cannot be described for now", log::kv("name", options_.name),
                  log::kv("reason", "the controller refuses to identify it; it is asked again"));
    }
    told_undescribed_ = ask_again;
    co_return shown;
}

/// The device of a namespace, made when there is none yet. Null when there are enough of them: a
/// controller that shows others each time it is asked must not fill our memory with those that
/// went away.
NamespaceDevice* Controller::device_for(const NamespaceIdentity& identity) {
    if (const auto found = devices_.find(identity.nsid); found != devices_.end()) {
        return found->second.get();
    }
    if (devices_.size() >= kMaxNamespaces) {
        return nullptr;
    }
    auto& device = devices_[identity.nsid];
    device = std::make_unique<NamespaceDevice>(options_.name, identity, lanes_, reactor_);
    return device.get();
}

bool Controller::take_namespaces(const std::vector<NamespaceIdentity>& shown) {
    bool changed = false;
    std::size_t left_out = 0;
    std::map<std::uint32_t, const NamespaceIdentity*> by_nsid;
    for (const NamespaceIdentity& identity : shown) {
        by_nsid[identity.nsid] = &identity;
    }
    for (const auto& [nsid, device] : devices_) {
        if (!by_nsid.contains(nsid)) {
            changed |= device->mark_away();
        }
    }
    for (const auto& [nsid, identity] : by_nsid) {
        NamespaceDevice* device = device_for(*identity);
        if (device == nullptr) {
            ++left_out;
            continue;
        }
        const std::string problem_before = device->problem();
        changed |= device->take(*identity);
        if (!device->problem().empty() && device->problem() != problem_before) {
            log::warn("namespace is not what it was", log::kv("volume", device->name()),
                      log::kv("reason", device->problem()));
        }
    }
    if (left_out > 0 && !told_left_out_) {
        log::warn("namespaces left out", log::kv("name", options_.name), log::kv("count", left_out),
                  log::kv("reason", std::to_string(kMaxNamespaces) +
                                        " are kept already, also those that went away; to forget "
                                        "these, delete the remote controller and create it again"));
    }
    told_left_out_ = left_out > 0;
    return changed;
}

/// Each reactor's views take over what the devices say, on that reactor.
Task<> Controller::update_views() {
    struct Update {
        NamespaceView* view;
        NamespaceState state;
        block::Geometry geometry;
        bool zeroing;
        AnaState ana;
    };
    const std::size_t reactors = devices_.empty() ? 0 : devices_.begin()->second->view_count();
    for (std::size_t i = 0; i < reactors; ++i) {
        std::vector<Update> updates;
        updates.reserve(devices_.size());
        for (const auto& [nsid, device] : devices_) {
            updates.push_back({&device->view(i), device->state(), device->identity().geometry,
                               device->identity().discard_by_zeroing, device->ana()});
        }
        const bool reported = facts_.ana.reported;
        reactor::Reactor& target = *updates.front().view->reactor;
        co_await reactor::call_on(target, [&updates, reported] {
            for (const Update& update : updates) {
                update.view->update_ana(update.ana, reported);
                update.view->update(update.state, update.geometry, update.zeroing);
            }
        });
    }
}

/// Asks twice in a keep-alive time and waits one for the answer: a dead peer is known in 1.5. The
/// controller counts from one command to the next, so the pause is counted from the last asking,
/// however late its answer was.
Task<> Controller::keep_alive_loop() {
    const Nanos time = options_.timing.keep_alive;
    Nanos next = reactor_.now() + time / 2;
    while (true) {
        const bool ended = co_await keep_alive_end_.wait_until(next);
        if (ended || !admin_->queue().is_open()) {
            co_return;
        }
        next = reactor_.now() + time / 2;
        const auto alive = co_await admin_->keep_alive(time);
        if (!alive) {
            note_down(alive.error());
            co_return;
        }
    }
}

void Controller::on_overtaken(std::uint16_t queue_id, std::uint16_t cid) {
    if (state_ != PathState::Live || !background_ || background_->closed() ||
        overtaken_.size() == lanes_.size()) {
        return;
    }
    log::warn("a command is overtaken by others and to be aborted", log::kv("name", options_.name),
              log::kv("qid", queue_id), log::kv("cid", cid));
    overtaken_.push_back({queue_id, cid});
    if (!aborting_) {
        background_->spawn([](Controller* self) { return self->abort_overtaken(); }, this);
    }
}

/// A controller need not take more than one Abort at a time (NVMe Base 2.0, Identify ACL).
Task<> Controller::abort_overtaken() {
    aborting_ = true;
    while (!overtaken_.empty()) {
        const Overtaken next = overtaken_.front();
        overtaken_.erase(overtaken_.begin());
        const auto asked = co_await admin_->abort(next.queue_id, next.cid);
        if (!asked) {
            overtaken_.clear();  // their connections end with this one
            note_down(asked.error());
        }
    }
    aborting_ = false;
}

Task<> Controller::event_loop() {
    while (admin_->queue().is_open()) {
        const auto event = co_await admin_->await_event();
        if (!event) {
            co_return;
        }
        co_await handle_event(*event);
        co_await reactor::sleep_for(kEventPause);
    }
}

Task<> Controller::handle_event(std::uint32_t event) {
    if (event == nvme::spec::kNoticeAna) {
        want_ana();  // reading the log lets the next event of its kind come
    } else if (event == nvme::spec::kNoticeNamespaces) {
        // Reading the list lets the next event of its kind come. What it says does not matter:
        // everything is looked at again.
        nvme::spec::ChangedNamespacesLog changed;
        const auto bytes = std::as_writable_bytes(std::span(&changed, 1));
        const auto read =
            co_await admin_->get_log(nvme::spec::LogPage::ChangedNamespaces, 0, bytes);
        if (!read) {
            log::debug("changed namespace list not read", log::kv("name", options_.name),
                       log::kv("reason", read.error().message));
        }
        scan_wanted_ = true;
        wake_.notify();
    }
}

}  // namespace remora::backends::nvme_tcp
