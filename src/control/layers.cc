// SPDX-License-Identifier: Apache-2.0
#include "control/layers.h"

#include <algorithm>

#include "control/remotes.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

template <typename M>
Layer with_lowers(const Object<M>& object) {
    const std::string& name = object.resource.name();
    Layer layer{node_volume_name<M>(name), lock_key<M>(name), object.known.layer().uuid(), {}};
    for (const state::LowerVolume& lower : object.known.layer().lowers()) {
        layer.lowers.push_back({lower.volume(), lower.uuid(), lower.reference()});
    }
    return layer;
}

}  // namespace

Layer layer_of(const Object<opi::EncryptedVolume>& object) {
    const std::string& name = object.resource.name();
    return {node_volume_name<opi::EncryptedVolume>(name),
            lock_key<opi::EncryptedVolume>(name),
            object.known.encryption().uuid(),
            {{object.known.volume(), object.known.encryption().lower_uuid(),
              object.resource.volume_name_ref()}}};
}

Layer layer_of(const Object<api::RaidVolume>& object) {
    return with_lowers(object);
}

Layer layer_of(const Object<api::IntegrityVolume>& object) {
    return with_lowers(object);
}

std::vector<std::string> locks_below(const Layer& layer) {
    std::vector<std::string> locks;
    for (const Layer::Lower& lower : layer.lowers) {
        locks.push_back(lock_of_volume(lower.volume));
        if (const auto uuid = core::Uuid::parse(lower.uuid); uuid && !uuid->is_nil()) {
            locks.push_back(uuid_key(*uuid));
        }
    }
    return locks;
}

namespace {

/// The most stages from `volume` down to a medium or a remote controller.
std::size_t stages_below(const Model& model, const std::string& volume) {
    constexpr std::size_t kGround = 2;  // counters, and a remote controller's lane
    std::size_t most = kGround;
    for_each_layer(model, [&](const Layer& layer) {
        if (layer.volume != volume) {
            return;
        }
        for (const Layer::Lower& lower : layer.lowers) {
            most = std::max(most, kStagesOfLayer + stages_below(model, lower.volume));
        }
    });
    return most + kStagesOfFaults * faults_of_volume(model, volume).size();
}

/// Whether `volume` is `below`, or made of it at any depth.
bool stands_on(const Model& model, const std::string& volume, const std::string& below) {
    bool found = volume == below;
    for_each_layer(model, [&](const Layer& layer) {
        for (const Layer::Lower& lower : layer.lowers) {
            found = found || (layer.volume == volume && stands_on(model, lower.volume, below));
        }
    });
    return found;
}

/// What stands on `volume`, all the way up; the volume itself where nothing does.
std::string top_of(const Model& model, const std::string& volume) {
    const std::string above = layer_on(model, volume);
    return above.empty() ? volume : top_of(model, above);
}

}  // namespace

Result<void> check_depth(const Model& model, const std::string& volume, std::size_t adds) {
    constexpr std::size_t kFrontEnd = 1;
    const std::size_t stages = kFrontEnd + stages_below(model, top_of(model, volume)) + adds;
    if (stages <= block::Request::kMaxStages) {
        return {};
    }
    return fail(ErrorKind::FailedPrecondition,
                "the chain of " + volume + " would have " + std::to_string(stages) +
                    " stages, and a request follows " + std::to_string(block::Request::kMaxStages) +
                    ": a volume that is made of others counts " + std::to_string(kStagesOfLayer) +
                    ", a fault injection 1; leave one out");
}

Result<void> check_may_take(const Context& context,
                            std::string_view field,
                            const VolumeTarget& target,
                            const std::string& taker) {
    if (!taker.empty() && stands_on(context.model, target.volume, taker)) {
        return fail(ErrorKind::FailedPrecondition,
                    std::string(field) + ": " + target.volume +
                        " is made of the array itself; name a volume that is not");
    }
    if (auto own = check_not_of_attachment(context, target); !own) {
        return fail(field, own.error());
    }
    if (auto unused = check_unused(context, target.volume, target.uuid); !unused) {
        return fail(ErrorKind::FailedPrecondition, std::string(field) + ": " +
                                                       unused.error().message +
                                                       "; it has to be free, to be taken whole");
    }
    if (auto depth = check_depth(context.model, target.volume, kStagesOfLayer); !depth) {
        return fail(field, depth.error());
    }
    return {};
}

void take_lower(const Context& context,
                const Taken& taken,
                state::Layer& layer,
                Transaction& transaction) {
    state::LowerVolume& lower = *layer.add_lowers();
    lower.set_volume(taken.target.volume);
    lower.set_uuid(taken.target.uuid.text());
    lower.set_reference(taken.reference);
    keep_remote_namespaces(context, taken.target.remote, transaction);
}

}  // namespace remora::control
