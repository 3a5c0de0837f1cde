// SPDX-License-Identifier: Apache-2.0
#include "control/reconciler.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "control/host_functions.h"
#include "core/log.h"

namespace remora::control {

/// What the host should have.
std::vector<DesiredDevice> Reconciler::desired() const {
    std::vector<DesiredDevice> devices;
    for (const auto& [name, object] : context_.model.table<opi::VirtioBlk>()) {
        if (object.known.intent() == state::INTENT_READY) {
            devices.push_back({disks_.plug_request(object)});
        }
    }
    for (const auto& [name, object] : context_.model.table<opi::NvmeController>()) {
        if (is_host_function(object.resource) && object.known.intent() == state::INTENT_READY) {
            const core::HostFunction function = function_of(object.resource);
            devices.push_back(
                {disks_.plug_request(object), context_.lost_functions.contains(function)});
        }
    }
    return devices;
}

/// Asks the functions themselves: the host does not tell of a session's end.
Task<> Reconciler::look_for_lost_functions() {
    std::vector<std::pair<core::HostFunction, std::string>> functions;
    for (const auto& [name, object] : context_.model.table<opi::NvmeController>()) {
        if (is_host_function(object.resource) && object.known.intent() == state::INTENT_READY) {
            functions.emplace_back(function_of(object.resource),
                                   node_controller_name(object.resource));
        }
    }
    std::set<core::HostFunction> lost;
    for (const auto& [function, name] : functions) {
        const auto status = co_await context_.node.vfio_nvme_status(name);
        if (status && !status->connected) {
            lost.insert(function);
        }
    }
    context_.lost_functions = std::move(lost);
}

/// Whether the host still has something at the function that it should not have.
Task<core::Result<bool>> Reconciler::is_stray(core::HostFunction function) {
    co_await look_for_lost_functions();
    const auto actual = co_await context_.host.list();
    if (!actual) {
        co_return std::unexpected(actual.error());
    }
    const auto actions = plan(desired(), *actual);
    co_return std::ranges::any_of(actions, [&](const PlugAction& other) {
        return other.kind == PlugAction::Kind::Unplug && other.request.function == function;
    });
}

/// Plugs what the store has at the function now.
Task<core::Result<void>> Reconciler::plug(core::HostFunction function) {
    core::Result<std::string> address = std::string();
    if (const auto* disk = on_function<opi::VirtioBlk>(context_.model, function)) {
        const Object<opi::VirtioBlk> wish = *disk;
        if (wish.known.intent() == state::INTENT_READY) {
            address = co_await disks_.plug(wish);
        }
    } else if (const auto* controller =
                   on_function<opi::NvmeController>(context_.model, function)) {
        const Object<opi::NvmeController> wish = *controller;
        if (wish.known.intent() == state::INTENT_READY) {
            address = co_await disks_.plug(wish);
        }
    }
    co_return address ? core::Result<void>() : std::unexpected(address.error());
}

/// Between planning and acting another call may have changed what is wanted, so the wish is looked
/// up again under the function's lock.
Task<bool> Reconciler::carry_out(PlugAction action) {
    const core::HostFunction function = action.request.function;
    auto held = co_await context_.lock({function_key(function)});
    if (!held) {
        co_return false;
    }
    core::Result<void> outcome;
    if (action.kind == PlugAction::Kind::Unplug) {
        const auto stray = co_await is_stray(function);
        if (!stray) {
            co_return false;
        }
        if (*stray) {
            outcome = co_await disks_.unplug(function);
        }
    } else {
        outcome = co_await plug(function);
    }
    if (!outcome && outcome.error().message != said_) {
        said_ = outcome.error().message;
        log::warn("host not as it should be yet", log::kv("function", function.text()),
                  log::kv("reason", said_));
    }
    co_return outcome.has_value();
}

Task<bool> Reconciler::once() {
    const bool attachments_done = co_await attachments_.finish_removals();
    const bool disks_done = co_await virtio_blks_.devices().finish_removals();
    const bool spaces_served = co_await subsystems_.serve_unserved();
    const bool disks_served = co_await virtio_blks_.devices().serve_unserved();
    const bool functions_done = co_await subsystems_.functions().finish_removals();
    const bool functions_served = co_await subsystems_.functions().serve_unserved();
    bool all = attachments_done && disks_done && spaces_served && disks_served && functions_done &&
               functions_served;
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
    if (!actions.empty()) {
        co_await look_for_lost_functions();
    }
    co_return all;
}

void Reconciler::start() {
    (void)gate_.spawn(&Reconciler::run, this);
}

Task<> Reconciler::run(Reconciler* self) {
    while (!self->gate_.closed()) {
        self->raid_volumes_.settle();
        if (self->context_.host.can_plug()) {
            co_await self->look_for_lost_functions();
        }
        const bool lost = !self->context_.host.trouble().empty() ||
                          !self->context_.lost_functions.empty() ||
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
