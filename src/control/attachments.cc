// SPDX-License-Identifier: Apache-2.0
#include "control/attachments.h"

#include <algorithm>
#include <utility>

#include "control/host_functions.h"
#include "control/references.h"
#include "control/remotes.h"
#include "control/validate_disk.h"
#include "control/validate_nvme.h"
#include "control/validate_volume.h"
#include "core/log.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using Attachment = api::Attachment;

namespace {

/// What the guest sees as the disk's serial number (virtio-blk get-id, 20 bytes).
std::string serial_of(const core::Uuid& uuid) {
    std::string digits = uuid.text();
    std::erase(digits, '-');
    return digits.substr(0, 20);
}

/// The remote controller that was started for the attachment, with its paths, as resources.
void put_shared_remote(const Context& context,
                       const std::string& attachment,
                       const std::string& hostnqn,
                       const FoundVolume& found,
                       Transaction& transaction) {
    Object<opi::NvmeRemoteController> remote;
    remote.resource.set_name(
        canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, found.remote_id));
    remote.resource.set_multipath(opi::NVME_MULTIPATH_MULTIPATH);
    remote.known.set_attachment(attachment);
    transaction.put(remote);
    const auto status = context.node.remote_status(found.remote_id);
    for (std::size_t i = 0; i < found.endpoints.size(); ++i) {
        Object<opi::NvmePath> path;
        path.resource.set_name(remote.resource.name() + "/nvmePaths/" + attached_path_id(i));
        path.resource.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        const reactor::Endpoint& endpoint = found.endpoints[i];
        path.resource.set_traddr(endpoint.address);
        opi::FabricsPath& fabrics = *path.resource.mutable_fabrics();
        fabrics.set_trsvcid(endpoint.port);
        fabrics.set_subnqn(found.subnqn);
        fabrics.set_adrfam(endpoint.address.find(':') == std::string::npos
                               ? opi::NVME_ADDRESS_FAMILY_IPV4
                               : opi::NVME_ADDRESS_FAMILY_IPV6);
        fabrics.set_hostnqn(hostnqn);
        path.known.set_attachment(attachment);
        if (status) {
            keep_known_namespaces(*status, path);
        }
        transaction.put(path);
    }
}

}  // namespace

Result<Attachments::Wanted> Attachments::read(const api::AttachVolumeRequest& request) const {
    if (auto complete = check_required(request); !complete) {
        return std::unexpected(complete.error());
    }
    Wanted wanted;
    const auto uuid = read_uuid("volume_uuid", request.volume_uuid());
    if (!uuid) {
        return std::unexpected(uuid.error());
    }
    wanted.volume = *uuid;
    auto endpoint = read_endpoint("discovery", request.discovery().traddr(),
                                  request.discovery().trsvcid(), false);
    if (!endpoint) {
        return std::unexpected(endpoint.error());
    }
    wanted.discovery = std::move(*endpoint);
    if (!request.hostnqn().empty()) {
        if (auto host = check_nqn("hostnqn", request.hostnqn()); !host) {
            return std::unexpected(host.error());
        }
    }
    wanted.hostnqn = request.hostnqn();
    if (!api::DeviceKind_IsValid(request.as())) {
        return fail(ErrorKind::InvalidArgument,
                    "as: " + std::to_string(request.as()) +
                        " is no kind of device; use DEVICE_KIND_VIRTIO_BLK or DEVICE_KIND_NVME");
    }
    if (request.as() != api::DEVICE_KIND_UNSPECIFIED) {
        wanted.kind = request.as();
    }
    if (request.has_host_function()) {
        const platform::FunctionCounts places = context_.host.function_counts();
        const auto virtual_one = check_virtual_function(request.host_function(),
                                                        request.host_virtual_function(), places);
        if (!virtual_one) {
            return core::fail("host_virtual_function", virtual_one.error());
        }
        if (auto function = check_function(request.host_function(), places.physical); !function) {
            return core::fail("host_function", function.error());
        }
        wanted.function = attached_function(request);
    } else if (request.host_virtual_function() != 0) {
        return fail(ErrorKind::InvalidArgument,
                    "host_virtual_function: give host_function, too, to say whose it is");
    }
    return wanted;
}

Result<void> Attachments::check_function_free(core::HostFunction function) const {
    const auto holder = holder_of_function(context_.model, function);
    if (!holder) {
        return {};
    }
    if (holder->attachment.empty()) {
        return check_free_function(context_.model, function);
    }
    const auto* other = context_.model.find<Attachment>(holder->attachment);
    return fail(ErrorKind::AlreadyExists,
                "host function " + function.text() + " is in use by " + holder->attachment +
                    ", the volume " + (other == nullptr ? "?" : other->resource.volume_uuid()) +
                    "; detach it first or choose another function");
}

Result<core::HostFunction> Attachments::lowest_free_function() const {
    const std::uint32_t places =
        std::min(context_.host.function_counts().physical, platform::kMaxFunctions);
    for (std::uint32_t function = 0; function < places; ++function) {
        if (!holder_of_function(context_.model, function) &&
            context_.locks.is_free(function_key(function))) {
            return function;
        }
    }
    return fail(ErrorKind::ResourceExhausted, "all " + std::to_string(places) +
                                                  " host functions are in use; detach a disk "
                                                  "first, or name a virtual function");
}

Task<Result<Attachment>> Attachments::attach(const api::AttachVolumeRequest& request) {
    auto wanted = read(request);
    if (!wanted) {
        co_return std::unexpected(wanted.error());
    }
    std::vector<std::string> keys{uuid_key(wanted->volume)};
    if (wanted->function) {
        keys.push_back(function_key(*wanted->function));
    }
    auto held = co_await context_.lock(std::move(keys));
    if (!held) {
        co_return std::unexpected(held.error());
    }
    co_return co_await attach_locked(*wanted);
}

Task<Result<Attachment>> Attachments::attach_locked(Wanted wanted) {
    if (const auto* existing = find_attachment(context_.model, wanted.volume)) {
        if (auto same = check_same(*existing, wanted); !same) {
            co_return std::unexpected(same.error());
        }
        LockTable::Held function_lock;
        if (!wanted.function) {
            // The reconciler may be plugging it. Whoever holds a function waits for no volume.
            const core::HostFunction function = attached_function(existing->resource);
            auto taken = co_await context_.lock({function_key(function)});
            if (!taken) {
                co_return std::unexpected(taken.error());
            }
            function_lock = std::move(*taken);
        }
        co_return co_await again(*existing);
    }
    if (wanted.function) {
        if (auto free = check_function_free(*wanted.function); !free) {
            co_return std::unexpected(free.error());
        }
    } else if (auto some = lowest_free_function(); !some) {
        co_return std::unexpected(some.error());
    }
    auto found = co_await finder_.find(wanted.discovery, wanted.hostnqn, wanted.volume);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Result<core::HostFunction> function = core::HostFunction();
    LockTable::Held function_lock;
    if (wanted.function) {
        function = *wanted.function;
    } else {
        function = lowest_free_function();
        if (function) {
            // It is free, so this does not wait.
            auto taken = co_await context_.lock({function_key(*function)});
            function_lock = taken ? std::move(*taken) : LockTable::Held();
        }
    }
    Result<Attachment> pending = std::unexpected(core::Error{});
    if (function) {
        pending = store_pending(wanted, *found, *function);
    } else {
        pending = std::unexpected(function.error());
    }
    if (!pending) {
        if (found->started) {
            (void)co_await context_.node.delete_remote(found->remote_id);
        }
        co_return std::unexpected(pending.error());
    }
    co_return co_await raise(std::move(*pending));
}

/// Whether what is asked for is what the volume's attachment is.
Result<void> Attachments::check_same(const Object<Attachment>& existing, const Wanted& wanted) {
    const Attachment& has = existing.resource;
    if (existing.known.intent() != state::INTENT_READY) {
        return fail(ErrorKind::FailedPrecondition, "the volume " + wanted.volume.text() +
                                                       " is still being detached from "
                                                       "host function " +
                                                       attached_function(has).text() +
                                                       "; try again");
    }
    if (wanted.function && *wanted.function != attached_function(has)) {
        return fail(ErrorKind::AlreadyExists,
                    "the volume " + wanted.volume.text() + " is attached to host function " +
                        attached_function(has).text() + " already; detach it first");
    }
    const bool is_nvme = has.as() == api::DEVICE_KIND_NVME;
    if (is_nvme != (wanted.kind == api::DEVICE_KIND_NVME)) {
        return fail(ErrorKind::AlreadyExists,
                    "the volume " + wanted.volume.text() + " is attached as " +
                        (is_nvme ? "an NVMe" : "a virtio-blk") + " disk already; detach it first");
    }
    if (has.discovery().traddr() != wanted.discovery.address ||
        has.discovery().trsvcid() != std::to_string(wanted.discovery.port) ||
        has.hostnqn() != wanted.hostnqn) {
        return fail(ErrorKind::AlreadyExists,
                    "the volume " + wanted.volume.text() + " is attached as " + has.name() +
                        " through " + has.discovery().traddr() + ":" + has.discovery().trsvcid() +
                        (has.hostnqn().empty() ? "" : " by " + has.hostnqn()) +
                        "; detach it first");
    }
    return {};
}

/// The same request again: the same disk, plugged in again if the host has lost it.
Task<Result<Attachment>> Attachments::again(const Object<Attachment>& existing) {
    const std::string name = existing.resource.name();
    const auto address = co_await devices_.plug(existing.resource);
    if (!address) {
        co_return std::unexpected(address.error());
    }
    co_return shown(*context_.model.find<Attachment>(name));
}

Result<Attachment> Attachments::store_pending(const Wanted& wanted,
                                              const FoundVolume& found,
                                              core::HostFunction function) {
    const std::string name = attachment_name(function);
    const std::string controller =
        canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, found.remote_id);

    if (auto unused = check_unused(context_, found.space.volume, wanted.volume); !unused) {
        return std::unexpected(unused.error());
    }

    Object<Attachment> attachment;
    attachment.known.set_intent(state::INTENT_PENDING);
    Attachment& out = attachment.resource;
    out.set_name(name);
    out.mutable_discovery()->set_traddr(wanted.discovery.address);
    out.mutable_discovery()->set_trsvcid(std::to_string(wanted.discovery.port));
    out.set_volume_uuid(wanted.volume.text());
    out.set_host_function(static_cast<std::int32_t>(function.pf));
    out.set_host_virtual_function(static_cast<std::int32_t>(function.vf));
    out.set_hostnqn(wanted.hostnqn);
    out.set_subsystem_nqn(found.subnqn);
    out.set_nsid(found.space.nsid);
    out.set_size_bytes(found.space.geometry.size_bytes());
    out.set_block_size(found.space.geometry.block_size);
    out.set_serial(serial_of(wanted.volume));
    out.set_remote_controller(controller);
    out.set_as(wanted.kind);

    Transaction transaction(context_.model);
    if (auto added = devices_.add(out, found.space.volume, transaction); !added) {
        return std::unexpected(added.error());
    }
    transaction.put(attachment);
    if (found.started) {
        put_shared_remote(context_, name, wanted.hostnqn, found, transaction);
    } else {
        keep_remote_namespaces(context_, controller, transaction);
    }
    if (auto stored = transaction.commit(); !stored) {
        return std::unexpected(stored.error());
    }
    return attachment.resource;
}

Task<Result<Attachment>> Attachments::raise(Attachment attachment) {
    const std::string& name = attachment.name();
    const auto address = co_await devices_.raise(attachment);
    Result<void> outcome;
    if (address) {
        outcome = set_intent(name, state::INTENT_READY);
    } else {
        outcome = std::unexpected(address.error());
    }
    if (outcome) {
        co_return shown(*context_.model.find<Attachment>(name));
    }
    // Still pending in the store: should undoing fail too, the reconciler goes on trying. It also
    // sees to what a plug whose end is unknown may have left on the host.
    context_.unfinished = true;
    const bool plugged = address || address.error().kind == ErrorKind::DeadlineExceeded;
    if (auto undone = co_await dismantle(name, plugged); !undone) {
        log::warn("undoing an attachment did not succeed yet", log::kv("name", name),
                  log::kv("reason", undone.error().message));
    }
    co_return std::unexpected(outcome.error());
}

Attachment Attachments::shown(const Object<Attachment>& object) const {
    Attachment out = object.resource;
    if (out.as() == api::DEVICE_KIND_UNSPECIFIED) {  // stored before there were two
        out.set_as(api::DEVICE_KIND_VIRTIO_BLK);
    }
    out.set_state(Attachment::STATE_ATTACHED);
    if (object.known.intent() != state::INTENT_READY) {
        out.set_state(object.known.intent() == state::INTENT_PENDING ? Attachment::STATE_PENDING
                                                                     : Attachment::STATE_DETACHING);
    }
    const auto address = context_.pci_addresses.find(attached_function(out));
    if (address != context_.pci_addresses.end()) {
        out.set_pci_address(address->second);
    }
    return out;
}

Task<Result<Attachment>> Attachments::get(const api::GetAttachmentRequest& request) {
    if (auto complete = check_required(request); !complete) {
        co_return std::unexpected(complete.error());
    }
    if (const auto uuid = core::Uuid::parse(request.name())) {
        if (const auto* found = find_attachment(context_.model, *uuid)) {
            co_return shown(*found);
        }
    }
    const auto found = lookup<Attachment>(context_.model, request.name());
    if (!found) {
        co_return std::unexpected(found.error());
    }
    co_return shown(**found);
}

Task<Result<api::ListAttachmentsResponse>> Attachments::list(
    const api::ListAttachmentsRequest& request) {
    api::ListAttachmentsResponse response;
    auto next = list_page<Attachment>(
        context_.model, request.page_size(), request.page_token(), "",
        [&](const Object<Attachment>& object) { *response.add_attachments() = shown(object); });
    if (!next) {
        co_return std::unexpected(next.error());
    }
    response.set_next_page_token(*next);
    co_return response;
}

}  // namespace remora::control
