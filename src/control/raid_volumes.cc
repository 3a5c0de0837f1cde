// SPDX-License-Identifier: Apache-2.0
#include "control/raid_volumes.h"

#include <utility>

#include "control/layer_create.h"
#include "control/raid_resource.h"
#include "control/validate_raid.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Resource = api::RaidVolume;

void spell_as_stored(const std::vector<Taken>& asked, const Layer& stored, Resource& resource) {
    for (std::size_t i = 0; i < asked.size(); ++i) {
        for (const Layer::Lower& lower : stored.lowers) {
            if (lower.volume != asked[i].target.volume) {
                continue;
            }
            const auto members = static_cast<std::size_t>(resource.members_size());
            if (i < members) {
                resource.set_members(static_cast<int>(i), lower.reference);
            } else {
                resource.set_spares(static_cast<int>(i - members), lower.reference);
            }
        }
    }
}

}  // namespace

Resource RaidVolumes::shown(const Raid& object) const {
    Resource out = object.resource;
    const std::string volume = layer_of(object).volume;
    out.set_uuid(object.known.layer().uuid());
    if (const auto info = context_.node.find_volume(volume)) {
        out.set_size_bytes(info->geometry.size_bytes());
    }
    if (const auto status = context_.node.raid_status(volume)) {
        show_raid(*status, out);
    } else {
        out.set_health(Resource::HEALTH_FAILED);
    }
    return out;
}

Result<std::vector<Taken>> RaidVolumes::resolve_lowers(const Resource& resource) const {
    std::vector<Taken> out;
    const auto add = [&](const std::string& field, const std::string& reference) -> Result<void> {
        const auto target = resolve_volume(context_, reference);
        if (!target) {
            return fail(field, target.error());
        }
        for (const Taken& other : out) {
            const bool same_data = !target->uuid.is_nil() && other.target.uuid == target->uuid;
            if (other.target.volume == target->volume || same_data) {
                return fail(ErrorKind::InvalidArgument,
                            field + ": the volume " + target->volume + " is named twice (as \"" +
                                other.reference + "\" and \"" + reference +
                                "\"); each place needs a volume of its own");
            }
        }
        out.push_back({*target, reference});
        return {};
    };
    for (int i = 0; i < resource.members_size(); ++i) {
        const std::string field = "raid_volume.members[" + std::to_string(i) + "]";
        if (auto added = add(field, resource.members(i)); !added) {
            return std::unexpected(added.error());
        }
    }
    for (int i = 0; i < resource.spares_size(); ++i) {
        const std::string field = "raid_volume.spares[" + std::to_string(i) + "]";
        if (auto added = add(field, resource.spares(i)); !added) {
            return std::unexpected(added.error());
        }
    }
    return out;
}

Task<Result<Resource>> RaidVolumes::create(const api::CreateRaidVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("raid_volume_id", request.raid_volume_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate_raid(request.raid_volume()); !valid) {
        co_return std::unexpected(valid.error());
    }
    Raid made{without_output(request.raid_volume()), {}};
    made.resource.set_name("volumes/" + *id);
    const std::string name = made.resource.name();
    const LayerWords words{[this](const Resource& resource) { return resolve_lowers(resource); },
                           [](const Taken& lower) { return "raid_volume: " + lower.reference; },
                           spell_as_stored, kRaidOutput};
    if (auto created =
            co_await create_layer(context_, *this, std::move(made), request.overwrite(), words);
        !created) {
        co_return std::unexpected(created.error());
    }
    co_return shown(*context_.model.find<Resource>(name));
}

Task<Result<Empty>> RaidVolumes::remove(const api::DeleteRaidVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    co_return co_await remove_layer<Resource>(context_, *this, request.name(),
                                              request.allow_missing());
}

Task<Result<api::ListRaidVolumesResponse>> RaidVolumes::list(
    const api::ListRaidVolumesRequest& request) {
    api::ListRaidVolumesResponse response;
    auto next = list_page<Resource>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Raid& object) { *response.add_raid_volumes() = shown(object); });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Resource>> RaidVolumes::get(const api::GetRaidVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    settle();  // who waits for a rebuild by asking finds the old member free when it has ended
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return shown(**found);
}

Task<Result<api::StatsRaidVolumeResponse>> RaidVolumes::stats(
    const api::StatsRaidVolumeRequest& request) {
    co_return co_await layer_stats<Resource, api::StatsRaidVolumeResponse>(context_, request);
}

Task<Result<Resource>> RaidVolumes::scrub(const api::ScrubRaidVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    if (auto set = context_.node.scrub_raid(layer_of(**found).volume, !request.cancel()); !set) {
        co_return std::unexpected(set.error());
    }
    co_return shown(**found);
}

std::vector<Layer> RaidVolumes::stored() const {
    return layers_of<Resource>(context_.model);
}

Task<Result<void>> RaidVolumes::build_stored(std::string volume) {
    const Raid object = stored_layer<Resource>(context_.model, volume);
    const Layer layer = layer_of(object);
    node::RaidSpec spec;
    spec.name = volume;
    spec.uuid = core::Uuid::parse(layer.uuid).value_or(core::Uuid{});
    spec.level = level_of(object.resource);
    spec.chunk_bytes = chunk_of(object.resource);
    spec.background_bytes_per_second = background_rate_of(object.resource);
    spec.fresh = object.known.intent() == state::INTENT_PENDING;
    spec.overwrite = object.known.layer().overwrite();
    const auto members = static_cast<std::size_t>(object.resource.members_size());
    for (std::size_t i = 0; i < layer.lowers.size(); ++i) {
        auto& list = spec.fresh && i >= members ? spec.spares : spec.members;
        list.push_back(layer.lowers[i].volume);
    }
    const auto built = co_await context_.node.create_raid(std::move(spec));
    if (!built) {
        context_.unbuilt[volume] = {"NotBuilt", built.error().message};
        co_return std::unexpected(built.error());
    }
    co_return settle_layer(context_, object);
}

}  // namespace remora::control
