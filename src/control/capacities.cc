// SPDX-License-Identifier: Apache-2.0
#include "control/capacities.h"

#include "control/child_calls.h"
#include "control/host_functions.h"
#include "control/minima.h"
#include "control/opened.h"
#include "control/references.h"
#include "control/validate_nvme.h"
#include "control/validate_qos.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Resource = api::Capacity;
using Remote = opi::NvmeRemoteController;

const std::vector<std::string_view> kOutputOnly{"promised_percent"};
const FieldRules kRules{{"kiops", "mbs"},
                        kOutputOnly,
                        "it is of the back end that it was made for; delete it and create one for "
                        "the other"};

/// The back end by its name as it is stored.
Result<void> resolve_back_end(const Model& model, Resource& capacity) {
    if (capacity.remote_controller().empty()) {
        return {};
    }
    const auto remote =
        lookup<Remote>(model, capacity.remote_controller(), "capacity.remote_controller");
    if (!remote) {
        return std::unexpected(remote.error());
    }
    capacity.set_remote_controller((*remote)->resource.name());
    return {};
}

Result<void> check_free(const Model& model, const Resource& capacity) {
    for (const auto& [name, other] : model.table<Resource>()) {
        if (pool_of(other.resource) == pool_of(capacity)) {
            return fail(ErrorKind::AlreadyExists,
                        "what that back end can do is said by " + name + "; update that");
        }
    }
    return {};
}

}  // namespace

Resource Capacities::shown(Resource capacity) const {
    const double part = promised_of(competition_of(context_.model), pool_of(capacity));
    capacity.set_promised_percent(part * 100);
    return capacity;
}

Task<Result<Resource>> Capacities::create(const api::CreateCapacityRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("capacity_id", request.capacity_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    Object<Resource> made{request.capacity(), {}};
    made.resource.set_name("capacities/" + *id);
    made.resource.clear_promised_percent();
    if (auto valid = check_capacity(made.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    auto held = co_await context_.lock({lock_key<Resource>(made.resource.name())});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (auto resolved = resolve_back_end(context_.model, made.resource); !resolved) {
        co_return std::unexpected(resolved.error());
    }
    if (const auto* existing = context_.model.find<Resource>(made.resource.name())) {
        auto same = answer_existing(existing->resource, made.resource, kOutputOnly);
        co_return same ? Result<Resource>(shown(*same)) : same;
    }
    if (auto free = check_free(context_.model, made.resource); !free) {
        co_return std::unexpected(free.error());
    }
    Transaction transaction(context_.model);
    transaction.put(made);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_await renew_competition(context_);
    co_return shown(made.resource);
}

Task<Result<Empty>> Capacities::remove(const api::DeleteCapacityRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.name(), no_more_locks<Resource>);
    if (!opened) {
        if (opened.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(opened.error());
    }
    const std::string name = opened->object.resource.name();
    if (auto kept = check_minima(name, context_.model, {.gone = name}); !kept) {
        co_return fail(ErrorKind::FailedPrecondition,
                       name + ": minimum rates stand on it; take them away first");
    }
    Transaction transaction(context_.model);
    transaction.erase<Resource>(name);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_await renew_competition(context_);
    co_return Empty();
}

Task<Result<Resource>> Capacities::update(const api::UpdateCapacityRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.capacity().name(),
                                                 no_more_locks<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Object<Resource> updated = opened->object;
    Resource patch = request.capacity();
    if (auto resolved = resolve_back_end(context_.model, patch); !resolved) {
        co_return std::unexpected(resolved.error());
    }
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto valid = check_capacity(updated.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    if (auto kept = check_minima("capacity", context_.model, {.capacity = &updated}); !kept) {
        co_return std::unexpected(kept.error());
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_await renew_competition(context_);
    co_return shown(updated.resource);
}

Task<Result<api::ListCapacitiesResponse>> Capacities::list(
    const api::ListCapacitiesRequest& request) {
    api::ListCapacitiesResponse response;
    auto next = list_page<Resource>(context_.model, request.page_size(), request.page_token(), "",
                                    [&](const Object<Resource>& object) {
                                        *response.add_capacities() = shown(object.resource);
                                    });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Resource>> Capacities::get(const api::GetCapacityRequest& request) {
    const auto found = get_resource<Resource>(context_.model, request);
    co_return found ? Result<Resource>(shown(*found)) : found;
}

Task<Result<std::uint64_t>> Capacities::throttled_ns(std::string name) {
    if (const auto* controller = context_.model.find<opi::NvmeController>(name)) {
        if (is_host_function(controller->resource)) {
            const auto stats =
                co_await context_.node.vfio_nvme_stats(node_controller_name(controller->resource));
            co_return stats ? Result<std::uint64_t>(stats->throttled_ns)
                            : std::unexpected(stats.error());
        }
        const auto* subsystem = context_.model.find<opi::NvmeSubsystem>(parent_of(name));
        const auto endpoint = endpoint_of(controller->resource);
        if (subsystem == nullptr || !endpoint) {
            co_return fail(ErrorKind::DataLoss, "its stored form is not usable");
        }
        co_return co_await context_.node.controller_throttled_ns(subsystem->resource.spec().nqn(),
                                                                 *endpoint);
    }
    constexpr Collection kDisks = KindTraits<opi::VirtioBlk>::kCollection;
    if (name.starts_with(std::string(kDisks.alias) + "/")) {
        const auto disk = lookup<opi::VirtioBlk>(context_.model, name);
        if (!disk) {
            co_return std::unexpected(disk.error());
        }
        const auto stats = co_await context_.node.vhost_blk_stats(std::string(last_segment(name)));
        co_return stats ? Result<std::uint64_t>(stats->throttled_ns)
                        : std::unexpected(stats.error());
    }
    const auto target = resolve_volume(context_, name);
    if (!target) {
        co_return std::unexpected(target.error());
    }
    const auto stats = co_await context_.node.volume_stats(target->volume);
    co_return stats ? Result<std::uint64_t>(stats->throttled_ns) : std::unexpected(stats.error());
}

Task<Result<api::Throttling>> Capacities::throttling(const api::GetThrottlingRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    const auto sum = co_await throttled_ns(request.name());
    if (!sum) {
        co_return std::unexpected(sum.error());
    }
    api::Throttling out;
    out.set_name(request.name());
    out.set_throttled_ns(*sum);
    co_return out;
}

Task<> Capacities::rebuild() {
    return renew_competition(context_);
}

}  // namespace remora::control
