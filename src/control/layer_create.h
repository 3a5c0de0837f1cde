// SPDX-License-Identifier: Apache-2.0
// create_layer(): what Create calls of arrays and of volumes with checksums have in common: the
// locks of what they are made of, the answer when they are there already, and how they come to be.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "control/layers.h"

namespace remora::control {

/// For whoever makes something of these volumes, if they were found.
inline std::vector<std::string> locks_of(const core::Result<std::vector<Taken>>& lowers) {
    std::vector<std::string> keys;
    if (lowers) {
        for (const Taken& lower : *lowers) {
            keys.push_back(lower.target.lock);
            keys.push_back(uuid_key(lower.target.uuid));
        }
    }
    return keys;
}

inline bool same_volumes(const std::vector<Taken>& a, const std::vector<Taken>& b) {
    bool same = a.size() == b.size();
    for (std::size_t i = 0; same && i < a.size(); ++i) {
        same = a[i].target.volume == b[i].target.volume;
    }
    return same;
}

/// What differs between the kinds.
template <typename Resolve, typename Field, typename Spell>
struct LayerWords {
    /// The volumes that a resource names: `Result<vector<Taken>> resolve(resource)`.
    Resolve resolve;
    /// What of the request names one: `string field(taken)`.
    Field field;
    /// `spell(taken, layer, resource)` puts the names that are stored in `layer` in the place of
    /// others for the same volumes, so that equal things compare equal.
    Spell spell;
    const std::vector<std::string_view>& output_only;
};

/// `made` has its name, and its own fields are valid. When this has succeeded it is in the model
/// and in the data plane, as what was asked for. Errors: those of `resolve` and make_layer();
/// AlreadyExists; FailedPrecondition when a volume is in use.
template <typename M, typename Words>
reactor::Task<core::Result<void>> create_layer(
    Context& context, LayerKind& kind, Object<M> made, bool overwrite, Words words) {
    const std::string name = made.resource.name();
    const core::Result<std::vector<Taken>> lowers = words.resolve(made.resource);
    if (!lowers && context.model.find<M>(name) == nullptr) {
        co_return std::unexpected(lowers.error());
    }
    std::vector<std::string> keys = locks_of(lowers);
    keys.push_back(lock_key<M>(name));
    const auto held = co_await context.lock(std::move(keys));
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context.model.find<M>(name)) {
        const Layer layer = layer_of(*existing);
        if (lowers) {
            words.spell(*lowers, layer, made.resource);
        }
        if (auto same = answer_existing(existing->resource, made.resource, words.output_only);
            !same) {
            co_return std::unexpected(same.error());
        }
        // It may have been stored and never built, or could not be built yet.
        if (context.node.find_volume(layer.volume)) {
            co_return core::Result<void>();
        }
        co_return co_await kind.build_stored(layer.volume);
    }
    core::Result<std::vector<Taken>> again = words.resolve(made.resource);
    if (!lowers || !again || !same_volumes(*lowers, *again)) {
        co_return core::fail(core::ErrorKind::NotFound,
                             "a volume for " + name + " was deleted meanwhile");
    }
    for (const Taken& lower : *again) {
        if (auto may = check_may_take(context, words.field(lower), lower.target); !may) {
            co_return may;
        }
    }
    co_return co_await make_layer(context, kind, std::move(made), std::move(*again), overwrite);
}

}  // namespace remora::control
