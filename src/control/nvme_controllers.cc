// SPDX-License-Identifier: Apache-2.0
// NVMe controllers of OPI's API: over TCP one is a listener of its subsystem, over PCIe a function
// of the local host.
#include <algorithm>

#include "control/child_calls.h"
#include "control/minima.h"
#include "control/references.h"
#include "control/subsystems.h"
#include "control/validate_nvme.h"
#include "control/validate_qos.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Endpoint;

namespace {

using Controller = opi::NvmeController;

/// The sizes a client states are kept and shown; a connection negotiates its own.
const FieldRules kRules{{"spec.max_nsq", "spec.max_ncq", "spec.sqes", "spec.cqes",
                         "spec.max_namespaces", "spec.max_limit", "spec.min_limit"},
                        {"status", "spec.nvme_controller_id"},
                        "hosts are connected there; delete the controller and create another"};

constexpr std::string_view kMinimum = "nvme_controller.spec.min_limit";

/// One listener of a subsystem an address: two would share it and go together.
Result<void> check_address_free(const Model& model,
                                const std::string& subsystem,
                                const Endpoint& endpoint) {
    for (const auto& [name, other] : model.table<Controller>()) {
        const auto taken = endpoint_of(other.resource);
        if (endpoint.port != 0 && name.starts_with(subsystem + "/") && taken &&
            *taken == endpoint) {
            return fail(ErrorKind::AlreadyExists, "spec.fabrics_id: " + subsystem + " listens on " +
                                                      endpoint.text() + " already, as " + name);
        }
    }
    return {};
}

/// Who comes over TCP and who by a function of the host know nothing of each other's reservations,
/// nor of what the others have marked: a subsystem is reached one way or the other.
Result<void> check_alike(const Model& model, const std::string& subsystem, bool is_function) {
    for (const std::string& name : children_of<Controller>(model, subsystem)) {
        if (is_host_function(model.find<Controller>(name)->resource) != is_function) {
            return fail(ErrorKind::FailedPrecondition,
                        "spec.trtype: " + subsystem + " has " + name + ", which is " +
                            (is_function ? "a listener" : "a function of the local host") +
                            "; a subsystem has either: make another one");
        }
    }
    for (const std::string& name : children_of<opi::NvmeNamespace>(model, subsystem)) {
        const state::Record& known = model.find<opi::NvmeNamespace>(name)->known;
        if (is_function && (known.has_reservation() || known.uncorrectable_size() > 0)) {
            return fail(ErrorKind::FailedPrecondition,
                        name +
                            " has a reservation or blocks marked uncorrectable of hosts over "
                            "TCP, which a function would not respect; let them undo that, or "
                            "make another namespace");
        }
    }
    return {};
}

}  // namespace

Task<Result<Controller>> Subsystems::create_controller(
    const opi::CreateNvmeControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("nvme_controller_id", request.nvme_controller_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate(request.nvme_controller(), context_.host.function_counts()); !valid) {
        co_return std::unexpected(valid.error());
    }
    const auto parent = parent_name<opi::NvmeSubsystem>(context_.model, request.parent());
    if (!parent) {
        co_return std::unexpected(parent.error());
    }
    Controller controller = request.nvme_controller();
    controller.set_name(*parent + "/nvmeControllers/" + *id);
    const bool is_function = is_host_function(controller);
    auto held = co_await context_.lock(
        is_function ? functions_.locks_of(controller)
                    : std::vector<std::string>{lock_key<opi::NvmeSubsystem>(*parent)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* subsystem = context_.model.find<opi::NvmeSubsystem>(*parent);
    if (subsystem == nullptr) {
        co_return fail(ErrorKind::NotFound, *parent + " was deleted meanwhile");
    }
    if (auto free = check_not_attached("subsystem", *parent, subsystem->known); !free) {
        co_return std::unexpected(free.error());
    }
    const auto endpoint = endpoint_of(controller);
    if (const auto* existing = context_.model.find<Controller>(controller.name())) {
        if (existing->known.intent() != state::INTENT_READY) {
            co_return fail(ErrorKind::FailedPrecondition,
                           controller.name() + " is being removed; try again");
        }
        if (!is_function && endpoint->port == 0) {
            // Any port will do: then the one that was picked is what was asked for.
            *controller.mutable_spec()->mutable_fabrics_id()->mutable_trsvcid() =
                existing->resource.spec().fabrics_id().trsvcid();
        }
        co_return answer_existing(existing->resource, controller,
                                  {"status", "spec.nvme_controller_id"});
    }
    if (auto alike = check_alike(context_.model, *parent, is_function); !alike) {
        co_return std::unexpected(alike.error());
    }
    if (is_function) {
        co_return co_await raise_function({std::move(controller), {}});
    }
    if (auto free = check_address_free(context_.model, *parent, *endpoint); !free) {
        co_return std::unexpected(free.error());
    }
    co_return co_await open_controller({std::move(controller), {}},
                                       subsystem->resource.spec().nqn(), *endpoint);
}

/// Its locks are held.
Task<Result<Controller>> Subsystems::raise_function(Object<Controller> made) {
    const core::HostFunction function = function_of(made.resource);
    if (auto free = check_free_function(context_.model, function); !free) {
        co_return std::unexpected(free.error());
    }
    if (auto kept = check_minima(kMinimum, context_.model, {.controller = &made}); !kept) {
        co_return std::unexpected(kept.error());
    }
    made.resource.mutable_spec()->set_nvme_controller_id(controller_id_of(function));
    made.resource.clear_status();
    made.resource.mutable_status()->set_active(true);
    made.known.set_queues(Disks::queues_for(made.resource));
    made.known.set_intent(state::INTENT_PENDING);
    Transaction transaction(context_.model);
    transaction.put(made);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return co_await functions_.raise(std::move(made));
}

/// Of a subsystem whose lock is held.
Task<Result<Controller>> Subsystems::open_controller(Object<Controller> made,
                                                     std::string nqn,
                                                     Endpoint endpoint) {
    if (auto kept = check_minima(kMinimum, context_.model, {.controller = &made}); !kept) {
        co_return std::unexpected(kept.error());
    }
    const auto listening =
        co_await context_.node.add_listener(nqn, endpoint, node::AnaState::Optimized);
    if (!listening) {
        co_return std::unexpected(listening.error());
    }
    // The port that was picked is the one to come back to after a restart.
    opi::NvmeControllerSpec& spec = *made.resource.mutable_spec();
    spec.mutable_fabrics_id()->set_trsvcid(std::to_string(listening->port));
    spec.set_nvme_controller_id(-1);
    made.resource.clear_status();
    made.resource.mutable_status()->set_active(true);
    // Again: another call may have been promised something meanwhile.
    auto stored = check_minima(kMinimum, context_.model, {.controller = &made});
    if (stored) {
        Transaction transaction(context_.model);
        transaction.put(made);
        stored = transaction.commit();
    }
    if (!stored) {
        (void)co_await context_.node.remove_listener(nqn, *listening);
        co_return std::unexpected(stored.error());
    }
    if (auto limited = co_await limit_controller(made); !limited) {
        co_return std::unexpected(limited.error());
    }
    co_return made.resource;
}

/// Puts in force what is stored of its rates.
Task<Result<void>> Subsystems::limit_controller(Object<Controller> controller) {
    co_await renew_competition(context_);
    const auto* parent =
        context_.model.find<opi::NvmeSubsystem>(parent_of(controller.resource.name()));
    const auto endpoint = endpoint_of(controller.resource);
    const auto rates = read_rates("spec.max_limit", controller.resource.spec().max_limit());
    if (rates && is_host_function(controller.resource)) {
        co_return co_await context_.node.set_vfio_nvme_rates(
            node_controller_name(controller.resource), *rates);
    }
    if (parent == nullptr || !endpoint || !rates) {
        co_return fail(ErrorKind::DataLoss, "its stored form is not usable");
    }
    co_return co_await context_.node.set_controller_rates(parent->resource.spec().nqn(), *endpoint,
                                                          *rates);
}

Task<Result<Empty>> Subsystems::delete_controller(const opi::DeleteNvmeControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    const auto parts = split_child("nvmeControllers", request.name());
    std::vector<std::string> keys{
        lock_key<opi::NvmeSubsystem>(parts ? parts->first : request.name())};
    const auto* first = context_.model.find<Controller>(request.name());
    if (first != nullptr && is_host_function(first->resource)) {
        keys = functions_.locks_of(first->resource);
    }
    auto held = co_await context_.lock(keys);
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        if (found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(found.error());
    }
    const Controller before = (*found)->resource;
    if (auto free = check_not_attached("controller", before.name(), (*found)->known); !free) {
        co_return std::unexpected(free.error());
    }
    if (is_host_function(before)) {
        if (functions_.locks_of(before) != keys) {
            co_return fail(ErrorKind::Aborted,
                           before.name() + " was made anew meanwhile; try again");
        }
        const Object<Controller> leaving = **found;
        auto done = co_await functions_.take_away(leaving);
        co_return done ? Result<Empty>(Empty()) : std::unexpected(done.error());
    }
    const node::AnaState ana = ana_state_of(**found);
    const auto* subsystem = context_.model.find<opi::NvmeSubsystem>(parent_of(before.name()));
    const auto endpoint = endpoint_of(before);
    const std::string nqn = subsystem == nullptr ? "" : subsystem->resource.spec().nqn();
    if (endpoint) {
        const auto removed = co_await context_.node.remove_listener(nqn, *endpoint);
        if (!removed && removed.error().kind != ErrorKind::NotFound) {
            co_return std::unexpected(removed.error());
        }
    }
    Transaction transaction(context_.model);
    transaction.erase<Controller>(before.name());
    if (auto stored = transaction.commit(); !stored) {
        if (endpoint) {
            (void)co_await context_.node.add_listener(nqn, *endpoint, ana);
            (void)co_await limit_controller(Object<Controller>{before, {}});
        }
        co_return std::unexpected(stored.error());
    }
    context_.unserved.erase(before.name());
    co_await renew_competition(context_);
    co_return Empty();
}

Task<Result<Controller>> Subsystems::update_controller(
    const opi::UpdateNvmeControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto first = lookup<Controller>(context_.model, request.nvme_controller().name());
    if (!first) {
        co_return std::unexpected(first.error());
    }
    const std::string name = (*first)->resource.name();
    auto held = co_await context_.lock({lock_key<opi::NvmeSubsystem>(parent_of(name))});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context_.model.find<Controller>(name);
    if (found == nullptr || found->known.intent() != state::INTENT_READY) {
        co_return fail(ErrorKind::NotFound, name + " was deleted meanwhile");
    }
    Object<Controller> updated = *found;
    if (auto applied = apply_update(updated.resource, request.nvme_controller(),
                                    request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto valid = validate(updated.resource, platform::FunctionCounts::most()); !valid) {
        co_return std::unexpected(valid.error());
    }
    if (auto kept = check_minima(kMinimum, context_.model, {.controller = &updated}); !kept) {
        co_return std::unexpected(kept.error());
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    auto limited = co_await limit_controller(updated);
    if (!limited && limited.error().kind != ErrorKind::NotFound) {  // not served now: later so
        co_return std::unexpected(limited.error());
    }
    co_return updated.resource;
}

Task<Result<opi::ListNvmeControllersResponse>> Subsystems::list_controllers(
    const opi::ListNvmeControllersRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto prefix = list_prefix<opi::NvmeSubsystem>(context_.model, request.parent());
    if (!prefix) {
        co_return std::unexpected(prefix.error());
    }
    opi::ListNvmeControllersResponse response;
    auto next = list_page<Controller>(context_.model, request.page_size(), request.page_token(),
                                      *prefix, [&](const Object<Controller>& object) {
                                          *response.add_nvme_controllers() = object.resource;
                                      });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Controller>> Subsystems::get_controller(const opi::GetNvmeControllerRequest& request) {
    co_return get_resource<Controller>(context_.model, request);
}

Task<Result<opi::StatsNvmeControllerResponse>> Subsystems::stats_controller(
    const opi::StatsNvmeControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const Controller controller = (*found)->resource;
    opi::StatsNvmeControllerResponse response;
    if (is_host_function(controller)) {
        const auto own = co_await context_.node.vfio_nvme_stats(node_controller_name(controller));
        if (!own) {
            co_return std::unexpected(own.error());
        }
        *response.mutable_stats() = to_opi_stats(*own);
        co_return response;
    }
    auto sum = co_await sum_of_namespaces(parent_of(controller.name()));
    if (!sum) {
        co_return std::unexpected(sum.error());
    }
    *response.mutable_stats() = *sum;
    co_return response;
}

}  // namespace remora::control
