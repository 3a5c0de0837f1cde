// SPDX-License-Identifier: Apache-2.0
#include "control/host_devices.h"

#include <utility>

#include "control/child_calls.h"
#include "control/minima.h"
#include "core/log.h"

namespace remora::control {

using core::Result;
using reactor::Task;

namespace {

std::string own_lock(const opi::VirtioBlk& disk) {
    return lock_key<opi::VirtioBlk>(disk.name());
}
std::string own_lock(const opi::NvmeController& controller) {
    return lock_key<opi::NvmeSubsystem>(parent_of(controller.name()));
}

}  // namespace

template <typename M>
std::vector<std::string> HostDevices<M>::locks_of(const M& device) {
    return {own_lock(device), function_key(function_of(device))};
}

template <typename M>
Task<Result<M>> HostDevices<M>::raise(Object<M> device) {
    co_await renew_competition(context_);
    const auto address = co_await disks_.raise(device);
    Result<void> outcome;
    if (address) {
        device.known.set_intent(state::INTENT_READY);
        Transaction ready(context_.model);
        ready.put(device);
        outcome = ready.commit();
    } else {
        outcome = std::unexpected(address.error());
    }
    if (!outcome) {
        // It is still pending in the store; when undoing fails too, the reconciler goes on trying.
        context_.unfinished = true;
        const bool plugged = address || address.error().kind == core::ErrorKind::DeadlineExceeded;
        if (auto undone = co_await lower(device.resource, plugged); !undone) {
            log::warn("undoing a device did not succeed yet",
                      log::kv("name", device.resource.name()),
                      log::kv("reason", undone.error().message));
        }
        co_return std::unexpected(outcome.error());
    }
    co_return device.resource;
}

template <typename M>
Task<Result<void>> HostDevices<M>::lower(M device, bool plugged) {
    if (plugged) {
        if (auto unplugged = co_await disks_.unplug(function_of(device)); !unplugged) {
            co_return unplugged;
        }
    }
    if (auto ended = co_await disks_.unserve(device); !ended) {
        co_return ended;
    }
    Transaction transaction(context_.model);
    transaction.erase<M>(device.name());
    if (auto stored = transaction.commit(); !stored) {
        co_return stored;
    }
    context_.unserved.erase(device.name());
    co_await renew_competition(context_);
    co_return Result<void>();
}

template <typename M>
Task<Result<void>> HostDevices<M>::take_away(Object<M> device) {
    device.known.set_intent(state::INTENT_REMOVING);
    Transaction removing(context_.model);
    removing.put(device);
    if (auto stored = removing.commit(); !stored) {
        co_return stored;
    }
    Result<void> done = co_await disks_.unplug(function_of(device.resource));
    if (!done) {
        // The host did not let go: it stands as before, and can be deleted again.
        device.known.set_intent(state::INTENT_READY);
        Transaction back(context_.model);
        back.put(device);
        (void)back.commit();
    } else {
        done = co_await lower(device.resource, false);
    }
    if (!done) {
        context_.unfinished = true;
    }
    co_return done;
}

template <typename M>
Task<> HostDevices<M>::rebuild(Patience& patience) {
    // Also those on their way out: the host may have them until the reconciler has taken them away,
    // and a guest does not let go of a disk whose requests nobody answers.
    for (const auto& [name, object] : context_.model.table<M>()) {
        if (!is_host_function(object.resource)) {
            continue;
        }
        auto served = co_await disks_.serve(object);
        while (!served && co_await patience.again(served.error())) {
            served = co_await disks_.serve(object);
        }
        if (!served) {
            log::warn("not served yet", log::kv("name", spoken_name(object.resource)),
                      log::kv("reason", served.error().message));
            context_.unserved[name] = served.error().message;
        }
    }
}

template <typename M>
Task<bool> HostDevices<M>::serve_unserved() {
    std::vector<M> left;
    for (const auto& [name, object] : context_.model.table<M>()) {
        if (is_host_function(object.resource) && context_.unserved.contains(name)) {
            left.push_back(object.resource);
        }
    }
    bool all = true;
    for (const M& device : left) {
        const std::string& name = device.name();
        auto held = co_await context_.lock(locks_of(device));
        const auto* found = held ? context_.model.find<M>(name) : nullptr;
        if (found == nullptr || !context_.unserved.contains(name)) {
            all = all && held.has_value();
            continue;
        }
        const Object<M> object = *found;
        const auto served = co_await disks_.serve(object);
        if (served) {
            log::info("served at last", log::kv("name", spoken_name(device)));
            context_.unserved.erase(name);
        } else {
            context_.unserved[name] = served.error().message;
        }
        all = all && served.has_value();
    }
    co_return all;
}

template <typename M>
Task<bool> HostDevices<M>::finish_removals() {
    std::vector<M> left;
    for (const auto& [name, object] : context_.model.table<M>()) {
        if (is_host_function(object.resource) && object.known.intent() != state::INTENT_READY &&
            object.known.attachment().empty()) {
            left.push_back(object.resource);
        }
    }
    bool all = true;
    for (const M& device : left) {
        auto held = co_await context_.lock(locks_of(device));
        const auto* found = held ? context_.model.find<M>(device.name()) : nullptr;
        if (found == nullptr || found->known.intent() == state::INTENT_READY) {
            all = all && held.has_value();
            continue;
        }
        const M resource = found->resource;
        const auto lowered = co_await lower(resource, true);
        all = all && lowered.has_value();
    }
    co_return all;
}

template class HostDevices<opi::VirtioBlk>;
template class HostDevices<opi::NvmeController>;

}  // namespace remora::control
