// SPDX-License-Identifier: Apache-2.0
#include "control/qos_volumes.h"

#include "control/minima.h"
#include "control/opened.h"
#include "control/references.h"
#include "control/validate_qos.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using node::Rates;

namespace {

using Qos = opi::QosVolume;

const FieldRules kRules{{"limits"},
                        {},
                        "the limits are of the volume that it was made for; delete it and create "
                        "one for the other volume"};

std::string spoken_name(const std::string& name) {
    return "qosVolumes/" + std::string(last_segment(name));
}

Result<Rates> rates_of(const Qos& qos) {
    if (auto valid = check_rates("qos_volume.limits.min", qos.limits().min(),
                                 "qos_volume.limits.max", qos.limits().max());
        !valid) {
        return std::unexpected(valid.error());
    }
    auto rates = read_rates("qos_volume.limits.max", qos.limits().max());
    if (*rates == Rates{} && *read_rates("", qos.limits().min()) == Rates{}) {
        return fail(ErrorKind::InvalidArgument,
                    "qos_volume.limits.max: it limits nothing; set one of its rates, or of min");
    }
    return rates;
}

/// Two would each hide what the other says.
Result<void> check_unlimited(const Model& model, const VolumeTarget& target) {
    for (const auto& [name, object] : model.table<Qos>()) {
        if (object.known.volume() == target.volume) {
            return fail(ErrorKind::AlreadyExists, "the volume " + target.volume +
                                                      " has its limits from " + spoken_name(name) +
                                                      "; update that");
        }
    }
    return {};
}

}  // namespace

Task<Result<Qos>> QosVolumes::create(const opi::CreateQosVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("qos_volume_id", request.qos_volume_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    const auto rates = rates_of(request.qos_volume());
    if (!rates) {
        co_return std::unexpected(rates.error());
    }
    Object<Qos> made{request.qos_volume(), {}};
    made.resource.set_name("volumes/" + *id);
    const auto target = resolve_volume(context_, made.resource.volume_name_ref());
    if (!target) {
        co_return std::unexpected(target.error());
    }
    auto held = co_await context_.lock({lock_key<Qos>(made.resource.name()), target->lock});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Qos>(made.resource.name())) {
        if (existing->known.volume() == target->volume) {
            made.resource.set_volume_name_ref(existing->resource.volume_name_ref());
        }
        co_return answer_existing(existing->resource, made.resource);
    }
    const auto again = resolve_volume(context_, made.resource.volume_name_ref());
    if (!again || again->volume != target->volume) {
        co_return fail(ErrorKind::NotFound,
                       "the volume " + made.resource.volume_name_ref() + " was deleted meanwhile");
    }
    if (auto own = check_not_of_attachment(context_, *again); !own) {
        co_return std::unexpected(own.error());
    }
    if (auto free = check_unlimited(context_.model, *again); !free) {
        co_return std::unexpected(free.error());
    }
    made.known.set_volume(again->volume);
    if (auto stored = co_await keep(made, *rates); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return made.resource;
}

/// Stores it, if its minima can be kept, and puts it in force.
Task<Result<void>> QosVolumes::keep(Object<Qos> object, Rates rates) {
    if (auto kept = check_minima("qos_volume.limits.min", context_.model, {.qos = &object});
        !kept) {
        co_return kept;
    }
    Transaction transaction(context_.model);
    transaction.put(object);
    if (auto stored = transaction.commit(); !stored) {
        co_return stored;
    }
    co_await context_.node.set_volume_rates(object.known.volume(), rates);
    co_await renew_competition(context_);
    co_return Result<void>();
}

Task<Result<Empty>> QosVolumes::remove(const opi::DeleteQosVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Qos>(context_, request.name(), volume_lock<Qos>);
    if (!opened) {
        if (opened.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(opened.error());
    }
    const std::string name = opened->object.resource.name();
    if (const auto users = users_of_alias(context_.model, opened->object); !users.empty()) {
        co_return fail(ErrorKind::FailedPrecondition, spoken_name(name) + " is the name by which " +
                                                          join_names(users) +
                                                          " uses its volume; delete that first");
    }
    Transaction transaction(context_.model);
    transaction.erase<Qos>(name);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_await context_.node.set_volume_rates(opened->object.known.volume(), {});
    co_await renew_competition(context_);
    co_return Empty();
}

Task<Result<Qos>> QosVolumes::update(const opi::UpdateQosVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened =
        co_await open_object<Qos>(context_, request.qos_volume().name(), no_more_locks<Qos>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Object<Qos> updated = opened->object;
    Qos patch = request.qos_volume();
    const auto target = resolve_volume(context_, patch.volume_name_ref());
    if (target && target->volume == updated.known.volume()) {
        patch.set_volume_name_ref(updated.resource.volume_name_ref());  // another spelling
    }
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    const auto rates = rates_of(updated.resource);
    if (!rates) {
        co_return std::unexpected(rates.error());
    }
    if (auto stored = co_await keep(updated, *rates); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return updated.resource;
}

Task<Result<opi::ListQosVolumesResponse>> QosVolumes::list(
    const opi::ListQosVolumesRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    opi::ListQosVolumesResponse response;
    auto next = list_page<Qos>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Object<Qos>& object) { *response.add_qos_volumes() = object.resource; });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Qos>> QosVolumes::get(const opi::GetQosVolumeRequest& request) {
    co_return get_resource<Qos>(context_.model, request);
}

Task<Result<opi::StatsQosVolumeResponse>> QosVolumes::stats(
    const opi::StatsQosVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Qos>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const auto counted = co_await context_.node.volume_stats((*found)->known.volume());
    if (!counted) {
        co_return std::unexpected(counted.error());
    }
    opi::StatsQosVolumeResponse response;
    *response.mutable_stats() = to_opi_stats(*counted);
    co_return response;
}

Task<> QosVolumes::rebuild() {
    for (const auto& [name, object] : context_.model.table<Qos>()) {
        const auto rates = rates_of(object.resource);
        if (!rates) {
            log::error("limits not rebuilt", log::kv("name", spoken_name(name)),
                       log::kv("reason", rates.error().message));
            continue;
        }
        co_await context_.node.set_volume_rates(object.known.volume(), *rates);
    }
}

}  // namespace remora::control
