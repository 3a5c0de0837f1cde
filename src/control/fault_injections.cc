// SPDX-License-Identifier: Apache-2.0
#include "control/fault_injections.h"

#include <utility>
#include <vector>

#include "control/layers.h"
#include "control/validate_fault.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Resource = api::FaultInjection;

const std::vector<std::string_view> kOutputOnly{"failed_requests", "delayed_requests"};
const FieldRules kRules{{"errors", "delays", "seed"},
                        kOutputOnly,
                        "it is of the volume that it was made for; delete it and create one for "
                        "the other volume"};

Resource without_counts(Resource resource) {
    resource.clear_failed_requests();
    resource.clear_delayed_requests();
    return resource;
}

/// Two would each hide what the other does.
Result<void> check_undisturbed(const Model& model, const std::string& volume) {
    const auto others = faults_of_volume(model, volume);
    if (others.empty()) {
        return {};
    }
    return fail(ErrorKind::AlreadyExists, "the volume " + volume + " has its faults from " +
                                              others.front() + "; update that");
}

}  // namespace

Task<Resource> FaultInjections::shown(Fault object) {
    const auto counts = co_await context_.node.volume_fault_counts(object.known.volume());
    if (counts) {
        object.resource.set_failed_requests(counts->errors);
        object.resource.set_delayed_requests(counts->delayed);
    }
    co_return object.resource;
}

Task<Result<Resource>> FaultInjections::create(const api::CreateFaultInjectionRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("fault_injection_id", request.fault_injection_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    auto faults = read_faults(request.fault_injection());
    if (!faults) {
        co_return std::unexpected(faults.error());
    }
    Fault made{without_counts(request.fault_injection()), {}};
    made.resource.set_name("faultInjections/" + *id);
    const auto target = resolve_volume(context_, made.resource.volume_name_ref());
    if (!target) {
        co_return std::unexpected(target.error());
    }
    auto held = co_await context_.lock({lock_key<Resource>(made.resource.name()), target->lock});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Resource>(made.resource.name())) {
        if (existing->known.volume() == target->volume) {
            made.resource.set_volume_name_ref(existing->resource.volume_name_ref());
        }
        co_return answer_existing(existing->resource, made.resource, kOutputOnly);
    }
    const auto again = resolve_volume(context_, made.resource.volume_name_ref());
    if (!again || again->volume != target->volume) {
        co_return fail(ErrorKind::NotFound,
                       "the volume " + made.resource.volume_name_ref() + " was deleted meanwhile");
    }
    if (auto own = check_not_of_attachment(context_, *again); !own) {
        co_return std::unexpected(own.error());
    }
    if (auto free = check_undisturbed(context_.model, again->volume); !free) {
        co_return std::unexpected(free.error());
    }
    if (auto depth = check_depth(context_.model, again->volume, kStagesOfFaults); !depth) {
        co_return std::unexpected(depth.error());
    }
    made.known.set_volume(again->volume);
    Transaction transaction(context_.model);
    transaction.put(made);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    if (auto set = co_await context_.node.set_volume_faults(again->volume, std::move(*faults));
        !set) {
        co_return std::unexpected(set.error());
    }
    co_return made.resource;
}

Task<Result<Empty>> FaultInjections::remove(const api::DeleteFaultInjectionRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.name(), volume_lock<Resource>);
    if (!opened) {
        if (opened.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(opened.error());
    }
    Transaction transaction(context_.model);
    transaction.erase<Resource>(opened->object.resource.name());
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    if (auto set = co_await context_.node.set_volume_faults(opened->object.known.volume(), {});
        !set) {
        co_return std::unexpected(set.error());
    }
    co_return Empty();
}

Task<Result<Resource>> FaultInjections::update(const api::UpdateFaultInjectionRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.fault_injection().name(),
                                                 volume_lock<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Fault updated = opened->object;
    Resource patch = request.fault_injection();
    const auto target = resolve_volume(context_, patch.volume_name_ref());
    if (target && target->volume == updated.known.volume()) {
        patch.set_volume_name_ref(updated.resource.volume_name_ref());  // another spelling
    }
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    auto faults = read_faults(updated.resource);
    if (!faults) {
        co_return std::unexpected(faults.error());
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    if (auto set =
            co_await context_.node.set_volume_faults(updated.known.volume(), std::move(*faults));
        !set) {
        co_return std::unexpected(set.error());
    }
    co_return updated.resource;
}

Task<Result<api::ListFaultInjectionsResponse>> FaultInjections::list(
    const api::ListFaultInjectionsRequest& request) {
    std::vector<Fault> page;
    auto next = list_page<Resource>(context_.model, request.page_size(), request.page_token(), "",
                                    [&page](const Fault& object) { page.push_back(object); });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    api::ListFaultInjectionsResponse response;
    for (const Fault& object : page) {
        *response.add_fault_injections() = co_await shown(object);
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Resource>> FaultInjections::get(const api::GetFaultInjectionRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return co_await shown(**found);
}

Task<> FaultInjections::rebuild() {
    for (const auto& [name, object] : context_.model.table<Resource>()) {
        auto faults = read_faults(object.resource);
        Result<void> set;
        if (faults) {
            set = co_await context_.node.set_volume_faults(object.known.volume(), *faults);
        } else {
            set = std::unexpected(faults.error());
        }
        if (!set) {
            log::error("fault injection not rebuilt", log::kv("name", name),
                       log::kv("reason", set.error().message));
        }
    }
}

}  // namespace remora::control
