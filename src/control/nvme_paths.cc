// SPDX-License-Identifier: Apache-2.0
// Paths of remote controllers, and the namespaces that appeared through them.
#include <array>
#include <charconv>

#include "control/child_calls.h"
#include "control/references.h"
#include "control/remotes.h"
#include "control/validate_nvme.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Controller = opi::NvmeRemoteController;
using Path = opi::NvmePath;

const FieldRules kRules{{}, {}, "it is connected; delete the path and create another"};
/// Of one controller, as the data plane takes them.
constexpr std::size_t kMostPaths = 8;

std::string hex(const std::array<unsigned char, 16>& bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : bytes) {
        text.push_back(kHex[byte >> 4U]);
        text.push_back(kHex[byte & 0xfU]);
    }
    return text;
}

opi::NvmeRemoteNamespace to_api(const std::string& controller, const node::RemoteNamespace& space) {
    opi::NvmeRemoteNamespace out;
    out.set_name(controller + "/nvmeRemoteNamespaces/" + std::to_string(space.number));
    out.set_nsid(static_cast<std::int32_t>(space.nsid));
    if (space.nguid != std::array<unsigned char, 16>{}) {
        out.set_nguid(hex(space.nguid));
    }
    out.set_eui64(static_cast<std::int64_t>(space.eui64));
    if (!space.uuid.is_nil()) {
        out.set_uuid(space.uuid.text());
    }
    return out;
}

}  // namespace

Task<Result<Path>> Remotes::create_path(const opi::CreateNvmePathRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("nvme_path_id", request.nvme_path_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate(request.nvme_path()); !valid) {
        co_return std::unexpected(valid.error());
    }
    const auto parent = parent_name<Controller>(context_.model, request.parent());
    if (!parent) {
        co_return std::unexpected(parent.error());
    }
    Object<Path> path{request.nvme_path(), {}};
    path.resource.set_name(*parent + "/nvmePaths/" + *id);
    auto held = co_await context_.lock({lock_key<Controller>(*parent)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* controller = context_.model.find<Controller>(*parent);
    if (controller == nullptr) {
        co_return fail(ErrorKind::NotFound, *parent + " was deleted meanwhile");
    }
    if (const auto* existing = context_.model.find<Path>(path.resource.name())) {
        co_return answer_existing(existing->resource, path.resource);
    }
    if (auto fits = check_fits(*controller, path.resource); !fits) {
        co_return std::unexpected(fits.error());
    }
    if (auto started = co_await start_path(*controller, &path); !started) {
        co_return std::unexpected(started.error());
    }
    Transaction transaction(context_.model);
    transaction.put(path);
    if (auto stored = transaction.commit(); !stored) {
        (void)co_await stop_path(path.resource.name());
        co_return std::unexpected(stored.error());
    }
    co_return path.resource;
}

/// Whether the controller may have the path beside those that it has.
Result<void> Remotes::check_fits(const Object<Controller>& controller, const Path& path) const {
    const std::string& name = controller.resource.name();
    if (auto free = check_not_attached("remote controller", name, controller.known); !free) {
        return free;
    }
    const auto others = paths_of(context_.model, name);
    if (others.empty()) {
        return {};
    }
    const Path& first = others.front()->resource;
    const opi::NvmeMultipath multipath = controller.resource.multipath();
    if (multipath != opi::NVME_MULTIPATH_FAILOVER && multipath != opi::NVME_MULTIPATH_MULTIPATH) {
        return fail(ErrorKind::FailedPrecondition,
                    "the remote controller " + name + " has the path " + first.name() +
                        " and its multipath is disabled; create one with "
                        "NVME_MULTIPATH_FAILOVER or NVME_MULTIPATH_MULTIPATH for several");
    }
    if (others.size() >= kMostPaths) {
        return fail(ErrorKind::ResourceExhausted, "the remote controller " + name + " has " +
                                                      std::to_string(kMostPaths) +
                                                      " paths, the most; delete one first");
    }
    if (path.fabrics().subnqn() != first.fabrics().subnqn() ||
        path.fabrics().hostnqn() != first.fabrics().hostnqn()) {
        return fail(
            ErrorKind::InvalidArgument,
            "nvme_path.fabrics: all paths of " + name + " lead to one subsystem as one " +
                "host; " + first.name() + " has " + first.fabrics().subnqn() +
                (first.fabrics().hostnqn().empty() ? "" : " as " + first.fabrics().hostnqn()));
    }
    for (const auto* other : others) {
        if (endpoint_of(other->resource).value_or(reactor::Endpoint{}) ==
            endpoint_of(path).value_or(reactor::Endpoint{})) {
            return fail(ErrorKind::AlreadyExists,
                        "the path " + other->resource.name() + " leads to " + path.traddr() + ":" +
                            std::to_string(path.fabrics().trsvcid()) + " already");
        }
    }
    return {};
}

/// Has the data plane connect; what cannot be made live is stopped again. Notes what it shows.
Task<Result<void>> Remotes::start_path(Object<Controller> controller, Object<Path>* path) {
    const std::string remote(last_segment(controller.resource.name()));
    const node::RemotePathSpec spec = path_spec(*path);
    auto started = context_.node.remote_status(remote)
                       ? co_await context_.node.add_remote_path(remote, spec)
                       : co_await context_.node.create_remote(remote_spec(controller, {path}));
    if (!started) {
        co_return started;
    }
    auto live =
        co_await context_.node.wait_remote_path(remote, spec.id, context_.options.connect_limit);
    const auto status = context_.node.remote_status(remote);
    if (!live || !status) {
        (void)co_await stop_path(path->resource.name());
        co_return fail(
            "connecting to " + path->resource.fabrics().subnqn() + " at " + spec.endpoint.text(),
            live ? core::Error{ErrorKind::Internal, "it vanished"} : live.error());
    }
    keep_known_namespaces(*status, *path);
    co_return Result<void>{};
}

/// With its last path the remote controller goes from the data plane.
Task<Result<void>> Remotes::stop_path(std::string name) {
    const std::string remote(last_segment(parent_of(name)));
    const auto status = context_.node.remote_status(remote);
    Result<void> stopped;
    if (status && status->paths.size() > 1) {
        stopped =
            co_await context_.node.remove_remote_path(remote, std::string(last_segment(name)));
    } else {
        stopped = co_await context_.node.delete_remote(remote);
    }
    if (!stopped && stopped.error().kind == ErrorKind::NotFound) {
        co_return Result<void>{};
    }
    co_return stopped;
}

Task<Result<Empty>> Remotes::delete_path(const opi::DeleteNvmePathRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    const auto parts = split_child("nvmePaths", request.name());
    auto held =
        co_await context_.lock({lock_key<Controller>(parts ? parts->first : request.name())});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Path>(context_.model, request.name());
    if (!found) {
        if (found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(found.error());
    }
    const Object<Path> before = **found;
    if (auto free = check_not_attached("path", before.resource.name(), before.known); !free) {
        co_return std::unexpected(free.error());
    }
    const std::string controller = parent_of(before.resource.name());
    const std::string remote_id(last_segment(controller));
    const auto users = users_of_remote(context_.model, remote_id);
    const bool last = paths_of(context_.model, controller).size() <= 1;
    if (last && !users.empty()) {
        co_return fail(ErrorKind::FailedPrecondition, "the path " + before.resource.name() +
                                                          " is the only way to volumes used by " +
                                                          join_names(users) +
                                                          "; delete that first");
    }
    if (const auto removed = co_await stop_path(before.resource.name()); !removed) {
        co_return std::unexpected(removed.error());
    }
    Transaction transaction(context_.model);
    transaction.erase<Path>(before.resource.name());
    if (auto stored = transaction.commit(); !stored) {
        if (const auto* kept = context_.model.find<Controller>(controller)) {
            const auto spec = path_spec(before);
            (void)(last ? co_await context_.node.create_remote(remote_spec(*kept, {&before}))
                        : co_await context_.node.add_remote_path(remote_id, spec));
        }
        co_return std::unexpected(stored.error());
    }
    co_return Empty();
}

Task<Result<Path>> Remotes::update_path(const opi::UpdateNvmePathRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Path>(context_.model, request.nvme_path().name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Path updated = (*found)->resource;
    if (auto applied = apply_update(updated, request.nvme_path(), request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    co_return updated;
}

Task<Result<opi::ListNvmePathsResponse>> Remotes::list_paths(
    const opi::ListNvmePathsRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto prefix = list_prefix<Controller>(context_.model, request.parent());
    if (!prefix) {
        co_return std::unexpected(prefix.error());
    }
    opi::ListNvmePathsResponse response;
    auto next = list_page<Path>(
        context_.model, request.page_size(), request.page_token(), *prefix,
        [&](const Object<Path>& object) { *response.add_nvme_paths() = object.resource; });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Path>> Remotes::get_path(const opi::GetNvmePathRequest& request) {
    co_return get_resource<Path>(context_.model, request);
}

Task<Result<opi::StatsNvmePathResponse>> Remotes::stats_path(
    const opi::StatsNvmePathRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Path>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    // Volumes are counted, not paths: these are the whole controller's numbers.
    auto sum =
        co_await sum_of_volumes(std::string(last_segment(parent_of((*found)->resource.name()))));
    if (!sum) {
        co_return std::unexpected(sum.error());
    }
    opi::StatsNvmePathResponse response;
    *response.mutable_stats() = *sum;
    co_return response;
}

Task<Result<opi::ListNvmeRemoteNamespacesResponse>> Remotes::list_namespaces(
    const opi::ListNvmeRemoteNamespacesRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto parent = parent_name<Controller>(context_.model, request.parent());
    if (!parent) {
        co_return std::unexpected(parent.error());
    }
    const std::string list = list_of("nvme_remote_namespace", *parent);
    const auto page = read_page(list, request.page_size(), request.page_token());
    if (!page) {
        co_return std::unexpected(page.error());
    }
    opi::ListNvmeRemoteNamespacesResponse response;
    const auto status = context_.node.remote_status(std::string(last_segment(*parent)));
    if (!status) {
        co_return response;
    }
    std::map<std::string, opi::NvmeRemoteNamespace, NaturalLess> sorted;
    for (const node::RemoteNamespace& space : status->namespaces) {
        opi::NvmeRemoteNamespace out = to_api(*parent, space);
        sorted[out.name()] = out;
    }
    for (auto at = sorted.upper_bound(page->after); at != sorted.end(); ++at) {
        const int taken = response.nvme_remote_namespaces_size();
        if (static_cast<std::size_t>(taken) == page->size) {
            response.set_next_page_token(
                page_token(list, response.nvme_remote_namespaces(taken - 1).name()));
            break;
        }
        *response.add_nvme_remote_namespaces() = at->second;
    }
    co_return response;
}

Task<Result<opi::NvmeRemoteNamespace>> Remotes::get_namespace(
    const opi::GetNvmeRemoteNamespaceRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    const auto parts = split_child("nvmeRemoteNamespaces", request.name());
    if (parts && context_.model.find<Controller>(parts->first) != nullptr) {
        const auto status = context_.node.remote_status(std::string(last_segment(parts->first)));
        for (const node::RemoteNamespace& space :
             status ? status->namespaces : std::vector<node::RemoteNamespace>()) {
            if (std::to_string(space.number) == parts->second) {
                co_return to_api(parts->first, space);
            }
        }
    }
    co_return fail(ErrorKind::NotFound,
                   "there is no remote namespace named " + request.name() +
                       "; a name is nvmeRemoteControllers/{id}/nvmeRemoteNamespaces/{nsid}");
}

}  // namespace remora::control
