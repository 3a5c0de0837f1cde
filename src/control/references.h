// SPDX-License-Identifier: Apache-2.0
// What refers to what: how clients name a volume, and who would be hurt if something went away.
// Reads the model and the data plane's actual state; changes nothing.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "control/context.h"

namespace remora::control {

/// The data plane's name of a local volume: kinds share its one name space, so it has the kind.
template <typename M>
std::string node_volume_name(const std::string& name) {
    return std::string(KindTraits<M>::kCollection.alias) + "/" + std::string(last_segment(name));
}

struct VolumeTarget {
    std::string volume;  ///< The data plane's name.
    std::string lock;    ///< Held by whoever starts or ends a use of it.
    std::string remote;  ///< The remote controller's name; empty for a local volume.
    core::Uuid uuid;
    block::Geometry geometry;
};

/// Takes a bare id, `volumes/{id}`, the annotated pattern, a UUID, `{remote controller}n{nsid}` or
/// `nvmeRemoteControllers/{c}/nvmeRemoteNamespaces/{nsid}`. Errors: InvalidArgument (form, or two
/// volumes of that name), NotFound, FailedPrecondition (it exists but could not be built).
core::Result<VolumeTarget> resolve_volume(const Context& context, const std::string& reference);

/// The lock of the data plane's volume, as resolve_volume() names it.
std::string lock_of_volume(const std::string& volume);

/// Names of the QoS volumes that limit the data plane's volume.
std::vector<std::string> limits_of_volume(const Model& model, const std::string& volume);
/// Names of what was made on a volume by the name of the QoS volume that limits it.
std::vector<std::string> users_of_alias(const Model& model, const Object<opi::QosVolume>& qos);

/// Names of the fault injections that the data plane's volume suffers from.
std::vector<std::string> faults_of_volume(const Model& model, const std::string& volume);

/// The volume that is made of the data plane's volume (control/layers.h); empty: none is.
std::string layer_on(const Model& model, const std::string& volume);
/// What a volume made of one other stands on, all the way down; any other volume itself.
std::string volume_below(const Model& model, const std::string& volume);

/// Names of what is on the data plane's volume: namespaces, virtio-blk devices, the volume that is
/// made of it.
std::vector<std::string> users_of_volume(const Model& model, const std::string& volume);
/// Those, and the limits and fault injections: all that has to be deleted first.
std::vector<std::string> in_the_way_of_deletion(const Model& model, const std::string& volume);
/// Refuses another disk beside what uses the volume already: all that is on it, a disk or another
/// volume on the same UUID (a remote volume reached through another controller), a benchmark that
/// writes.
core::Result<void> check_unused(const Context& context,
                                const std::string& volume,
                                const core::Uuid& uuid);
/// Refuses to build on a remote controller that AttachVolume made and DetachVolume takes away.
core::Result<void> check_not_of_attachment(const Context& context, const VolumeTarget& target);
/// Names of the virtio-blk devices only.
std::vector<std::string> disks_on_volume(const Model& model, const std::string& volume);
/// The same for every volume of a remote controller (its id).
std::vector<std::string> users_of_remote(const Model& model, const std::string& remote_id);

/// "ctrl0n12" -> {"ctrl0", 12}.
std::optional<std::pair<std::string, std::uint32_t>> split_remote_volume(const std::string& volume);

/// The namespace that hosts see under this identifier. Errors: NotFound, also while the call that
/// makes it has not stored it.
core::Result<const Object<opi::NvmeNamespace>*> find_namespace(const Model& model,
                                                               const std::string& nqn,
                                                               std::uint32_t nsid);

/// Children of a parent resource, by name.
template <typename M>
std::vector<std::string> children_of(const Model& model, const std::string& parent) {
    std::vector<std::string> names;
    const std::string prefix = parent + "/";
    for (const auto& [name, object] : model.table<M>()) {
        if (name.starts_with(prefix)) {
            names.push_back(name);
        }
    }
    return names;
}

}  // namespace remora::control
