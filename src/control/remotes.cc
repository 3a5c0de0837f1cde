// SPDX-License-Identifier: Apache-2.0
// Remote controllers, and what is common with their paths and namespaces (own files).
#include "control/remotes.h"

#include "control/child_calls.h"
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

node::RemoteSpec remote_spec(const Controller& controller, const Object<opi::NvmePath>& path) {
    node::RemoteSpec spec;
    spec.name = std::string(last_segment(controller.name()));
    spec.endpoint = endpoint_of(path.resource).value_or(reactor::Endpoint{});
    spec.subnqn = path.resource.fabrics().subnqn();
    spec.hostnqn = path.resource.fabrics().hostnqn();
    spec.io_queues = static_cast<std::uint32_t>(controller.io_queues_count());
    if (controller.queue_size() != 0) {
        spec.queue_size = static_cast<std::uint32_t>(controller.queue_size());
    }
    spec.header_digest = controller.tcp().hdgst();
    spec.data_digest = controller.tcp().ddgst();
    for (const state::KnownNamespace& known : path.known.known_namespaces()) {
        const auto uuid = core::Uuid::parse(known.uuid());
        spec.known.push_back(
            {known.nsid(), uuid.value_or(core::Uuid{}), known.block_size(), known.block_count()});
    }
    return spec;
}

void keep_known_namespaces(const node::RemoteStatus& status, state::Record& record) {
    record.clear_known_namespaces();
    for (const node::RemoteNamespace& space : status.namespaces) {
        state::KnownNamespace& known = *record.add_known_namespaces();
        known.set_nsid(space.nsid);
        known.set_uuid(space.uuid.text());
        known.set_block_size(space.geometry.block_size);
        known.set_block_count(space.geometry.block_count);
    }
}

const Object<opi::NvmePath>* path_of(const Model& model, const std::string& controller) {
    const auto& table = model.table<opi::NvmePath>();
    const auto paths = children_of<opi::NvmePath>(model, controller);
    return paths.empty() ? nullptr : &table.find(paths.front())->second;
}

void keep_remote_namespaces(const Context& context,
                            const std::string& remote_controller,
                            Transaction& transaction) {
    const auto* path =
        remote_controller.empty() ? nullptr : path_of(context.model, remote_controller);
    const auto status =
        path == nullptr ? std::nullopt
                        : context.node.remote_status(std::string(last_segment(remote_controller)));
    if (status && !status->namespaces.empty()) {
        Object<opi::NvmePath> updated = *path;
        keep_known_namespaces(*status, updated.known);
        transaction.put(updated);
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
    auto next = list_page<Controller>(
        context_.model, request.page_size(), request.page_token(),
        [](const std::string&) { return true; },
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
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Controller>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return (*found)->resource;
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
    if (path_of(context_.model, name) == nullptr) {
        co_return Empty();  // Nothing is connected: there is nothing to drop.
    }
    auto reset = co_await context_.node.reset_remote(std::string(last_segment(name)));
    if (!reset) {
        co_return std::unexpected(reset.error());
    }
    co_return Empty();
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
        const auto* controller = context_.model.find<Controller>(parent_of(name));
        if (controller == nullptr) {
            log::error("not rebuilt", log::kv("name", name),
                       log::kv("reason", "its remote controller is not in the store"));
            continue;
        }
        auto built = co_await context_.node.create_remote(remote_spec(controller->resource, path));
        if (!built) {
            log::error("not rebuilt", log::kv("name", name),
                       log::kv("reason", built.error().message));
        }
    }
}

}  // namespace remora::control
