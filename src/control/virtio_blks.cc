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

std::string spoken_name(const std::string& name) {
    return "virtioBlks/" + std::string(last_segment(name));
}

Result<void> check_free(const Context& context, const Disk& disk, const VolumeTarget& target) {
    const std::uint32_t function = function_of(disk);
    if (const auto* holder = disk_on_function(context.model, function)) {
        const std::string& attachment = holder->known.attachment();
        return fail(ErrorKind::AlreadyExists,
                    "host function " + std::to_string(function) + " is in use by " +
                        (attachment.empty() ? spoken_name(holder->resource.name()) : attachment));
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
    const auto places = context_.host.function_count();
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
                       spoken_name(disk.resource.name()) + " is being removed; try again");
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
    co_return co_await raise(std::move(disk));
}

Task<Result<Disk>> VirtioBlks::raise(Object<Disk> disk) {
    co_await renew_competition(context_);
    const auto address = co_await disks_.raise(disk);
    Result<void> outcome;
    if (address) {
        disk.known.set_intent(state::INTENT_READY);
        Transaction ready(context_.model);
        ready.put(disk);
        outcome = ready.commit();
    } else {
        outcome = std::unexpected(address.error());
    }
    if (!outcome) {
        // It is still pending in the store; when undoing fails too, the reconciler goes on trying.
        context_.unfinished = true;
        const bool plugged = address || address.error().kind == ErrorKind::DeadlineExceeded;
        if (auto undone = co_await lower(disk.resource.name(), plugged); !undone) {
            log::warn("undoing a device did not succeed yet", log::kv("name", disk.resource.name()),
                      log::kv("reason", undone.error().message));
        }
        co_return std::unexpected(outcome.error());
    }
    co_return disk.resource;
}

/// Takes the device away and forgets it. The caller holds its locks. `plugged` false: the host has
/// not got it, as far as is known, and need not be asked.
Task<Result<void>> VirtioBlks::lower(std::string name, bool plugged) {
    const Disk disk = context_.model.find<Disk>(name)->resource;
    if (plugged) {
        if (auto unplugged = co_await disks_.unplug(function_of(disk)); !unplugged) {
            co_return unplugged;
        }
    }
    if (auto ended = co_await disks_.unserve(disk); !ended) {
        co_return ended;
    }
    Transaction transaction(context_.model);
    transaction.erase<Disk>(name);
    if (auto stored = transaction.commit(); !stored) {
        co_return stored;
    }
    context_.unserved.erase(name);
    co_await renew_competition(context_);
    co_return Result<void>();
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
    auto held =
        co_await context_.lock({lock_key<Disk>(name), function_key(function_of(seen.resource))});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = context_.model.find_same(seen);
    if (found == nullptr) {
        if (request.allow_missing()) {
            co_return Empty();
        }
        co_return fail(ErrorKind::NotFound, spoken_name(name) + " was deleted meanwhile");
    }
    if (auto free = check_not_attached("virtio-blk device", name, found->known); !free) {
        co_return std::unexpected(free.error());
    }
    Object<Disk> disk = *found;
    disk.known.set_intent(state::INTENT_REMOVING);
    Transaction removing(context_.model);
    removing.put(disk);
    if (auto stored = removing.commit(); !stored) {
        co_return std::unexpected(stored.error());
    }
    Result<void> done = co_await disks_.unplug(function_of(disk.resource));
    if (!done) {
        // The host did not let go: it stands as before, and can be deleted again.
        disk.known.set_intent(state::INTENT_READY);
        Transaction back(context_.model);
        back.put(disk);
        (void)back.commit();
    } else {
        done = co_await lower(name, false);
    }
    if (!done) {
        context_.unfinished = true;
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
        co_return fail(ErrorKind::NotFound, spoken_name(name) + " was deleted meanwhile");
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

Task<> VirtioBlks::rebuild(Patience& patience) {
    // Also those on their way out: the host may have them until the reconciler has taken them away,
    // and a guest does not let go of a disk whose requests nobody answers.
    for (const auto& [name, object] : context_.model.table<Disk>()) {
        auto served = co_await disks_.serve(object);
        while (!served && co_await patience.again(served.error())) {
            served = co_await disks_.serve(object);
        }
        if (!served) {
            log::warn("not served yet", log::kv("name", spoken_name(name)),
                      log::kv("reason", served.error().message));
            context_.unserved[name] = served.error().message;
        }
    }
}

Task<bool> VirtioBlks::serve_unserved() {
    std::vector<std::pair<std::string, std::uint32_t>> names;
    for (const auto& [name, object] : context_.model.table<Disk>()) {
        if (context_.unserved.contains(name)) {
            names.emplace_back(name, function_of(object.resource));
        }
    }
    bool all = true;
    for (const auto& [name, function] : names) {
        auto held = co_await context_.lock({lock_key<Disk>(name), function_key(function)});
        const auto* found = held ? context_.model.find<Disk>(name) : nullptr;
        if (found == nullptr || !context_.unserved.contains(name)) {
            all = all && held.has_value();
            continue;
        }
        const Object<Disk> disk = *found;
        const auto served = co_await disks_.serve(disk);
        if (served) {
            log::info("served at last", log::kv("name", spoken_name(name)));
            context_.unserved.erase(name);
        } else {
            context_.unserved[name] = served.error().message;
        }
        all = all && served.has_value();
    }
    co_return all;
}

Task<bool> VirtioBlks::finish_removals() {
    std::vector<std::pair<std::string, std::uint32_t>> left;
    for (const auto& [name, object] : context_.model.table<Disk>()) {
        if (object.known.intent() != state::INTENT_READY && object.known.attachment().empty()) {
            left.emplace_back(name, function_of(object.resource));
        }
    }
    bool all = true;
    for (const auto& [name, function] : left) {
        auto held = co_await context_.lock({lock_key<Disk>(name), function_key(function)});
        const auto* found = held ? context_.model.find<Disk>(name) : nullptr;
        if (found == nullptr || found->known.intent() == state::INTENT_READY) {
            all = all && held.has_value();
            continue;
        }
        const auto lowered = co_await lower(name, true);
        all = all && lowered.has_value();
    }
    co_return all;
}

}  // namespace remora::control
