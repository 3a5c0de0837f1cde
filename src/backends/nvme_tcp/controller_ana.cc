// SPDX-License-Identifier: Apache-2.0
// Controller, the part that learns which of its namespaces the controller gives access to (ANA).
#include <algorithm>

#include "backends/nvme_tcp/controller.h"
#include "core/log.h"

namespace remora::backends::nvme_tcp {

namespace {

// Doubts without end, as a controller's statuses may raise, get no more attention than this.
constexpr Nanos kAnaPause = std::chrono::milliseconds(20);

}  // namespace

void Controller::want_ana() {
    next_ana_ = std::min(next_ana_, std::max(reactor_.now(), ana_read_ + kAnaPause));
    wake_.notify();
}

/// The states alone, without looking at the namespaces again.
Task<Result<void>> Controller::read_ana() {
    while (devices_busy_) {
        co_await wait_change(core::kNever);  // forget(), which only asks our own reactors
    }
    devices_busy_ = true;
    scanning_ = true;
    auto learned = co_await learn_ana(reactor_.now() + options_.timing.admin_timeout);
    scanning_ = false;
    if (learned) {
        co_await update_views();
    }
    devices_busy_ = false;
    notify_change();
    co_return learned;
}

Task<Result<void>> Controller::learn_ana(Nanos deadline) {
    next_ana_ = core::kNever;
    if (!facts_.ana.reported) {
        take_ana({});
        co_return Result<void>{};
    }
    const auto states = co_await admin_->ana_states(facts_.ana, deadline);
    ana_read_ = reactor_.now();
    if (!states) {
        co_return std::unexpected(states.error());
    }
    take_ana(*states);
    const bool changing = std::ranges::any_of(devices_, [](const auto& entry) {
        return entry.second->state() == NamespaceState::Present &&
               entry.second->ana() == AnaState::Change;
    });
    if (!changing) {
        ana_change_ = core::kNever;
        co_return Result<void>{};
    }
    // NVMe Base 2.0, ANA Change state: a change takes ANATT at most.
    const Nanos now = reactor_.now();
    ana_change_ = std::min(ana_change_, now);
    const Nanos end = ana_change_ + facts_.ana.transition;
    if (now >= end) {
        ana_change_ = core::kNever;
        co_return core::fail(core::ErrorKind::DeadlineExceeded,
                             "remote controller " + options_.name +
                                 " changes its access state for longer than it said (ANATT)");
    }
    next_ana_ = std::min(next_ana_, end);
    co_return Result<void>{};
}

/// A namespace whose group the log does not have is not to be used.
void Controller::take_ana(const std::map<std::uint32_t, AnaState>& states) {
    for (const auto& [nsid, device] : devices_) {
        AnaState state = AnaState::Optimized;
        if (const std::uint32_t group = device->identity().ana_group; group != 0) {
            const auto found = states.find(group);
            state = found == states.end() ? AnaState::Inaccessible : found->second;
        }
        if (device->set_ana(state)) {
            log::info("access state of a namespace", log::kv("volume", device->name()),
                      log::kv("state", to_string(state)));
        }
    }
}

}  // namespace remora::backends::nvme_tcp
