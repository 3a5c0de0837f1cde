// SPDX-License-Identifier: Apache-2.0
// Overview: volumes of all kinds.
#include <functional>
#include <iterator>
#include <map>
#include <type_traits>

#include "control/layers.h"
#include "control/overview.h"
#include "control/references.h"
#include "control/remotes.h"

namespace remora::control {

using core::Result;

namespace {

constexpr std::string_view kList = "all volumes";

/// How to describe each volume, by its name; names of different kinds differ. Only what a page
/// shows is described: who uses a volume is asked of all there is.
using Volumes = std::map<std::string, std::function<void(api::VolumeOverview&)>, NaturalLess>;

void describe(const Context& context, const std::string& volume, api::VolumeOverview& out) {
    out.set_name(volume);
    if (const auto info = context.node.find_volume(volume)) {
        out.set_uuid(info->uuid.text());
        out.set_size_bytes(info->geometry.size_bytes());
        out.set_block_size(info->geometry.block_size);
        out.set_ready(true);
    }
    for (const std::string& name : limits_of_volume(context.model, volume)) {
        out.add_limited_by(name);
    }
    for (const std::string& name : users_of_volume(context.model, volume)) {
        out.add_used_by(name);
    }
    for (const std::string& name : faults_of_volume(context.model, volume)) {
        out.add_disturbed_by(name);
    }
    out.add_chain(volume);
}

template <typename M>
void add_own(const Context& context, const char* kind, Volumes& out) {
    for (const auto& [name, object] : context.model.table<M>()) {
        const M& resource = object.resource;
        const std::string volume = node_volume_name<M>(name);
        out[volume] = [&context, &resource, kind, volume](api::VolumeOverview& one) {
            one.set_kind(kind);
            describe(context, volume, one);
            if (!one.ready()) {
                one.set_uuid(resource.uuid());
                one.set_reason("its back end could not be opened; the log says why");
            }
            if constexpr (std::is_same_v<M, opi::AioVolume>) {
                one.add_chain(resource.filename());
            }
        };
    }
}

/// One that is made of others: its chain goes on with those of the volumes below.
void describe_layer(const Context& context,
                    const char* kind,
                    const Layer& layer,
                    const Volumes& all,
                    api::VolumeOverview& one) {
    one.set_kind(kind);
    describe(context, layer.volume, one);
    if (!one.ready()) {
        const auto unbuilt = context.unbuilt.find(layer.volume);
        one.set_uuid(layer.uuid);
        one.set_reason(unbuilt == context.unbuilt.end() ? "it could not be built"
                                                        : unbuilt->second.message);
    }
    for (const Layer::Lower& lower : layer.lowers) {
        api::VolumeOverview below;
        if (const auto found = all.find(lower.volume); found != all.end()) {
            found->second(below);
        }
        // An array may do without one of several.
        if (one.ready() && !below.ready() && layer.lowers.size() == 1) {
            one.set_ready(false);
            one.set_reason(below.reason());
        }
        if (below.chain().empty()) {
            one.add_chain(lower.volume);
        }
        one.mutable_chain()->MergeFrom(below.chain());
    }
}

template <typename M>
void add_layers(const Context& context, const char* kind, Volumes& out) {
    for (const auto& [name, object] : context.model.table<M>()) {
        const Layer layer = layer_of(object);
        out[layer.volume] = [&context, kind, layer, &out](api::VolumeOverview& one) {
            describe_layer(context, kind, layer, out, one);
        };
    }
}

void add_remote(const Context& context, Volumes& out) {
    for (const auto& [name, object] : context.model.table<opi::NvmeRemoteController>()) {
        const auto status = context.node.remote_status(std::string(last_segment(name)));
        if (!status) {
            continue;
        }
        const bool live = status->state == node::PathState::Live;
        const std::string reason =
            status->last_error.empty() ? "no path is connected" : status->last_error;
        for (const node::RemoteNamespace& space : status->namespaces) {
            out[space.volume] = [&context, live, reason, controller = name,
                                 volume = space.volume](api::VolumeOverview& one) {
                one.set_kind("remote");
                describe(context, volume, one);
                one.set_ready(one.ready() && live);
                one.set_reason(one.ready() ? "" : reason);
                one.add_chain(controller);
                for (const auto* path : paths_of(context.model, controller)) {
                    one.add_chain(path->resource.name());
                }
            };
        }
    }
}

}  // namespace

Task<Result<api::ListVolumesResponse>> Overview::volumes(const api::ListVolumesRequest& request) {
    const auto page = read_page(kList, request.page_size(), request.page_token());
    if (!page) {
        co_return std::unexpected(page.error());
    }
    Volumes all;
    add_own<opi::MallocVolume>(context_, "malloc", all);
    add_own<opi::NullVolume>(context_, "null", all);
    add_own<opi::AioVolume>(context_, "aio", all);
    add_remote(context_, all);
    add_layers<opi::EncryptedVolume>(context_, "encrypted", all);
    add_layers<api::IntegrityVolume>(context_, "integrity", all);
    add_layers<api::RaidVolume>(context_, "raid", all);
    api::ListVolumesResponse out;
    for (auto at = all.upper_bound(page->after); at != all.end(); ++at) {
        if (static_cast<std::size_t>(out.volumes_size()) == page->size) {
            out.set_next_page_token(page_token(kList, std::prev(at)->first));
            break;
        }
        at->second(*out.add_volumes());
    }
    co_return out;
}

}  // namespace remora::control
