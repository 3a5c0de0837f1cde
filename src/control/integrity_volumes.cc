// SPDX-License-Identifier: Apache-2.0
#include "control/integrity_volumes.h"

#include <utility>

#include "control/background_rate.h"
#include "control/layer_create.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Resource = api::IntegrityVolume;

const std::vector<std::string_view> kOutputOnly{"uuid", "size_bytes", "mismatches", "first_bad_lba",
                                                "work"};
const FieldRules kRules{{"scrub_mbs"},
                        kOutputOnly,
                        "its checksums lie in that volume; make another integrity volume and copy "
                        "it over"};

Resource without_output(Resource resource) {
    resource.clear_uuid();
    resource.clear_size_bytes();
    resource.clear_mismatches();
    resource.clear_first_bad_lba();
    resource.clear_work();
    return resource;
}

Result<void> check_rate(const Resource& resource) {
    return check_background_rate("integrity_volume.scrub_mbs", resource.scrub_mbs());
}

std::string volume_of(const Object<Resource>& object) {
    return node_volume_name<Resource>(object.resource.name());
}

Result<std::vector<Taken>> resolve_lower(const Context& context, const Resource& resource) {
    auto target = resolve_volume(context, resource.volume_name_ref());
    if (!target) {
        return std::unexpected(target.error());
    }
    return std::vector<Taken>{{std::move(*target), resource.volume_name_ref()}};
}

void spell_as_stored(const std::vector<Taken>& asked, const Layer& stored, Resource& resource) {
    if (asked.front().target.volume == stored.lowers.front().volume) {
        resource.set_volume_name_ref(stored.lowers.front().reference);
    }
}

}  // namespace

Resource IntegrityVolumes::shown(const Integrity& object) const {
    Resource out = object.resource;
    out.set_uuid(object.known.layer().uuid());
    const std::string volume = volume_of(object);
    if (const auto info = context_.node.find_volume(volume)) {
        out.set_size_bytes(info->geometry.size_bytes());
    }
    if (const auto status = context_.node.integrity_status(volume)) {
        out.set_mismatches(status->mismatches);
        if (status->first_bad_lba) {
            out.set_first_bad_lba(*status->first_bad_lba);
        }
        if (status->scrub.running) {
            const auto info = context_.node.find_volume(volume);
            const std::uint64_t block = info ? info->geometry.block_size : 0;
            out.mutable_work()->set_kind(api::BackgroundWork::KIND_SCRUB);
            out.mutable_work()->set_done_bytes(status->scrub.done_blocks * block);
            out.mutable_work()->set_total_bytes(status->scrub.total_blocks * block);
        }
    }
    return out;
}

Task<Result<Resource>> IntegrityVolumes::create(const api::CreateIntegrityVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("integrity_volume_id", request.integrity_volume_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto rate = check_rate(request.integrity_volume()); !rate) {
        co_return std::unexpected(rate.error());
    }
    Integrity made{without_output(request.integrity_volume()), {}};
    made.resource.set_name("volumes/" + *id);
    const std::string name = made.resource.name();
    const LayerWords words{
        [this](const Resource& resource) { return resolve_lower(context_, resource); },
        [](const Taken& /*lower*/) { return std::string("integrity_volume.volume_name_ref"); },
        spell_as_stored, kOutputOnly};
    if (auto created =
            co_await create_layer(context_, *this, std::move(made), request.overwrite(), words);
        !created) {
        co_return std::unexpected(created.error());
    }
    co_return shown(*context_.model.find<Resource>(name));
}

Task<Result<Empty>> IntegrityVolumes::remove(const api::DeleteIntegrityVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    co_return co_await remove_layer<Resource>(context_, *this, request.name(),
                                              request.allow_missing());
}

Task<Result<Resource>> IntegrityVolumes::update(const api::UpdateIntegrityVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.integrity_volume().name(),
                                                 no_more_locks<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Integrity updated = opened->object;
    Resource patch = without_output(request.integrity_volume());
    const auto target = resolve_volume(context_, patch.volume_name_ref());
    if (target && target->volume == layer_of(updated).lowers.front().volume) {
        patch.set_volume_name_ref(updated.resource.volume_name_ref());  // another spelling
    }
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto rate = check_rate(updated.resource); !rate) {
        co_return std::unexpected(rate.error());
    }
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    context_.node.set_integrity_scrub_rate(volume_of(updated),
                                           updated.resource.scrub_mbs() * core::kMiB);
    co_return shown(updated);
}

Task<Result<api::ListIntegrityVolumesResponse>> IntegrityVolumes::list(
    const api::ListIntegrityVolumesRequest& request) {
    api::ListIntegrityVolumesResponse response;
    auto next = list_page<Resource>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Integrity& object) { *response.add_integrity_volumes() = shown(object); });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Resource>> IntegrityVolumes::get(const api::GetIntegrityVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return shown(**found);
}

Task<Result<api::StatsIntegrityVolumeResponse>> IntegrityVolumes::stats(
    const api::StatsIntegrityVolumeRequest& request) {
    co_return co_await layer_stats<Resource, api::StatsIntegrityVolumeResponse>(context_, request);
}

Task<Result<Resource>> IntegrityVolumes::scrub(const api::ScrubIntegrityVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Resource>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    if (auto set = context_.node.scrub_integrity(volume_of(**found), !request.cancel()); !set) {
        co_return std::unexpected(set.error());
    }
    co_return shown(**found);
}

std::vector<Layer> IntegrityVolumes::stored() const {
    return layers_of<Resource>(context_.model);
}

Task<Result<void>> IntegrityVolumes::build_stored(std::string volume) {
    const Integrity object = stored_layer<Resource>(context_.model, volume);
    const state::Layer& known = object.known.layer();
    node::IntegritySpec spec;
    spec.name = volume;
    spec.uuid = core::Uuid::parse(known.uuid()).value_or(core::Uuid{});
    spec.lower = layer_of(object).lowers.front().volume;
    spec.fresh = object.known.intent() == state::INTENT_PENDING;
    spec.overwrite = known.overwrite();
    const bool below = context_.node.find_volume(spec.lower).has_value();
    const auto built = co_await context_.node.create_integrity(std::move(spec));
    if (!built) {
        context_.unbuilt[volume] = {below ? "NotBuilt" : "NoVolume", built.error().message};
        co_return std::unexpected(built.error());
    }
    context_.node.set_integrity_scrub_rate(volume, object.resource.scrub_mbs() * core::kMiB);
    co_return settle_layer(context_, object);
}

}  // namespace remora::control
