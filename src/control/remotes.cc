// SPDX-License-Identifier: Apache-2.0
// Remote controllers, and what is common with their paths and namespaces (own files).
#include "control/remotes.h"

#include <algorithm>

#include "control/child_calls.h"
#include "control/connection_timings.h"
#include "control/path_policy.h"
#include "control/references.h"
#include "control/validate_nvme.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Controller = opi::NvmeRemoteController;

const FieldRules kRules{{"multipath", "io_queues_count", "queue_size", "tcp"},
                        {},
                        "it is what volumes are named after"};

}  // namespace

node::RemotePathSpec path_spec(const Object<opi::NvmePath>& path) {
    node::RemotePathSpec spec;
    spec.id = std::string(last_segment(path.resource.name()));
    spec.endpoint = endpoint_of(path.resource).value_or(reactor::Endpoint{});
    for (const state::KnownNamespace& known : path.known.known_namespaces()) {
        const auto uuid = core::Uuid::parse(known.uuid());
        spec.known.push_back({known.nsid(), uuid.value_or(core::Uuid{}), known.block_size(),
                              known.block_count(), known.number()});
    }
    return spec;
}

node::RemoteSpec remote_spec(const Object<Controller>& object,
                             const std::vector<const Object<opi::NvmePath>*>& paths) {
    const Controller& controller = object.resource;
    node::RemoteSpec spec;
    spec.name = std::string(last_segment(controller.name()));
    spec.policy = policy_of(object);
    spec.timings = timings_of(object.known.timings());
    for (const Object<opi::NvmePath>* path : paths) {
        spec.paths.push_back(path_spec(*path));
        spec.subnqn = path->resource.fabrics().subnqn();
        spec.hostnqn = path->resource.fabrics().hostnqn();
    }
    spec.io_queues = static_cast<std::uint32_t>(controller.io_queues_count());
    if (controller.queue_size() != 0) {
        spec.queue_size = static_cast<std::uint32_t>(controller.queue_size());
    }
    spec.header_digest = controller.tcp().hdgst();
    spec.data_digest = controller.tcp().ddgst();
    return spec;
}

bool keep_known_namespaces(const node::RemoteStatus& status, Object<opi::NvmePath>& path) {
    const auto found = std::ranges::find(status.paths, last_segment(path.resource.name()),
                                         &node::RemotePathStatus::id);
    if (found == status.paths.end() || found->namespaces.empty()) {
        return false;
    }
    path.known.clear_known_namespaces();
    for (const node::PathNamespace& space : found->namespaces) {
        state::KnownNamespace& known = *path.known.add_known_namespaces();
        known.set_nsid(space.identity.nsid);
        known.set_uuid(space.identity.uuid.text());
        known.set_block_size(space.identity.block_size);
        known.set_block_count(space.identity.block_count);
        known.set_number(space.identity.number);
    }
    return true;
}

std::vector<const Object<opi::NvmePath>*> paths_of(const Model& model,
                                                   const std::string& controller) {
    std::vector<const Object<opi::NvmePath>*> paths;
    for (const std::string& name : children_of<opi::NvmePath>(model, controller)) {
        paths.push_back(&model.table<opi::NvmePath>().find(name)->second);
    }
    return paths;
}

void keep_remote_namespaces(const Context& context,
                            const std::string& remote_controller,
                            Transaction& transaction) {
    if (remote_controller.empty()) {
        return;
    }
    const auto status = context.node.remote_status(std::string(last_segment(remote_controller)));
    for (const auto* path : paths_of(context.model, remote_controller)) {
        Object<opi::NvmePath> updated = *path;
        if (status && keep_known_namespaces(*status, updated)) {
            transaction.put(updated);
        }
    }
}

Task<Result<Controller>> Remotes::create_controller(
    const opi::CreateNvmeRemoteControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id =
        choose_id("nvme_remote_controller_id", request.nvme_remote_controller_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate(request.nvme_remote_controller()); !valid) {
        co_return std::unexpected(valid.error());
    }
    Controller controller = request.nvme_remote_controller();
    controller.set_name("nvmeRemoteControllers/" + *id);
    auto held = co_await context_.lock({lock_key<Controller>(controller.name())});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Controller>(controller.name())) {
        co_return answer_existing(existing->resource, controller);
    }
    Transaction transaction(context_.model);
    transaction.put(Object<Controller>{controller, {}});
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return controller;
}

Task<Result<Empty>> Remotes::delete_controller(
    const opi::DeleteNvmeRemoteControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const std::string name = canonical_name(KindTraits<Controller>::kCollection, request.name());
    auto held = co_await context_.lock({lock_key<Controller>(name)});
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
    if (auto free = check_not_attached("remote controller", name, (*found)->known); !free) {
        co_return std::unexpected(free.error());
    }
    const auto paths = children_of<opi::NvmePath>(context_.model, name);
    if (!paths.empty()) {
        co_return fail(ErrorKind::FailedPrecondition, "the remote controller " + name +
                                                          " still has " + join_names(paths) +
                                                          "; delete that first");
    }
    Transaction transaction(context_.model);
    transaction.erase<Controller>(name);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return Empty();
}

Task<Result<Controller>> Remotes::update_controller(
    const opi::UpdateNvmeRemoteControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const Controller& patch = request.nvme_remote_controller();
    const std::string name = canonical_name(KindTraits<Controller>::kCollection, patch.name());
    auto held = co_await context_.lock({lock_key<Controller>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Controller>(context_.model, patch.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Object<Controller> updated = **found;
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto valid = validate(updated.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    const bool changed =
        updated.resource.SerializeAsString() != (*found)->resource.SerializeAsString();
    if (!changed) {
        co_return updated.resource;
    }
    const auto paths = children_of<opi::NvmePath>(context_.model, name);
    if (!paths.empty()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the remote controller " + name + " is connected through " +
                           join_names(paths) + "; it can be changed while it has no path");
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return updated.resource;
}

Task<Result<opi::ListNvmeRemoteControllersResponse>> Remotes::list_controllers(
    const opi::ListNvmeRemoteControllersRequest& request) {
    opi::ListNvmeRemoteControllersResponse response;
    auto next = list_page<Controller>(context_.model, request.page_size(), request.page_token(), "",
                                      [&](const Object<Controller>& object) {
                                          *response.add_nvme_remote_controllers() = object.resource;
                                      });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Controller>> Remotes::get_controller(
    const opi::GetNvmeRemoteControllerRequest& request) {
    co_return get_resource<Controller>(context_.model, request);
}

Task<Result<Empty>> Remotes::reset_controller(
    const opi::ResetNvmeRemoteControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const std::string name = (*found)->resource.name();
    auto held = co_await context_.lock({lock_key<Controller>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (paths_of(context_.model, name).empty()) {
        co_return Empty();  // Nothing is connected: there is nothing to drop.
    }
    auto reset = co_await context_.node.reset_remote(std::string(last_segment(name)));
    if (!reset) {
        co_return std::unexpected(reset.error());
    }
    co_return Empty();
}

Task<Result<api::ConnectionTimings>> Remotes::set_connection_timings(
    const api::SetConnectionTimingsRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const std::string name =
        canonical_name(KindTraits<Controller>::kCollection, request.remote_controller());
    auto held = co_await context_.lock({lock_key<Controller>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found =
        lookup<Controller>(context_.model, request.remote_controller(), "remote_controller");
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Object<Controller> updated = **found;
    if (auto set = update_timings(*updated.known.mutable_timings(), request); !set) {
        co_return std::unexpected(set.error());
    }
    const node::ConnectionTimings timings = timings_of(updated.known.timings());
    const std::string remote(last_segment(name));
    if (sets_any(request)) {
        Transaction transaction(context_.model);
        transaction.put(updated);
        if (auto stored = transaction.commit(); !stored) {
            co_return std::unexpected(stored.error());
        }
    }
    if (sets_any(request) && context_.node.remote_status(remote)) {
        if (auto set = context_.node.set_remote_timings(remote, timings); !set) {
            co_return std::unexpected(set.error());
        }
    }
    api::ConnectionTimings answer = to_api(timings);
    answer.set_remote_controller(name);
    co_return answer;
}

Task<Result<api::PathPolicySetting>> Remotes::set_path_policy(
    const api::SetPathPolicyRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const std::string name =
        canonical_name(KindTraits<Controller>::kCollection, request.remote_controller());
    const api::PathPolicy policy = request.policy();
    if (policy != api::PATH_POLICY_QUEUE_DEPTH && policy != api::PATH_POLICY_ROUND_ROBIN) {
        co_return fail(ErrorKind::InvalidArgument,
                       "policy: use PATH_POLICY_QUEUE_DEPTH or PATH_POLICY_ROUND_ROBIN");
    }
    auto held = co_await context_.lock({lock_key<Controller>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found =
        lookup<Controller>(context_.model, request.remote_controller(), "remote_controller");
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Object<Controller> updated = **found;
    if (updated.resource.multipath() != opi::NVME_MULTIPATH_MULTIPATH) {
        co_return fail(ErrorKind::FailedPrecondition, "the remote controller " + name +
                                                          " uses one path at a time; its multipath "
                                                          "is not NVME_MULTIPATH_MULTIPATH");
    }
    updated.known.set_path_policy(policy == api::PATH_POLICY_ROUND_ROBIN
                                      ? state::PATH_POLICY_ROUND_ROBIN
                                      : state::PATH_POLICY_QUEUE_DEPTH);
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    const std::string remote(last_segment(name));
    if (context_.node.remote_status(remote)) {
        auto set = co_await context_.node.set_remote_policy(remote, policy_of(updated));
        if (!set) {
            co_return std::unexpected(set.error());
        }
    }
    api::PathPolicySetting setting;
    setting.set_remote_controller(name);
    setting.set_policy(policy);
    co_return setting;
}

Task<Result<opi::VolumeStats>> Remotes::sum_of_volumes(std::string remote_id) {
    block::DeviceStats sum;
    const auto status = context_.node.remote_status(remote_id);
    if (status) {
        for (const node::RemoteNamespace& space : status->namespaces) {
            const auto stats = co_await context_.node.volume_stats(space.volume);
            if (!stats) {
                co_return std::unexpected(stats.error());
            }
            sum.add(*stats);
        }
    }
    co_return to_opi_stats(sum);
}

Task<Result<opi::StatsNvmeRemoteControllerResponse>> Remotes::stats_controller(
    const opi::StatsNvmeRemoteControllerRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    auto sum = co_await sum_of_volumes(std::string(last_segment((*found)->resource.name())));
    if (!sum) {
        co_return std::unexpected(sum.error());
    }
    opi::StatsNvmeRemoteControllerResponse response;
    *response.mutable_stats() = *sum;
    co_return response;
}

Task<> Remotes::rebuild() {
    for (const auto& [name, path] : context_.model.table<opi::NvmePath>()) {
        if (context_.model.find<Controller>(parent_of(name)) == nullptr) {
            log::error("not rebuilt", log::kv("name", name),
                       log::kv("reason", "its remote controller is not in the store"));
        }
    }
    for (const auto& [name, controller] : context_.model.table<Controller>()) {
        const auto paths = paths_of(context_.model, name);
        if (paths.empty()) {
            continue;
        }
        auto built = co_await context_.node.create_remote(remote_spec(controller, paths));
        if (!built) {
            log::error("not rebuilt", log::kv("name", name),
                       log::kv("reason", built.error().message));
        }
    }
}

}  // namespace remora::control
