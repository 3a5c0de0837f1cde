// SPDX-License-Identifier: Apache-2.0
// Layers: volumes that are made of others and have those for themselves: encrypted ones, arrays,
// ones with checksums. They stack in any order. What is the same for all of them is here: what
// they stand on, in which order they are built after a start, how one is deleted.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "control/opened.h"
#include "control/references.h"
#include "core/check.h"

namespace remora::control {

struct Layer {
    struct Lower {
        std::string volume;  ///< The data plane's name.
        std::string uuid;
        std::string reference;  ///< As the client named it.
    };
    std::string volume;  ///< The data plane's name.
    std::string lock;
    std::string uuid;  ///< That hosts see.
    std::vector<Lower> lowers;
};

Layer layer_of(const Object<opi::EncryptedVolume>& object);
Layer layer_of(const Object<api::RaidVolume>& object);
Layer layer_of(const Object<api::IntegrityVolume>& object);

/// Calls `visit(layer)` for each there is.
template <typename F>
void for_each_layer(const Model& model, F visit) {
    const auto each = [&visit](const auto& table) {
        for (const auto& [name, object] : table) {
            visit(layer_of(object));
        }
    };
    each(model.table<opi::EncryptedVolume>());
    each(model.table<api::RaidVolume>());
    each(model.table<api::IntegrityVolume>());
}

/// The locks of what a layer stands on, for whoever makes or ends it.
std::vector<std::string> locks_below(const Layer& layer);

/// Refuses a chain that would be longer than a request can follow, with `adds` more stages on
/// `volume`. Errors: FailedPrecondition.
core::Result<void> check_depth(const Model& model, const std::string& volume, std::size_t adds);
/// Stages that a layer is: counters, and its own.
inline constexpr std::size_t kStagesOfLayer = 2;
/// Of a fault injection.
inline constexpr std::size_t kStagesOfFaults = 1;

/// Refuses to take a volume that something else is on, that is not to be built on, or that stands
/// on `taker`, the volume that takes it where there is one already. `field` says which of the
/// request's is meant.
core::Result<void> check_may_take(const Context& context,
                                  std::string_view field,
                                  const VolumeTarget& target,
                                  const std::string& taker = {});

/// One kind of layers, as LayerBuilder sees it.
class LayerKind {
  public:
    /// All that are stored.
    [[nodiscard]] virtual std::vector<Layer> stored() const = 0;
    /// Builds it over what is there now, one that is being made as a new one. Why it cannot be
    /// built is noted in the context, too.
    virtual reactor::Task<core::Result<void>> build_stored(std::string volume) = 0;
    /// Whether it may be deleted as it is now, whatever uses it. Errors: FailedPrecondition.
    [[nodiscard]] virtual core::Result<void> check_may_delete(const std::string& /*volume*/) const {
        return {};
    }

  protected:
    ~LayerKind() = default;
};

/// The object of the data plane's volume; it is there.
template <typename M>
const Object<M>& stored_layer(const Model& model, const std::string& volume) {
    const auto* found = model.find<M>("volumes/" + std::string(last_segment(volume)));
    CHECK(found != nullptr);
    return *found;
}

/// What LayerKind::stored() answers of a kind.
template <typename M>
std::vector<Layer> layers_of(const Model& model) {
    std::vector<Layer> out;
    for (const auto& [name, object] : model.table<M>()) {
        out.push_back(layer_of(object));
    }
    return out;
}

/// A volume that a layer is to be made of, and the client's words for it.
struct Taken {
    VolumeTarget target;
    std::string reference;
};

/// What is stored of a volume that is to be taken, and of its remote controller with it.
void take_lower(const Context& context,
                const Taken& taken,
                state::Layer& layer,
                Transaction& transaction);

/// Stores a new layer as one that is being made, so that a crash from here on is followed by its
/// completion, and builds it. On an error nothing is left. The caller holds the locks. `overwrite`:
/// also where a volume below carries another layer of the kind.
template <typename M>
reactor::Task<core::Result<void>> make_layer(
    Context& context, LayerKind& kind, Object<M> made, std::vector<Taken> lowers, bool overwrite) {
    const std::string name = made.resource.name();
    const std::string volume = layer_of(made).volume;
    Transaction announced(context.model);
    state::Layer& layer = *made.known.mutable_layer();
    layer.set_uuid(core::Uuid::random(context.prng).text());
    layer.set_overwrite(overwrite);
    for (const Taken& lower : lowers) {
        take_lower(context, lower, layer, announced);
    }
    made.known.set_intent(state::INTENT_PENDING);
    announced.put(std::move(made));
    if (auto stored = announced.commit(); !stored) {
        co_return stored;
    }
    auto built = co_await kind.build_stored(volume);
    if (built) {
        co_return built;
    }
    (void)co_await context.node.delete_volume(volume);
    Transaction undone(context.model);
    undone.erase<M>(name);
    if (undone.commit()) {
        context.unbuilt.erase(volume);
    }
    co_return built;
}

/// What was being made is there: notes that, where it is not yet.
template <typename M>
core::Result<void> settle_layer(Context& context, Object<M> object) {
    context.unbuilt.erase(layer_of(object).volume);
    if (object.known.intent() == state::INTENT_READY) {
        return {};
    }
    object.known.set_intent(state::INTENT_READY);
    Transaction transaction(context.model);
    transaction.put(std::move(object));
    return transaction.commit();
}

/// What a Stats call of a layer answers.
template <typename M, typename Response, typename Request>
reactor::Task<core::Result<Response>> layer_stats(Context& context, const Request& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<M>(context.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const auto counted = co_await context.node.volume_stats(layer_of(**found).volume);
    if (!counted) {
        co_return std::unexpected(counted.error());
    }
    Response response;
    *response.mutable_stats() = to_opi_stats(*counted);
    co_return response;
}

/// Deletes a layer; what it stands on is free again. `kind` builds it again when the deletion
/// cannot be stored. Errors: those of lookup(); FailedPrecondition naming who uses it.
template <typename M>
reactor::Task<core::Result<google::protobuf::Empty>> remove_layer(Context& context,
                                                                  LayerKind& kind,
                                                                  const std::string& raw_name,
                                                                  bool allow_missing) {
    using google::protobuf::Empty;
    const auto opened = co_await open_object<M>(
        context, raw_name, [](const Object<M>& object) { return locks_below(layer_of(object)); });
    if (!opened) {
        if (opened.error().kind == core::ErrorKind::NotFound && allow_missing) {
            co_return Empty();
        }
        co_return std::unexpected(opened.error());
    }
    const Layer layer = layer_of(opened->object);
    const std::string name = opened->object.resource.name();
    if (const auto users = in_the_way_of_deletion(context.model, layer.volume); !users.empty()) {
        co_return core::fail(core::ErrorKind::FailedPrecondition,
                             "the " + std::string(KindTraits<M>::kNoun) + " " + name +
                                 " is used by " + join_names(users) + "; delete that first");
    }
    if (auto may = kind.check_may_delete(layer.volume); !may) {
        co_return std::unexpected(may.error());
    }
    const auto removed = co_await context.node.delete_volume(layer.volume);
    if (!removed && removed.error().kind != core::ErrorKind::NotFound) {
        co_return std::unexpected(removed.error());
    }
    Transaction transaction(context.model);
    transaction.erase<M>(name);
    if (auto stored = transaction.commit(); !stored) {
        if (removed) {
            (void)co_await kind.build_stored(layer.volume);
        }
        co_return std::unexpected(stored.error());
    }
    context.unbuilt.erase(layer.volume);
    co_return Empty();
}

}  // namespace remora::control
