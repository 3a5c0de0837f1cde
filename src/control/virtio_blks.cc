// SPDX-License-Identifier: Apache-2.0
#include "control/virtio_blks.h"

#include <utility>

#include "control/minima.h"
#include "control/references.h"
#include "control/remotes.h"
#include "control/validate_disk.h"
#include "control/validate_qos.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Disk = opi::VirtioBlk;

const FieldRules kRules{
    {"max_limit", "min_limit"}, {}, "the host uses it; delete the device and create another"};

constexpr std::string_view kMinimum = "virtio_blk.min_limit";

Result<void> check_free(const Context& context, const Disk& disk, const VolumeTarget& target) {
    if (auto free = check_free_function(context.model, function_of(disk)); !free) {
        return free;
    }
    if (auto own = check_not_of_attachment(context, target); !own) {
        return own;
    }
    return check_unused(context, target.volume, target.uuid);
}

}  // namespace

Task<Result<Disk>> VirtioBlks::create(const opi::CreateVirtioBlkRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("virtio_blk_id", request.virtio_blk_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    const auto places = context_.host.function_counts();
    if (auto valid = validate(request.virtio_blk(), places); !valid) {
        co_return std::unexpected(valid.error());
    }
    Object<Disk> disk{request.virtio_blk(), {}};
    disk.resource.set_name("volumes/" + *id);
    const auto target = resolve_volume(context_, disk.resource.volume_name_ref());
    if (!target) {
        co_return std::unexpected(target.error());
    }
    // The UUID too: the same remote volume may be attached, or reached through another controller.
    auto held = co_await context_.lock({lock_key<Disk>(disk.resource.name()),
                                        function_key(function_of(disk.resource)), target->lock,
                                        uuid_key(target->uuid)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    if (const auto* existing = context_.model.find<Disk>(disk.resource.name())) {
        if (existing->known.intent() == state::INTENT_READY) {
            if (existing->known.volume() == target->volume) {
                disk.resource.set_volume_name_ref(existing->resource.volume_name_ref());
            }
            co_return answer_existing(existing->resource, disk.resource);
        }
        co_return fail(ErrorKind::FailedPrecondition,
                       spoken_name(disk.resource) + " is being removed; try again");
    }
    const auto again = resolve_volume(context_, disk.resource.volume_name_ref());
    if (!again || again->volume != target->volume) {
        co_return fail(ErrorKind::NotFound,
                       "the volume " + disk.resource.volume_name_ref() + " was deleted meanwhile");
    }
    if (auto free = check_free(context_, disk.resource, *again); !free) {
        co_return std::unexpected(free.error());
    }
    disk.known.set_volume(again->volume);
    disk.known.set_queues(disks_.queues_for(disk.resource));
    disk.known.set_intent(state::INTENT_PENDING);
    if (auto kept = check_minima(kMinimum, context_.model, {.disk = &disk}); !kept) {
        co_return std::unexpected(kept.error());
    }
    Transaction transaction(context_.model);
    transaction.put(disk);
    keep_remote_namespaces(context_, again->remote, transaction);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_return co_await devices_.raise(std::move(disk));
}

Task<Result<Empty>> VirtioBlks::remove(const opi::DeleteVirtioBlkRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto first = lookup<Disk>(context_.model, request.name());
    if (!first) {
        if (first.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(first.error());
    }
    const Object<Disk> seen = **first;
    const std::string name = seen.resource.name();
    auto held = co_await context_.lock(devices_.locks_of(seen.resource));
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context_.model.find_same(seen);
    if (found == nullptr) {
        if (request.allow_missing()) {
            co_return Empty();
        }
        co_return fail(ErrorKind::NotFound, spoken_name(seen.resource) + " was deleted meanwhile");
    }
    if (auto free = check_not_attached("virtio-blk device", name, found->known); !free) {
        co_return std::unexpected(free.error());
    }
    const Object<Disk> disk = *found;
    if (auto done = co_await devices_.take_away(disk); !done) {
        co_return std::unexpected(done.error());
    }
    co_return Empty();
}

Task<Result<Disk>> VirtioBlks::update(const opi::UpdateVirtioBlkRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto first = lookup<Disk>(context_.model, request.virtio_blk().name());
    if (!first) {
        co_return std::unexpected(first.error());
    }
    const Object<Disk> seen = **first;
    const std::string name = seen.resource.name();
    auto held = co_await context_.lock({lock_key<Disk>(name)});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context_.model.find_same(seen);
    if (found == nullptr || found->known.intent() != state::INTENT_READY) {
        co_return fail(ErrorKind::NotFound, spoken_name(seen.resource) + " was deleted meanwhile");
    }
    Object<Disk> updated = *found;
    if (auto applied =
            apply_update(updated.resource, request.virtio_blk(), request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    if (auto valid = check_limits(updated.resource); !valid) {
        co_return std::unexpected(valid.error());
    }
    if (auto kept = check_minima(kMinimum, context_.model, {.disk = &updated}); !kept) {
        co_return std::unexpected(kept.error());
    }
    const auto rates = read_rates("virtio_blk.max_limit", updated.resource.max_limit());
    Transaction transaction(context_.model);
    transaction.put(updated);
    if (auto stored = transaction.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    co_await renew_competition(context_);
    const std::string id(last_segment(name));
    auto set = co_await context_.node.set_vhost_blk_rates(id, *rates);
    if (!set && set.error().kind != ErrorKind::NotFound) {  // not served now: later with these
        co_return std::unexpected(set.error());
    }
    co_return updated.resource;
}

Task<Result<opi::ListVirtioBlksResponse>> VirtioBlks::list(
    const opi::ListVirtioBlksRequest& request) {
    opi::ListVirtioBlksResponse response;
    auto next = list_page<Disk>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Object<Disk>& object) { *response.add_virtio_blks() = object.resource; });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Disk>> VirtioBlks::get(const opi::GetVirtioBlkRequest& request) {
    co_return get_resource<Disk>(context_.model, request);
}

Task<Result<opi::StatsVirtioBlkResponse>> VirtioBlks::stats(
    const opi::StatsVirtioBlkRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Disk>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const std::string id(last_segment((*found)->resource.name()));
    const auto counted = co_await context_.node.vhost_blk_stats(id);
    if (!counted) {
        co_return std::unexpected(counted.error());
    }
    opi::StatsVirtioBlkResponse response;
    *response.mutable_stats() = to_opi_stats(*counted);
    co_return response;
}

}  // namespace remora::control
