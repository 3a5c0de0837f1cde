// SPDX-License-Identifier: Apache-2.0
// RaidVolumes: which volumes belong to an array: spares, replacing, removing, settling.
#include <algorithm>
#include <utility>

#include "control/layer_create.h"
#include "control/opened.h"
#include "control/raid_resource.h"
#include "control/raid_volumes.h"
#include "control/validate_raid.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using services::raid::MemberState;

namespace {

using Resource = api::RaidVolume;
using Raid = Object<Resource>;

const FieldRules kRules{{"spares", "background_mbs"},
                        kRaidOutput,
                        "an array keeps its level, chunk and places; replace a member by "
                        "ReplaceRaidMember (remora replace-member), or make another array"};

const Layer::Lower* find_lower(const Layer& layer, const std::string& volume) {
    const auto found = std::ranges::find_if(
        layer.lowers, [&volume](const Layer::Lower& one) { return one.volume == volume; });
    return found == layer.lowers.end() ? nullptr : &*found;
}

std::size_t slots_of(const Raid& object) {
    return static_cast<std::size_t>(object.resource.members_size());
}

void keep(const Layer::Lower& lower, Raid& object) {
    state::LowerVolume& kept = *object.known.mutable_layer()->add_lowers();
    kept.set_volume(lower.volume);
    kept.set_uuid(lower.uuid);
    kept.set_reference(lower.reference);
}

/// What the array is made of now, in the resource's and the record's words. A place whose volume
/// is there and not the array's any more has none; one whose volume is away still has it. What is
/// just leaving belongs to it until it has left.
Raid settled(const Context& context, Raid object, const services::raid::RaidStatus& status) {
    const Layer layer = layer_of(object);
    const std::size_t slots = slots_of(object);
    object.resource.clear_spares();
    object.known.mutable_layer()->clear_lowers();
    for (std::size_t i = 0; i < status.members.size(); ++i) {
        const services::raid::MemberStatus& member = status.members[i];
        const Layer::Lower* lower = find_lower(layer, member.name);
        const bool left = member.state == MemberState::Missing &&
                          context.node.find_volume(member.name).has_value();
        if (lower == nullptr || left) {
            continue;  // a place without a volume keeps the words of the last
        }
        if (i < slots) {
            object.resource.set_members(static_cast<int>(i), lower->reference);
        } else if (member.state == MemberState::Spare) {
            object.resource.add_spares(lower->reference);
        }
        keep(*lower, object);
    }
    for (const Layer::Lower& lower : layer.lowers) {
        if (std::ranges::find(status.leaving, lower.volume) != status.leaving.end() &&
            find_lower(layer_of(object), lower.volume) == nullptr) {
            keep(lower, object);
        }
    }
    return object;
}

bool same_parts(const Raid& a, const Raid& b) {
    return a.resource.SerializeAsString() == b.resource.SerializeAsString() &&
           a.known.layer().SerializeAsString() == b.known.layer().SerializeAsString();
}

}  // namespace

Result<void> RaidVolumes::settle_one(Raid object) {
    const std::string volume = layer_of(object).volume;
    const auto status = context_.node.raid_status(volume);
    if (!status || status->rebuilds()) {
        return {};
    }
    Raid now = settled(context_, object, *status);
    if (!same_parts(now, object)) {
        Transaction transaction(context_.model);
        transaction.put(std::move(now));
        if (auto stored = transaction.commit(); !stored) {
            return stored;
        }
    }
    context_.node.release_raid_members(volume);
    return {};
}

void RaidVolumes::settle() {
    std::vector<Raid> arrays;
    for (const auto& [name, object] : context_.model.table<Resource>()) {
        if (object.known.intent() == state::INTENT_READY &&
            context_.locks.is_free(lock_key<Resource>(name))) {
            arrays.push_back(object);
        }
    }
    for (Raid& array : arrays) {
        const std::string name = array.resource.name();
        if (auto done = settle_one(std::move(array)); !done) {
            log::warn("what an array is made of is not stored yet", log::kv("name", name),
                      log::kv("reason", done.error().message));
        }
    }
}

Result<std::string> RaidVolumes::member_of(const Raid& object, const std::string& reference) const {
    if (auto checked = check_name("member", reference); !checked) {
        return std::unexpected(checked.error());
    }
    const Layer layer = layer_of(object);
    const auto status = context_.node.raid_status(layer.volume);
    if (!status) {
        return fail(ErrorKind::FailedPrecondition,
                    layer.volume + " is not usable now; its condition says why");
    }
    for (const Layer::Lower& lower : layer.lowers) {
        if (lower.reference == reference || lower.volume == reference) {
            return lower.volume;
        }
    }
    if (const auto target = resolve_volume(context_, reference);
        target && find_lower(layer, target->volume) != nullptr) {
        return target->volume;
    }
    // A place whose volume was removed is still called by its last one's name. While a member is
    // rebuilt there are more entries than places.
    for (std::size_t i = 0; i < slots_of(object) && i < status->members.size(); ++i) {
        if (!status->rebuilds() && object.resource.members(static_cast<int>(i)) == reference) {
            return status->members[i].name;
        }
    }
    std::vector<std::string> names(object.resource.members().begin(),
                                   object.resource.members().end());
    std::ranges::copy(object.resource.spares(), std::back_inserter(names));
    return fail(ErrorKind::NotFound, "\"" + reference + "\" is no member of " + layer.volume +
                                         "; its members are " + join_names(names));
}

Result<void> RaidVolumes::announce(const std::string& name, const Taken& taken) {
    Raid object = *context_.model.find<Resource>(name);
    if (find_lower(layer_of(object), taken.target.volume) != nullptr) {
        return {};
    }
    Transaction transaction(context_.model);
    take_lower(context_, taken, *object.known.mutable_layer(), transaction);
    transaction.put(std::move(object));
    return transaction.commit();
}

Task<Result<void>> RaidVolumes::take_spare(std::string name, Taken spare) {
    const std::string volume = layer_of(*context_.model.find<Resource>(name)).volume;
    if (auto may = check_may_take(context_, "raid_volume.spares", spare.target, volume); !may) {
        co_return may;
    }
    if (auto announced = announce(name, spare); !announced) {
        co_return announced;
    }
    co_return co_await context_.node.add_raid_spare(volume, spare.target.volume);
}

Task<Result<void>> RaidVolumes::change_spares(Raid object) {
    const std::string name = object.resource.name();
    const Layer layer = layer_of(object);
    std::vector<std::string> wanted;
    for (const std::string& reference : object.resource.spares()) {
        if (const auto member = member_of(object, reference); member) {
            wanted.push_back(*member);
            continue;
        }
        auto target = resolve_volume(context_, reference);
        if (!target) {
            co_return fail("raid_volume.spares", target.error());
        }
        wanted.push_back(target->volume);
        if (auto taken = co_await take_spare(name, {std::move(*target), reference}); !taken) {
            co_return taken;
        }
    }
    const auto status = context_.node.raid_status(layer.volume);
    for (std::size_t i = 0; status && i < status->members.size(); ++i) {
        const services::raid::MemberStatus& member = status->members[i];
        const bool spare = i >= slots_of(object) && member.state == MemberState::Spare;
        if (spare && std::ranges::find(wanted, member.name) == wanted.end()) {
            if (auto gone = co_await context_.node.remove_raid_member(layer.volume, member.name);
                !gone) {
                co_return gone;
            }
        }
    }
    co_return Result<void>();
}

Task<Result<Resource>> RaidVolumes::update(const api::UpdateRaidVolumeRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    Resource patch = without_output(request.raid_volume());
    Resource spares;
    *spares.mutable_spares() = patch.spares();
    auto opened = co_await open_object<Resource>(
        context_, patch.name(),
        [locks = locks_of(resolve_lowers(spares))](const Raid& /*array*/) { return locks; });
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    Raid updated = opened->object;
    if (auto applied = apply_update(updated.resource, patch, request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto valid = validate_raid(updated.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    const std::string name = updated.resource.name();
    if (auto changed = co_await change_spares(updated); !changed) {
        (void)settle_one(*context_.model.find<Resource>(name));
        co_return std::unexpected(changed.error());
    }
    Raid now = *context_.model.find<Resource>(name);
    now.resource.set_background_mbs(updated.resource.background_mbs());
    Transaction transaction(context_.model);
    transaction.put(now);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    context_.node.set_raid_rate(layer_of(now).volume, background_rate_of(now.resource));
    if (auto done = settle_one(now); !done) {
        co_return std::unexpected(done.error());
    }
    co_return shown(*context_.model.find<Resource>(name));
}

Task<Result<Resource>> RaidVolumes::replace_member(const api::ReplaceRaidMemberRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const bool same = request.replacement().empty();
    Resource asked;
    asked.add_members(same ? request.member() : request.replacement());
    auto with = resolve_lowers(asked);
    if (!with) {
        co_return fail(same ? "member" : "replacement", with.error());
    }
    auto opened = co_await open_object<Resource>(
        context_, request.name(),
        [locks = locks_of(with)](const Raid& /*array*/) { return locks; });
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    const std::string name = opened->object.resource.name();
    const auto member = member_of(opened->object, request.member());
    if (!member) {
        co_return std::unexpected(member.error());
    }
    Taken taken = with->front();
    const std::string volume = layer_of(opened->object).volume;
    if (find_lower(layer_of(opened->object), taken.target.volume) == nullptr) {
        if (auto may = check_may_take(context_, "replacement", taken.target, volume); !may) {
            co_return std::unexpected(may.error());
        }
    }
    if (auto announced = announce(name, taken); !announced) {
        co_return std::unexpected(announced.error());
    }
    auto begun = co_await context_.node.replace_raid_member(volume, *member, taken.target.volume);
    if (auto done = settle_one(*context_.model.find<Resource>(name)); begun && !done) {
        begun = done;
    }
    if (!begun) {
        co_return std::unexpected(begun.error());
    }
    co_return shown(*context_.model.find<Resource>(name));
}

Task<Result<Resource>> RaidVolumes::remove_member(const api::RemoveRaidMemberRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    auto opened = co_await open_object<Resource>(context_, request.name(), no_more_locks<Resource>);
    if (!opened) {
        co_return std::unexpected(opened.error());
    }
    const auto member = member_of(opened->object, request.member());
    if (!member) {
        co_return std::unexpected(member.error());
    }
    const std::string name = opened->object.resource.name();
    if (auto gone =
            co_await context_.node.remove_raid_member(layer_of(opened->object).volume, *member);
        !gone) {
        co_return std::unexpected(gone.error());
    }
    if (auto done = settle_one(*context_.model.find<Resource>(name)); !done) {
        co_return std::unexpected(done.error());
    }
    co_return shown(*context_.model.find<Resource>(name));
}

}  // namespace remora::control
