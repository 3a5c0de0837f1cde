// SPDX-License-Identifier: Apache-2.0
#include "control/references.h"

#include <algorithm>
#include <charconv>
#include <iterator>

#include "control/child_calls.h"
#include "control/layers.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

/// A local volume that the model has, before asking whether the data plane has it.
struct Candidate {
    std::string volume;
    std::string lock;
    std::string pattern_name;
};

template <typename M>
void add_by_name(const Model& model, const std::string& id, std::vector<Candidate>& found) {
    const std::string name = std::string(KindTraits<M>::kCollection.canonical) + "/" + id;
    if (model.find<M>(name) != nullptr) {
        const std::string volume = node_volume_name<M>(name);
        found.push_back({volume, lock_key<M>(name), volume});
    }
}

template <typename M>
void add_by_uuid(const Model& model, const core::Uuid& uuid, std::vector<Candidate>& found) {
    for (const auto& [name, object] : model.table<M>()) {
        if (core::Uuid::parse(object.resource.uuid()) == uuid) {
            const std::string volume = node_volume_name<M>(name);
            found.push_back({volume, lock_key<M>(name), volume});
        }
    }
}

void add_layers_by_uuid(const Model& model, const core::Uuid& uuid, std::vector<Candidate>& found) {
    for_each_layer(model, [&](const Layer& layer) {
        if (core::Uuid::parse(layer.uuid) == uuid) {
            found.push_back({layer.volume, layer.lock, layer.volume});
        }
    });
}

std::string remote_lock(const std::string& id) {
    return lock_key<opi::NvmeRemoteController>(
        canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, id));
}

/// Remote volumes come from what is connected, not from the model.
void add_remote_by_uuid(const Context& context,
                        const core::Uuid& uuid,
                        std::vector<Candidate>& found) {
    for (const auto& [name, object] : context.model.table<opi::NvmeRemoteController>()) {
        const std::string id(last_segment(name));
        const auto status = context.node.remote_status(id);
        if (!status) {
            continue;
        }
        for (const node::RemoteNamespace& space : status->namespaces) {
            if (space.uuid == uuid) {
                found.push_back({space.volume, remote_lock(id), space.volume});
            }
        }
    }
}

void add_remote_by_name(const Context& context,
                        const std::string& volume,
                        std::vector<Candidate>& found) {
    const auto parts = split_remote_volume(volume);
    if (!parts) {
        return;
    }
    const auto name =
        canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, parts->first);
    if (context.model.find<opi::NvmeRemoteController>(name) != nullptr) {
        found.push_back({volume, remote_lock(parts->first), volume});
    }
}

/// A QoS volume is another name of the volume that it limits.
void add_by_alias(const Model& model, const std::string& id, std::vector<Candidate>& found) {
    const auto* qos = model.find<opi::QosVolume>("volumes/" + id);
    const auto is_there = [qos](const Candidate& one) { return one.volume == qos->known.volume(); };
    if (qos != nullptr && std::ranges::none_of(found, is_there)) {
        const std::string& volume = qos->known.volume();
        found.push_back({volume, lock_of_volume(volume), "qosVolumes/" + id});
    }
}

std::vector<Candidate> candidates(const Context& context, const std::string& reference) {
    std::vector<Candidate> found;
    const Model& model = context.model;
    if (const auto uuid = core::Uuid::parse(reference)) {
        add_by_uuid<opi::MallocVolume>(model, *uuid, found);
        add_by_uuid<opi::NullVolume>(model, *uuid, found);
        add_by_uuid<opi::AioVolume>(model, *uuid, found);
        add_layers_by_uuid(model, *uuid, found);
        add_remote_by_uuid(context, *uuid, found);
        if (!found.empty()) {
            return found;
        }
        // A UUID may also be an id that the server chose: looked up by name below.
    }
    const auto slash = reference.find('/');
    const std::string collection =
        slash == std::string::npos ? "volumes" : reference.substr(0, slash);
    const std::string id = slash == std::string::npos ? reference : reference.substr(slash + 1);
    const auto is = [&](const Collection& names) {
        return collection == names.canonical || collection == names.alias;
    };
    if (is(KindTraits<opi::MallocVolume>::kCollection)) {
        add_by_name<opi::MallocVolume>(model, id, found);
    }
    if (is(KindTraits<opi::NullVolume>::kCollection)) {
        add_by_name<opi::NullVolume>(model, id, found);
    }
    if (is(KindTraits<opi::AioVolume>::kCollection)) {
        add_by_name<opi::AioVolume>(model, id, found);
    }
    if (is(KindTraits<opi::EncryptedVolume>::kCollection)) {
        add_by_name<opi::EncryptedVolume>(model, id, found);
    }
    if (is(KindTraits<api::RaidVolume>::kCollection)) {
        add_by_name<api::RaidVolume>(model, id, found);
    }
    if (is(KindTraits<api::IntegrityVolume>::kCollection)) {
        add_by_name<api::IntegrityVolume>(model, id, found);
    }
    if (is(KindTraits<opi::QosVolume>::kCollection)) {
        add_by_alias(model, id, found);
    }
    if (const auto child = split_child("nvmeRemoteNamespaces", reference)) {
        const std::string remote_id(last_segment(child->first));
        add_remote_by_name(context, remote_id + "n" + child->second, found);
    } else if (found.empty() && collection == "volumes") {
        add_remote_by_name(context, id, found);
    }
    return found;
}

}  // namespace

std::optional<std::pair<std::string, std::uint32_t>> split_remote_volume(
    const std::string& volume) {
    const auto at = volume.rfind('n');
    if (at == std::string::npos || at == 0 || at + 1 == volume.size()) {
        return std::nullopt;
    }
    std::uint32_t nsid = 0;
    const char* end = volume.data() + volume.size();
    const auto parsed = std::from_chars(volume.data() + at + 1, end, nsid);
    if (parsed.ec != std::errc() || parsed.ptr != end || nsid == 0) {
        return std::nullopt;
    }
    return std::pair{volume.substr(0, at), nsid};
}

std::string lock_of_volume(const std::string& volume) {
    const std::string id(last_segment(volume));
    const auto is = [&volume](const Collection& names) {
        return volume.starts_with(std::string(names.alias) + "/");
    };
    if (is(KindTraits<opi::MallocVolume>::kCollection)) {
        return lock_key<opi::MallocVolume>("volumes/" + id);
    }
    if (is(KindTraits<opi::NullVolume>::kCollection)) {
        return lock_key<opi::NullVolume>("volumes/" + id);
    }
    if (is(KindTraits<opi::AioVolume>::kCollection)) {
        return lock_key<opi::AioVolume>("volumes/" + id);
    }
    if (is(KindTraits<opi::EncryptedVolume>::kCollection)) {
        return lock_key<opi::EncryptedVolume>("volumes/" + id);
    }
    if (is(KindTraits<api::RaidVolume>::kCollection)) {
        return lock_key<api::RaidVolume>("volumes/" + id);
    }
    if (is(KindTraits<api::IntegrityVolume>::kCollection)) {
        return lock_key<api::IntegrityVolume>("volumes/" + id);
    }
    const auto parts = split_remote_volume(volume);
    return remote_lock(parts ? parts->first : volume);
}

Result<VolumeTarget> resolve_volume(const Context& context, const std::string& reference) {
    if (auto checked = check_name("volume_name_ref", reference); !checked) {
        return std::unexpected(checked.error());
    }
    const std::vector<Candidate> found = candidates(context, reference);
    if (found.empty()) {
        return fail(ErrorKind::NotFound,
                    "there is no volume \"" + reference +
                        "\"; name one by its id, volumes/{id}, its UUID, or {remote "
                        "controller}n{nsid}");
    }
    if (found.size() > 1) {
        std::vector<std::string> names;
        names.reserve(found.size());
        for (const Candidate& candidate : found) {
            names.push_back(candidate.pattern_name);
        }
        return fail(ErrorKind::InvalidArgument, "\"" + reference + "\" names several volumes (" +
                                                    join_names(names) + "); use one of these");
    }
    const auto info = context.node.find_volume(found.front().volume);
    const auto unbuilt = context.unbuilt.find(found.front().volume);
    if (!info && unbuilt != context.unbuilt.end()) {
        return fail(
            ErrorKind::FailedPrecondition,
            "the volume \"" + reference + "\" is not usable now: " + unbuilt->second.message);
    }
    if (!info) {
        return fail(ErrorKind::FailedPrecondition,
                    "the volume \"" + reference +
                        "\" is not usable now: its back end could not be opened, or its remote "
                        "controller has not seen it yet");
    }
    VolumeTarget target{found.front().volume, found.front().lock, {}, info->uuid, info->geometry};
    if (const auto parts = split_remote_volume(target.volume);
        parts && target.volume.find('/') == std::string::npos) {
        target.remote =
            canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, parts->first);
    }
    return target;
}

namespace {

/// What a client calls the device: attachments hide theirs.
std::string spoken_name(const Object<opi::VirtioBlk>& disk) {
    return disk.known.attachment().empty()
               ? "virtioBlks/" + std::string(last_segment(disk.resource.name()))
               : disk.known.attachment();
}

bool stands_on(const Layer& layer, const std::string& volume) {
    return std::ranges::any_of(
        layer.lowers, [&volume](const Layer::Lower& lower) { return lower.volume == volume; });
}

}  // namespace

std::string layer_on(const Model& model, const std::string& volume) {
    std::string found;
    for_each_layer(model, [&](const Layer& layer) {
        if (stands_on(layer, volume)) {
            found = layer.volume;
        }
    });
    return found;
}

std::string volume_below(const Model& model, const std::string& volume) {
    std::string below = volume;
    std::string from;
    while (below != from) {
        from = below;
        for_each_layer(model, [&](const Layer& layer) {
            if (layer.volume == from && layer.lowers.size() == 1) {
                below = layer.lowers.front().volume;
            }
        });
    }
    return below;
}

std::vector<std::string> disks_on_volume(const Model& model, const std::string& volume) {
    std::vector<std::string> names;
    for (const auto& [name, object] : model.table<opi::VirtioBlk>()) {
        if (object.known.volume() == volume) {
            names.push_back(spoken_name(object));
        }
    }
    return names;
}

std::vector<std::string> limits_of_volume(const Model& model, const std::string& volume) {
    std::vector<std::string> names;
    for (const auto& [name, object] : model.table<opi::QosVolume>()) {
        if (object.known.volume() == volume) {
            names.push_back("qosVolumes/" + std::string(last_segment(name)));
        }
    }
    return names;
}

std::vector<std::string> faults_of_volume(const Model& model, const std::string& volume) {
    std::vector<std::string> names;
    for (const auto& [name, object] : model.table<api::FaultInjection>()) {
        if (object.known.volume() == volume) {
            names.push_back(name);
        }
    }
    return names;
}

std::vector<std::string> users_of_alias(const Model& model, const Object<opi::QosVolume>& qos) {
    // The same text may name a volume besides: then what it limits is meant by neither.
    std::vector<std::string> names;
    const auto by_alias = [&qos](const std::string& reference, const std::string& volume) {
        const std::string id(last_segment(qos.resource.name()));
        return volume == qos.known.volume() &&
               (reference == id || reference == "volumes/" + id ||
                reference == "qosVolumes/" + id) &&
               last_segment(volume) != id;
    };
    for (const auto& [name, object] : model.table<opi::VirtioBlk>()) {
        if (by_alias(object.resource.volume_name_ref(), object.known.volume())) {
            names.push_back(spoken_name(object));
        }
    }
    for (const auto& [name, object] : model.table<opi::NvmeNamespace>()) {
        if (by_alias(object.resource.spec().volume_name_ref(), object.known.volume())) {
            names.push_back(name);
        }
    }
    for (const auto& [name, object] : model.table<opi::EncryptedVolume>()) {
        if (by_alias(object.resource.volume_name_ref(), object.known.volume())) {
            names.push_back(layer_of(object).volume);
        }
    }
    for (const auto& [name, object] : model.table<api::IntegrityVolume>()) {
        const Layer layer = layer_of(object);
        if (by_alias(object.resource.volume_name_ref(), layer.lowers.front().volume)) {
            names.push_back(layer.volume);
        }
    }
    for (const auto& [name, object] : model.table<api::RaidVolume>()) {
        const Layer layer = layer_of(object);
        const auto named = [&](const std::string& reference) {
            return by_alias(reference, qos.known.volume());
        };
        if (stands_on(layer, qos.known.volume()) &&
            (std::ranges::any_of(object.resource.members(), named) ||
             std::ranges::any_of(object.resource.spares(), named))) {
            names.push_back(layer.volume);
        }
    }
    for (const auto& [name, object] : model.table<api::FaultInjection>()) {
        if (by_alias(object.resource.volume_name_ref(), object.known.volume())) {
            names.push_back(name);
        }
    }
    return names;
}

std::vector<std::string> users_of_volume(const Model& model, const std::string& volume) {
    std::vector<std::string> names = disks_on_volume(model, volume);
    for (const auto& [name, object] : model.table<opi::NvmeNamespace>()) {
        if (object.known.volume() == volume) {
            names.push_back(name);
        }
    }
    if (std::string layer = layer_on(model, volume); !layer.empty()) {
        names.push_back(std::move(layer));
    }
    return names;
}

std::vector<std::string> in_the_way_of_deletion(const Model& model, const std::string& volume) {
    std::vector<std::string> names = users_of_volume(model, volume);
    std::ranges::move(limits_of_volume(model, volume), std::back_inserter(names));
    std::ranges::move(faults_of_volume(model, volume), std::back_inserter(names));
    return names;
}

core::Result<void> check_unused(const Context& context,
                                const std::string& volume,
                                const core::Uuid& uuid) {
    std::vector<std::string> users = users_of_volume(context.model, volume);
    // A namespace under the same UUID is no other user: it may be the very way we reach it.
    for (const auto& [name, object] : context.model.table<opi::VirtioBlk>()) {
        const auto info = context.node.find_volume(object.known.volume());
        if (object.known.volume() != volume && info && !uuid.is_nil() && info->uuid == uuid) {
            users.push_back(spoken_name(object));
        }
    }
    for_each_layer(context.model, [&](const Layer& layer) {
        for (const Layer::Lower& lower : layer.lowers) {
            if (lower.volume != volume && !uuid.is_nil() && core::Uuid::parse(lower.uuid) == uuid) {
                users.push_back(layer.volume);
            }
        }
    });
    if (context.overwritten.contains(volume)) {
        users.emplace_back("a benchmark that overwrites it");
    }
    if (users.empty()) {
        return {};
    }
    return fail(ErrorKind::FailedPrecondition,
                "the volume " + volume + " is in use by " + join_names(users));
}

core::Result<void> check_not_of_attachment(const Context& context, const VolumeTarget& target) {
    const auto* remote = context.model.find<opi::NvmeRemoteController>(target.remote);
    if (remote == nullptr || remote->known.attachment().empty()) {
        return {};
    }
    return fail(ErrorKind::FailedPrecondition,
                "the volume " + target.volume + " is reached through " + target.remote +
                    ", which " + remote->known.attachment() +
                    " made and takes away again; attach the volume, or create a remote "
                    "controller for it");
}

std::vector<std::string> users_of_remote(const Model& model, const std::string& remote_id) {
    std::vector<std::string> names;
    const auto of_remote = [&](const std::string& volume) {
        const auto parts = split_remote_volume(volume);
        return volume.find('/') == std::string::npos && parts && parts->first == remote_id;
    };
    for (const auto& [name, object] : model.table<opi::VirtioBlk>()) {
        if (of_remote(object.known.volume())) {
            names.push_back(spoken_name(object));
        }
    }
    for (const auto& [name, object] : model.table<opi::NvmeNamespace>()) {
        if (of_remote(object.known.volume())) {
            names.push_back(name);
        }
    }
    for_each_layer(model, [&](const Layer& layer) {
        if (std::ranges::any_of(layer.lowers,
                                [&](const auto& lower) { return of_remote(lower.volume); })) {
            names.push_back(layer.volume);
        }
    });
    for (const auto& [name, object] : model.table<api::FaultInjection>()) {
        if (of_remote(object.known.volume())) {
            names.push_back(name);
        }
    }
    for (const auto& [name, object] : model.table<opi::QosVolume>()) {
        if (of_remote(object.known.volume())) {
            names.push_back("qosVolumes/" + std::string(last_segment(name)));
        }
    }
    return names;
}

Result<const Object<opi::NvmeNamespace>*> find_namespace(const Model& model,
                                                         const std::string& nqn,
                                                         std::uint32_t nsid) {
    for (const auto& [name, object] : model.table<opi::NvmeNamespace>()) {
        const auto* subsystem = model.find<opi::NvmeSubsystem>(parent_of(name));
        if (subsystem != nullptr && subsystem->resource.spec().nqn() == nqn &&
            static_cast<std::uint32_t>(object.resource.spec().host_nsid()) == nsid) {
            return &object;
        }
    }
    return fail(ErrorKind::NotFound,
                "namespace " + std::to_string(nsid) + " of " + nqn + " is not in the store (yet)");
}

}  // namespace remora::control
