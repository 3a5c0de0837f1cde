// SPDX-License-Identifier: Apache-2.0
// NVMe namespaces of OPI's API: a volume shown in a subsystem.
#include <algorithm>
#include <cstring>
#include <map>
#include <set>

#include "control/child_calls.h"
#include "control/minima.h"
#include "control/references.h"
#include "control/remotes.h"
#include "control/reservations.h"
#include "control/subsystems.h"
#include "control/uncorrectable.h"
#include "control/validate_nvme.h"
#include "control/validate_volume.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

using Namespace = opi::NvmeNamespace;

constexpr std::string_view kVolume = "nvme_namespace.spec.volume_name_ref";

const FieldRules kRules{
    {}, {"status"}, "hosts see the volume under it; delete the namespace and create another"};

std::string hex(const std::array<unsigned char, 16>& bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    std::string text;
    for (const unsigned char byte : bytes) {
        text.push_back(kHex[byte >> 4U]);
        text.push_back(kHex[byte & 0xfU]);
    }
    return text;
}

/// The request in the spellings that are stored, so that equal things compare equal.
Namespace comparable(Namespace asked,
                     const Object<Namespace>& existing,
                     const std::string& volume) {
    opi::NvmeNamespaceSpec& spec = *asked.mutable_spec();
    if (existing.known.volume() == volume) {
        spec.set_volume_name_ref(existing.resource.spec().volume_name_ref());
    }
    if (const auto uuid = core::Uuid::parse(spec.uuid())) {
        spec.set_uuid(uuid->text());
    }
    if (!spec.nguid().empty()) {
        spec.set_nguid(hex(*read_nguid(spec.nguid())));
    }
    return asked;
}

/// Hosts may share a volume by several namespaces, but not with a disk of this host, nor with a
/// benchmark that overwrites it.
Result<void> check_may_show(const Context& context,
                            const std::string& reference,
                            const VolumeTarget& target) {
    const auto disks = disks_on_volume(context.model, target.volume);
    if (!disks.empty()) {
        return fail(ErrorKind::FailedPrecondition,
                    "the volume " + reference + " is the local host's disk " + join_names(disks));
    }
    if (const std::string layer = layer_on(context.model, target.volume); !layer.empty()) {
        return fail(ErrorKind::FailedPrecondition,
                    "the volume " + reference + " is what " + layer +
                        " is made of, which has it for itself; show that one");
    }
    if (context.overwritten.contains(target.volume)) {
        return fail(ErrorKind::FailedPrecondition,
                    "the volume " + reference + " is being overwritten by a benchmark");
    }
    return check_not_of_attachment(context, target);
}

/// The UUID that hosts see.
std::string shown_uuid(const opi::NvmeNamespaceSpec& spec, const core::Uuid& volume) {
    const auto uuid = core::Uuid::parse(spec.uuid());
    return uuid ? uuid->text() : volume.text();
}

std::int64_t greatest_nsid(const Object<opi::NvmeSubsystem>& subsystem) {
    const std::int64_t asked = subsystem.resource.spec().max_namespaces();
    return asked > 0 ? asked : kMostNamespaces;
}

/// A free identifier for the volume. A host that has not noticed yet that a namespace is gone would
/// write to whatever volume is shown under its identifier now; so one that has shown a volume is
/// kept for that volume, until no other is left: then the longest free is taken.
std::int32_t free_nsid(const std::map<std::int32_t, std::string>& taken,
                       const Object<opi::NvmeSubsystem>& subsystem,
                       const std::string& uuid) {
    std::set<std::int32_t> retired;
    for (const state::KnownNamespace& one : subsystem.known.retired_namespaces()) {
        const auto nsid = static_cast<std::int32_t>(one.nsid());
        if (one.uuid() == uuid && !taken.contains(nsid)) {
            return nsid;
        }
        retired.insert(nsid);
    }
    const std::int64_t limit = greatest_nsid(subsystem);
    std::int32_t nsid = 1;
    while (taken.contains(nsid) || retired.contains(nsid)) {
        ++nsid;
    }
    if (nsid <= limit) {
        return nsid;
    }
    for (const state::KnownNamespace& one : subsystem.known.retired_namespaces()) {
        if (!taken.contains(static_cast<std::int32_t>(one.nsid()))) {
            return static_cast<std::int32_t>(one.nsid());
        }
    }
    return nsid;  // The data plane says that there are no more.
}

/// Takes the asked namespace identifier, or a free one, of those the store has not given to
/// another: one whose volume could not be built has none on the data plane, and keeps its own.
Result<void> choose_nsid(const Model& model,
                         const Object<opi::NvmeSubsystem>& subsystem,
                         const core::Uuid& volume,
                         opi::NvmeNamespaceSpec& spec) {
    std::map<std::int32_t, std::string> taken;
    for (const std::string& name : children_of<Namespace>(model, subsystem.resource.name())) {
        taken[model.find<Namespace>(name)->resource.spec().host_nsid()] = name;
    }
    const std::int64_t most = greatest_nsid(subsystem);
    if (spec.host_nsid() > most) {
        return fail(ErrorKind::InvalidArgument, "host_nsid: " + std::to_string(spec.host_nsid()) +
                                                    " is too large; " + subsystem.resource.name() +
                                                    " has 1 to " + std::to_string(most));
    }
    const auto holder = taken.find(spec.host_nsid());
    if (spec.host_nsid() != 0 && holder != taken.end()) {
        return fail(ErrorKind::AlreadyExists, "host_nsid: " + std::to_string(spec.host_nsid()) +
                                                  " is that of " + holder->second +
                                                  "; leave it out to have one chosen");
    }
    if (spec.host_nsid() == 0) {
        spec.set_host_nsid(free_nsid(taken, subsystem, shown_uuid(spec, volume)));
    }
    return {};
}

/// The subsystem with the identifier among the retired ones, for `uuid`, or no more (empty).
Object<opi::NvmeSubsystem> retire(Object<opi::NvmeSubsystem> subsystem,
                                  std::uint32_t nsid,
                                  const std::string& uuid) {
    auto& retired = *subsystem.known.mutable_retired_namespaces();
    const auto same = [nsid](const state::KnownNamespace& one) { return one.nsid() == nsid; };
    retired.erase(std::remove_if(retired.begin(), retired.end(), same), retired.end());
    if (!uuid.empty()) {
        state::KnownNamespace& added = *retired.Add();
        added.set_nsid(nsid);
        added.set_uuid(uuid);
    }
    return subsystem;
}

/// What the server says about a namespace it has made.
void fill_in(Namespace& space, std::uint32_t nsid, const core::Uuid& volume) {
    opi::NvmeNamespaceSpec& spec = *space.mutable_spec();
    spec.set_host_nsid(static_cast<std::int32_t>(nsid));
    spec.set_uuid(shown_uuid(spec, volume));
    if (!spec.nguid().empty()) {
        spec.set_nguid(hex(*read_nguid(spec.nguid())));
    }
    space.mutable_status()->set_state(opi::NvmeNamespaceStatus::STATE_ENABLED);
    space.mutable_status()->set_oper_state(opi::NvmeNamespaceStatus::OPER_STATE_ONLINE);
}

/// One that is built.
Result<void> store(Context& context,
                   const Object<Namespace>& space,
                   const Object<opi::NvmeSubsystem>& parent,
                   const std::string& remote) {
    // Again: another call may have been promised something meanwhile.
    if (auto kept = check_minima(kVolume, context.model, {.space = &space}); !kept) {
        return kept;
    }
    Transaction transaction(context.model);
    transaction.put(space);
    const auto nsid = static_cast<std::uint32_t>(space.resource.spec().host_nsid());
    if (auto now = retire(parent, nsid, "");
        now.known.retired_namespaces_size() != parent.known.retired_namespaces_size()) {
        transaction.put(std::move(now));
    }
    keep_remote_namespaces(context, remote, transaction);
    return transaction.commit();
}

}  // namespace

Task<Result<std::uint32_t>> Subsystems::build_namespace(const Object<Namespace>& object,
                                                        const std::string& nqn) {
    const opi::NvmeNamespaceSpec& spec = object.resource.spec();
    node::NamespaceSpec wanted;
    wanted.nqn = nqn;
    wanted.nsid = static_cast<std::uint32_t>(spec.host_nsid());
    wanted.volume = object.known.volume();
    wanted.uuid = core::Uuid::parse(spec.uuid()).value_or(core::Uuid{});
    wanted.nguid = read_nguid(spec.nguid()).value_or(std::array<unsigned char, 16>{});
    wanted.eui64 = static_cast<std::uint64_t>(spec.eui64());
    // Hosts that rely on a reservation would be without it: rather no namespace at all.
    auto reservation = read_reservation(object.known);
    if (!reservation) {
        co_return std::unexpected(reservation.error());
    }
    wanted.reservation = std::move(*reservation);
    // The same: what they know to be bad would read as good.
    auto uncorrectable = read_uncorrectable(object.known);
    if (!uncorrectable) {
        co_return std::unexpected(uncorrectable.error());
    }
    wanted.uncorrectable = std::move(*uncorrectable);
    co_return co_await context_.node.add_namespace(wanted);
}

Task<Result<Namespace>> Subsystems::create_namespace(
    const opi::CreateNvmeNamespaceRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto id = choose_id("nvme_namespace_id", request.nvme_namespace_id(), context_.prng);
    if (!id) {
        co_return std::unexpected(id.error());
    }
    if (auto valid = validate(request.nvme_namespace()); !valid) {
        co_return std::unexpected(valid.error());
    }
    const auto parent = parent_name<opi::NvmeSubsystem>(context_.model, request.parent());
    if (!parent) {
        co_return std::unexpected(parent.error());
    }
    Object<Namespace> space{request.nvme_namespace(), {}};
    space.resource.set_name(*parent + "/nvmeNamespaces/" + *id);
    const std::string reference = space.resource.spec().volume_name_ref();
    const auto target = resolve_volume(context_, reference);
    if (!target) {
        co_return std::unexpected(target.error());
    }
    auto held = co_await context_.lock({lock_key<opi::NvmeSubsystem>(*parent), target->lock});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* subsystem = context_.model.find<opi::NvmeSubsystem>(*parent);
    if (subsystem == nullptr) {
        co_return fail(ErrorKind::NotFound, *parent + " was deleted meanwhile");
    }
    if (auto free = check_not_attached("subsystem", *parent, subsystem->known); !free) {
        co_return std::unexpected(free.error());
    }
    if (const auto* existing = context_.model.find<Namespace>(space.resource.name())) {
        co_return answer_existing(
            existing->resource, comparable(space.resource, *existing, target->volume), {"status"});
    }
    const Object<opi::NvmeSubsystem> parent_now = *subsystem;
    const std::string nqn = parent_now.resource.spec().nqn();
    // The wait for the locks may have outlived the volume.
    const auto again = resolve_volume(context_, reference);
    if (!again || again->volume != target->volume) {
        co_return fail(ErrorKind::NotFound, "the volume " + reference + " was deleted meanwhile");
    }
    if (auto may = check_may_show(context_, reference, *again); !may) {
        co_return std::unexpected(may.error());
    }
    if (auto free =
            choose_nsid(context_.model, parent_now, target->uuid, *space.resource.mutable_spec());
        !free) {
        co_return std::unexpected(free.error());
    }
    space.known.set_volume(target->volume);
    if (auto kept = check_minima(kVolume, context_.model, {.space = &space}); !kept) {
        co_return std::unexpected(kept.error());
    }
    const auto nsid = co_await build_namespace(space, nqn);
    if (!nsid) {
        co_return std::unexpected(nsid.error());
    }
    fill_in(space.resource, *nsid, target->uuid);
    if (auto stored = store(context_, space, parent_now, again->remote); !stored) {
        (void)co_await context_.node.remove_namespace(nqn, *nsid);
        co_return std::unexpected(stored.error());
    }
    co_await renew_competition(context_);
    co_return space.resource;
}

Task<Result<Empty>> Subsystems::delete_namespace(const opi::DeleteNvmeNamespaceRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (auto checked = check_name("name", request.name()); !checked) {
        co_return std::unexpected(checked.error());
    }
    const auto parts = split_child("nvmeNamespaces", request.name());
    auto held = co_await context_.lock(
        {lock_key<opi::NvmeSubsystem>(parts ? parts->first : request.name())});
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto found = lookup<Namespace>(context_.model, request.name());
    if (!found) {
        if (found.error().kind == ErrorKind::NotFound && request.allow_missing()) {
            co_return Empty();
        }
        co_return std::unexpected(found.error());
    }
    const Object<Namespace> before = **found;
    if (auto free = check_not_attached("namespace", before.resource.name(), before.known); !free) {
        co_return std::unexpected(free.error());
    }
    const auto* subsystem =
        context_.model.find<opi::NvmeSubsystem>(parent_of(before.resource.name()));
    const std::string nqn = subsystem == nullptr ? "" : subsystem->resource.spec().nqn();
    const auto removed = co_await context_.node.remove_namespace(
        nqn, static_cast<std::uint32_t>(before.resource.spec().host_nsid()));
    if (!removed && removed.error().kind != ErrorKind::NotFound) {
        co_return std::unexpected(removed.error());
    }
    Transaction transaction(context_.model);
    transaction.erase<Namespace>(before.resource.name());
    if (const auto* parent =
            context_.model.find<opi::NvmeSubsystem>(parent_of(before.resource.name()))) {
        const opi::NvmeNamespaceSpec& spec = before.resource.spec();
        transaction.put(retire(*parent, static_cast<std::uint32_t>(spec.host_nsid()), spec.uuid()));
    }
    if (auto stored = transaction.commit(); !stored) {
        // As it is now: hosts may have changed its reservation, or marks, while this waited.
        if (const auto* now = context_.model.find_same(before)) {
            const Object<Namespace> again = *now;
            (void)co_await build_namespace(again, nqn);
        }
        co_return std::unexpected(stored.error());
    }
    context_.unserved.erase(before.resource.name());
    co_await renew_competition(context_);
    co_return Empty();
}

Task<Result<Namespace>> Subsystems::update_namespace(
    const opi::UpdateNvmeNamespaceRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Namespace>(context_.model, request.nvme_namespace().name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Namespace updated = (*found)->resource;
    if (auto applied =
            apply_update(updated, request.nvme_namespace(), request.update_mask(), kRules);
        !applied) {
        co_return std::unexpected(applied.error());
    }
    co_return updated;
}

Task<Result<opi::ListNvmeNamespacesResponse>> Subsystems::list_namespaces(
    const opi::ListNvmeNamespacesRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto prefix = list_prefix<opi::NvmeSubsystem>(context_.model, request.parent());
    if (!prefix) {
        co_return std::unexpected(prefix.error());
    }
    opi::ListNvmeNamespacesResponse response;
    auto next = list_page<Namespace>(context_.model, request.page_size(), request.page_token(),
                                     *prefix, [&](const Object<Namespace>& object) {
                                         *response.add_nvme_namespaces() = object.resource;
                                     });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

Task<Result<Namespace>> Subsystems::get_namespace(const opi::GetNvmeNamespaceRequest& request) {
    co_return get_resource<Namespace>(context_.model, request);
}

Task<Result<opi::StatsNvmeNamespaceResponse>> Subsystems::stats_namespace(
    const opi::StatsNvmeNamespaceRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    const auto found = lookup<Namespace>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    const auto counted = co_await context_.node.volume_stats((*found)->known.volume());
    if (!counted) {
        co_return std::unexpected(counted.error());
    }
    opi::StatsNvmeNamespaceResponse response;
    *response.mutable_stats() = to_opi_stats(*counted);
    co_return response;
}

}  // namespace remora::control
