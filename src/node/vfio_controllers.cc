// SPDX-License-Identifier: Apache-2.0
#include "node/vfio_controllers.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "reactor/call.h"

namespace remora::node {

using core::ErrorKind;
using core::fail;
using frontends::vfio_user_nvme::ControllerSpec;
using services::qos::QosStage;

namespace {

constexpr std::uint32_t kMaxNamespaces = 1024;

std::string user_text(const std::string& name) {
    return "NVMe controller '" + name + "'";
}

ControllerSpec controller_spec(const VfioNvmeSpec& from) {
    ControllerSpec spec;
    spec.name = from.name;
    spec.socket_path = from.socket_path;
    spec.io_queues = static_cast<std::uint16_t>(from.io_queues);
    spec.map_doorbells = from.map_doorbells;
    spec.msix = from.msix;
    spec.cntlid = from.cntlid;
    spec.identity.nqn = from.nqn;
    spec.identity.serial = from.serial;
    spec.identity.model = from.model.empty() ? "Remora" : from.model;
    spec.identity.one_controller = from.one_controller;
    spec.identity.max_namespaces = from.max_namespaces == 0 ? kMaxNamespaces : from.max_namespaces;
    return spec;
}

}  // namespace

Result<VfioControllers::Entry*> VfioControllers::find(const std::string& name) {
    const auto at = controllers_.find(name);
    if (at == controllers_.end()) {
        return fail(ErrorKind::NotFound, "there is no NVMe controller '" + name + "'");
    }
    if (at->second->busy) {
        return fail(ErrorKind::Aborted, user_text(name) + " is being changed; try again");
    }
    return at->second.get();
}

// A question may be asked of a controller that is removed next: both go to its reactor by one
// mailbox, which keeps their order.
template <typename F>
auto VfioControllers::ask(Entry& entry, F read) {
    return reactor::call_on(contexts_[entry.place].reactor,
                            [&entry, read] { return read(*entry.controller); });
}

Task<Result<void>> VfioControllers::create(VfioNvmeSpec spec,
                                           std::vector<NamespaceSpec> namespaces) {
    if (controllers_.contains(spec.name)) {
        co_return fail(ErrorKind::AlreadyExists,
                       "an NVMe controller named '" + spec.name + "' exists already");
    }
    if (spec.io_queues == 0 || spec.io_queues > frontends::vfio_user_nvme::kMaxIoQueues) {
        co_return fail(ErrorKind::InvalidArgument,
                       "io_queues is " + std::to_string(spec.io_queues) + ", not between 1 and 64");
    }
    if (spec.max_namespaces > kMaxNamespaces) {
        co_return fail(
            ErrorKind::InvalidArgument,
            "max_namespaces is " + std::to_string(spec.max_namespaces) + ", more than 1024");
    }
    const ControllerSpec options = controller_spec(spec);
    auto made = std::make_unique<Entry>();
    made->nqn = spec.nqn;
    made->cntlid = spec.cntlid;
    made->place =
        static_cast<std::size_t>(std::min_element(load_.begin(), load_.end()) - load_.begin());
    made->limits = std::make_shared<QosStage>(QosStage::Place::Above);
    made->limits->set_rates(spec.rates);
    competitors_.enter_controller(spec.nqn, way_of_function(spec.name), *made->limits);
    ++load_[made->place];
    Entry& entry = *controllers_.emplace(spec.name, std::move(made)).first->second;
    block::ReactorContext& context = contexts_[entry.place];
    auto controller = co_await reactor::call_on(
        context.reactor, [&] { return Controller::create(options, context); });
    if (!controller) {
        --load_[entry.place];
        controllers_.erase(spec.name);
        co_return std::unexpected(controller.error());
    }
    entry.controller = std::move(*controller);
    entry.busy = false;
    for (NamespaceSpec& shown : namespaces) {
        if (auto added = co_await show(spec.name, std::move(shown)); !added) {
            // No client has found it yet, or one has and sees it go again.
            (void)co_await remove(spec.name);
            co_return added;
        }
    }
    co_await tell_controllers(spec.nqn);
    co_await go_on(spec.name);
    co_return Result<void>{};
}

Task<> VfioControllers::tell_controllers(std::string nqn) {
    for (const std::string& name : names_of(nqn)) {
        const auto at = controllers_.find(name);
        // One that is not made yet tells everybody when it is.
        if (at == controllers_.end() || at->second->leaving || at->second->controller == nullptr) {
            continue;
        }
        std::vector<std::uint16_t> cntlids;
        for (const std::string& sibling : names_of(nqn)) {
            const Entry& entry = *controllers_.at(sibling);
            if (entry.leaving || entry.controller != nullptr) {
                cntlids.push_back(entry.cntlid);
            }
        }
        co_await ask(*at->second, [&cntlids](Controller& controller) {
            controller.set_subsystem_controllers(std::move(cntlids));
            return true;
        });
    }
}

Task<Result<void>> VfioControllers::show(std::string name, NamespaceSpec spec) {
    const auto found = find(name);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Entry& entry = **found;
    const auto device = volumes_.use(spec.volume, user_text(name));
    if (!device) {
        co_return std::unexpected(device.error());
    }
    nvme::Namespace from;
    from.nsid = spec.nsid;
    from.uuid = spec.uuid.is_nil() ? (*device)->uuid() : spec.uuid;
    from.nguid = spec.nguid;
    from.eui64 = spec.eui64;
    auto limited = std::make_unique<services::qos::QosDevice>(**device, entry.limits);
    entry.busy = true;
    const auto added =
        co_await ask(entry, [&](Controller& at) { return at.add_namespace(from, *limited); });
    entry.busy = false;
    if (!added) {
        volumes_.release(spec.volume, user_text(name));
        co_return std::unexpected(added.error());
    }
    entry.namespaces.emplace(spec.nsid, Shown{spec.volume, std::move(limited)});
    co_return Result<void>{};
}

Task<Result<void>> VfioControllers::hide(std::string name, std::uint32_t nsid) {
    const auto found = find(name);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Entry& entry = **found;
    entry.busy = true;
    const auto removed =
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
        co_await reactor::call_on(contexts_[entry.place].reactor, [&]() -> Task<Result<void>> {
            auto result = co_await entry.controller->remove_namespace(nsid, drain_limit_);
            co_return result;
        });
    entry.busy = false;
    if (removed) {
        volumes_.release(entry.namespaces.at(nsid).volume, user_text(name));
        entry.namespaces.erase(nsid);
    }
    co_return removed;
}

std::vector<std::string> VfioControllers::names_of(const std::string& nqn) const {
    std::vector<std::string> names;
    for (const auto& [name, entry] : controllers_) {
        if (entry->nqn == nqn) {
            names.push_back(name);
        }
    }
    return names;
}

Task<Result<void>> VfioControllers::add_namespace(NamespaceSpec spec) {
    std::vector<std::string> shown_by;
    for (const std::string& name : names_of(spec.nqn)) {
        if (auto shown = co_await show(name, spec); !shown) {
            for (const std::string& other : shown_by) {
                (void)co_await hide(other, spec.nsid);
            }
            co_return shown;
        }
        shown_by.push_back(name);
    }
    for (const std::string& name : shown_by) {
        co_await go_on(name);
    }
    co_return Result<void>{};
}

/// Without one of its namespaces, which may be built late, the host's I/O would fail instead of
/// waiting.
Task<> VfioControllers::go_on(std::string name) {
    const auto frozen = frozen_.find(name);
    const auto found = find(name);
    if (frozen == frozen_.end() || !found) {
        co_return;
    }
    const Entry& entry = **found;
    const bool whole = std::ranges::all_of(
        frozen->second.function.namespaces,
        [&entry](std::uint32_t nsid) { return entry.namespaces.contains(nsid); });
    if (whole || reactor::Reactor::current().now() >= frozen_until_) {
        co_await restore(std::move(name));
    }
}

Task<> VfioControllers::restore(std::string name) {
    const auto frozen = frozen_.find(name);
    Entry& entry = *controllers_.at(name);
    const Frozen state = std::move(frozen->second);
    frozen_.erase(frozen);
    entry.busy = true;
    const auto outcome = co_await ask(entry, [&](Controller& at) { return at.restore(state); });
    entry.busy = false;
    if (outcome) {
        log::info("goes on with its client", log::kv("nvme_controller", name));
    } else {
        log::warn("lost its client", log::kv("nvme_controller", name),
                  log::kv("reason", outcome.error().message));
    }
}

Task<std::vector<FrozenFunction>> VfioControllers::freeze(core::Nanos deadline) {
    std::vector<FrozenFunction> all;
    // All stop taking commands at once: one that takes its time does not use up that of the others.
    for (const auto& [name, entry] : controllers_) {
        if (!entry->busy && !entry->leaving) {
            entry->limits->set_rates({});
            entry->limits->set_share(nullptr, {});
            co_await ask(*entry, [](Controller& at) {
                at.begin_freeze();
                return true;
            });
        }
    }
    for (const auto& [name, entry] : controllers_) {
        if (entry->busy || entry->leaving) {
            continue;
        }
        auto frozen = co_await freeze_one(*entry, deadline);
        if (frozen) {
            all.push_back({name, std::move(*frozen)});
        } else if (frozen.error().kind != ErrorKind::FailedPrecondition) {
            log::warn("cannot be handed over", log::kv("nvme_controller", name),
                      log::kv("reason", frozen.error().message));
        }
    }
    co_return all;
}

Task<Result<VfioControllers::Frozen>> VfioControllers::freeze_one(Entry& entry,
                                                                  core::Nanos deadline) {
    entry.busy = true;
    const core::Nanos left = std::max(deadline - reactor::Reactor::current().now(), core::Nanos{0});
    auto frozen =
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
        co_await reactor::call_on(contexts_[entry.place].reactor, [&]() -> Task<Result<Frozen>> {
            entry.limits->show_rates();  // what they held back ends now instead of in its time
            auto result = co_await entry.controller->freeze(left);
            co_return result;
        });
    co_return frozen;
}

Task<Result<void>> VfioControllers::remove_namespace(std::string nqn, std::uint32_t nsid) {
    for (const std::string& name : names_of(nqn)) {
        auto hidden = co_await hide(name, nsid);
        if (!hidden && hidden.error().kind != ErrorKind::NotFound) {
            co_return hidden;
        }
    }
    co_return Result<void>{};
}

Task<Result<void>> VfioControllers::remove(std::string name) {
    if (frozen_.contains(name) && find(name)) {
        co_await restore(name);  // so that its client hears of the end
    }
    co_return co_await drain(std::move(name), drain_limit_);
}

Task<Result<void>> VfioControllers::drain(std::string name, core::Nanos limit) {
    const auto found = find(name);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Entry& entry = **found;
    entry.busy = true;
    entry.leaving = true;
    // What its own limits hold back ends now instead of in its time.
    entry.limits->set_rates({});
    entry.limits->set_share(nullptr, {});
    const auto stopped =
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
        co_await reactor::call_on(contexts_[entry.place].reactor, [&]() -> Task<Result<void>> {
            entry.limits->show_rates();
            auto result = co_await entry.controller->stop(limit);
            if (result) {
                entry.controller.reset();
            }
            co_return result;
        });
    if (!stopped) {
        entry.busy = false;
        co_return stopped;
    }
    --load_[entry.place];
    for (const auto& [nsid, shown] : entry.namespaces) {
        volumes_.release(shown.volume, user_text(name));
    }
    const std::string nqn = entry.nqn;
    controllers_.erase(name);
    co_await tell_controllers(nqn);
    co_return Result<void>{};
}

Task<Result<VfioNvmeStatus>> VfioControllers::status(std::string name) {
    if (frozen_.contains(name)) {
        co_await go_on(name);
    }
    const auto entry = find(name);
    if (!entry) {
        co_return std::unexpected(entry.error());
    }
    if ((*entry)->leaving) {
        co_return fail(ErrorKind::FailedPrecondition,
                       user_text(name) + " is being removed; its requests have not ended");
    }
    const auto from = co_await ask(**entry, [](Controller& at) { return at.status(); });
    // One that waits for its namespaces has its client.
    co_return VfioNvmeStatus{from.connected || frozen_.contains(name), from.ready,
                             from.active_queues};
}

Task<Result<block::DeviceStats>> VfioControllers::stats(std::string name) {
    const auto entry = find(name);
    if (!entry) {
        co_return std::unexpected(entry.error());
    }
    const QosStage& limits = *(*entry)->limits;
    const auto stats = co_await ask(**entry, [&limits](Controller& at) {
        block::DeviceStats counted = at.stats();
        counted.throttled_ns += limits.throttled_ns_here();
        return counted;
    });
    co_return stats;
}

Task<Result<void>> VfioControllers::set_rates(std::string name, Rates rates) {
    const auto entry = find(name);
    if (!entry) {
        co_return std::unexpected(entry.error());
    }
    QosStage& limits = *(*entry)->limits;
    limits.set_rates(rates);
    co_await reactor::call_on(contexts_[(*entry)->place].reactor,
                              [&limits] { limits.show_rates(); });
    co_return Result<void>{};
}

std::string VfioControllers::one_of(const std::string& nqn) const {
    const std::vector<std::string> names = names_of(nqn);
    return names.empty() ? std::string() : names.front();
}

std::vector<ControllerCompetitor> VfioControllers::competitors() const {
    std::vector<ControllerCompetitor> all;
    for (const auto& [name, entry] : controllers_) {
        if (!entry->leaving) {
            all.push_back({entry->nqn, way_of_function(name), entry->limits});
        }
    }
    return all;
}

Task<bool> VfioControllers::stop(core::Nanos limit) {
    const core::Nanos deadline = reactor::Reactor::current().now() + limit;
    while (!controllers_.empty()) {
        const std::string name = controllers_.begin()->first;
        const core::Nanos left =
            std::max(deadline - reactor::Reactor::current().now(), core::Nanos{0});
        const auto removed = co_await drain(name, left);
        if (!removed) {
            log::info("stopping with requests in flight", log::kv("nvme_controller", name),
                      log::kv("reason", removed.error().message));
            co_return false;
        }
    }
    co_return true;
}

}  // namespace remora::node
