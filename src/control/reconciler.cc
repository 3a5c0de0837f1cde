// SPDX-License-Identifier: Apache-2.0
#include "control/reconciler.h"

#include <algorithm>
#include <utility>

#include "control/references.h"
#include "core/log.h"

namespace remora::control {

std::vector<DesiredDisk> Reconciler::desired() const {
    std::vector<DesiredDisk> disks;
    for (const auto& [name, object] : context_.model.table<opi::VirtioBlk>()) {
        if (object.known.intent() == state::INTENT_READY) {
            const auto request = disks_.plug_request(object);
            disks.push_back({request.function, request.socket_path, request.queues});
        }
    }
    return disks;
}

/// Between planning and acting another call may have changed what is wanted, so the wish is looked
/// up again under the function's lock.
Task<bool> Reconciler::carry_out(PlugAction action) {
    auto held = co_await context_.lock({function_key(action.function)});
    if (!held) {
        co_return false;
    }
    const auto now_desired = desired();
    const auto* wish = disk_on_function(context_.model, action.function);
    core::Result<void> outcome;
    if (action.kind == PlugAction::Kind::Unplug) {
        const auto actual = co_await context_.host.list();
        if (!actual) {
            co_return false;
        }
        const auto stray = plan(now_desired, *actual);
        const bool still = std::any_of(stray.begin(), stray.end(), [&](const PlugAction& other) {
            return other.kind == PlugAction::Kind::Unplug && other.function == action.function;
        });
        if (still) {
            outcome = co_await disks_.unplug(action.function);
        }
    } else if (wish != nullptr && wish->known.intent() == state::INTENT_READY) {
        const Object<opi::VirtioBlk> disk = *wish;
        const auto address = co_await disks_.plug(disk);
        if (!address) {
            outcome = std::unexpected(address.error());
        }
    }
    if (!outcome && outcome.error().message != said_) {
        said_ = outcome.error().message;
        log::warn("host not as it should be yet", log::kv("function", action.function),
                  log::kv("reason", said_));
    }
    co_return outcome.has_value();
}

Task<bool> Reconciler::once() {
    const bool attachments_done = co_await attachments_.finish_removals();
    const bool disks_done = co_await virtio_blks_.finish_removals();
    const bool listeners_open = co_await subsystems_.open_unserved();
    const bool disks_served = co_await virtio_blks_.serve_unserved();
    bool all = attachments_done && disks_done && listeners_open && disks_served;
    if (!context_.host.can_plug()) {
        co_return all;
    }
    // What changes while the host is asked is another look's business: the answer may be older.
    const std::uint64_t generation = context_.host.generation();
    const auto actual = co_await context_.host.list();
    if (!actual) {
        if (actual.error().message != said_) {
            said_ = actual.error().message;
            log::warn("host platform not reachable", log::kv("reason", said_));
        }
        co_return false;
    }
    seen_generation_ = generation;
    for (const platform::PluggedDevice& device : *actual) {
        if (!device.pci_address.empty()) {
            context_.pci_addresses[device.function] = device.pci_address;
        }
    }
    const auto actions = plan(desired(), *actual);
    for (const PlugAction& action : actions) {
        const bool done = co_await carry_out(action);
        all = all && done;
    }
    co_return all;
}

void Reconciler::start() {
    (void)gate_.spawn(&Reconciler::run, this);
}

Task<> Reconciler::run(Reconciler* self) {
    while (!self->gate_.closed()) {
        self->raid_volumes_.settle();
        const bool lost = !self->context_.host.trouble().empty() ||
                          self->context_.host.generation() != self->seen_generation_;
        if (!self->settled_ || lost || std::exchange(self->context_.unfinished, false)) {
            self->settled_ = co_await self->once();
        }
        const core::Nanos next =
            reactor::Reactor::current().now() + self->context_.options.reconcile_pause;
        co_await self->stop_signal_.wait_until(next);
    }
}

Task<bool> Reconciler::stop(core::Nanos deadline) {
    stop_signal_.notify();
    co_return co_await gate_.close_by(deadline);
}

}  // namespace remora::control
