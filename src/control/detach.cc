// SPDX-License-Identifier: Apache-2.0
// Detaching: undoing what attachments.cc makes, also after a crash.
#include <algorithm>
#include <optional>
#include <utility>

#include "control/attachments.h"
#include "control/references.h"
#include "control/remotes.h"
#include "control/validate_disk.h"
#include "control/validate_volume.h"
#include "reactor/call.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using Attachment = api::Attachment;

namespace {

constexpr core::Nanos kBusyLimit = std::chrono::seconds(1);
constexpr core::Nanos kBusyStep = std::chrono::milliseconds(10);

}  // namespace

const Object<Attachment>* find_attachment(const Model& model, const core::Uuid& uuid) {
    for (const auto& [name, object] : model.table<Attachment>()) {
        if (core::Uuid::parse(object.resource.volume_uuid()) == uuid) {
            return &object;
        }
    }
    return nullptr;
}

std::string attachment_name(core::HostFunction function) {
    return "attachments/" + function.text();
}

Result<void> Attachments::set_intent(const std::string& name, state::Intent intent) {
    Object<Attachment> attachment = *context_.model.find<Attachment>(name);
    attachment.known.set_intent(intent);
    Transaction transaction(context_.model);
    devices_.set_intent(attachment.resource, intent, transaction);
    transaction.put(attachment);
    return transaction.commit();
}

std::vector<std::string> Attachments::users_of(const std::string& remote_controller) const {
    std::vector<std::string> names;
    for (const auto& [name, object] : context_.model.table<Attachment>()) {
        if (object.resource.remote_controller() == remote_controller) {
            names.push_back(name);
        }
    }
    return names;
}

/// Undoes everything of the attachment, from the host inwards. The caller holds its locks. Every
/// step takes "gone already" for an answer, so it can be done again.
Task<Result<void>> Attachments::dismantle(std::string name, bool plugged) {
    const Attachment attachment = context_.model.find<Attachment>(name)->resource;
    const core::HostFunction function = attached_function(attachment);
    if (plugged) {
        if (auto unplugged = co_await disks_.unplug(function); !unplugged) {
            co_return unplugged;
        }
    }
    if (auto ended = co_await devices_.unserve(attachment); !ended) {
        co_return ended;
    }
    const bool last_user = users_of(attachment.remote_controller()).size() <= 1;
    if (last_user) {
        const std::string remote_id(last_segment(attachment.remote_controller()));
        auto stopped = co_await stop_remote(remote_id);
        if (!stopped && stopped.error().kind != ErrorKind::NotFound) {
            co_return stopped;
        }
    }
    co_return forget(name, last_user);
}

/// Somebody may just be reading one of its volumes' statistics.
Task<Result<void>> Attachments::stop_remote(std::string remote_id) {
    const core::Nanos deadline = reactor::Reactor::current().now() + kBusyLimit;
    while (true) {
        auto stopped = co_await context_.node.delete_remote(remote_id);
        if (stopped || stopped.error().kind != ErrorKind::FailedPrecondition ||
            reactor::Reactor::current().now() >= deadline) {
            co_return stopped;
        }
        co_await reactor::sleep_for(kBusyStep);
    }
}

Result<void> Attachments::forget(const std::string& name, bool last_user) {
    const Attachment attachment = context_.model.find<Attachment>(name)->resource;
    const std::string& controller = attachment.remote_controller();
    Transaction transaction(context_.model);
    transaction.erase<Attachment>(name);
    AttachedDevices::erase(attachment, transaction);
    const auto* remote = context_.model.find<opi::NvmeRemoteController>(controller);
    const auto paths = paths_of(context_.model, controller);
    if (last_user) {
        transaction.erase<opi::NvmeRemoteController>(controller);
        for (const auto* path : paths) {
            transaction.erase<opi::NvmePath>(path->resource.name());
        }
    } else if (remote != nullptr && remote->known.attachment() == name) {
        // The one it was made for goes; it belongs to another now.
        auto others = users_of(controller);
        std::erase(others, name);
        Object<opi::NvmeRemoteController> kept = *remote;
        kept.known.set_attachment(others.front());
        transaction.put(kept);
        for (const auto* path : paths) {
            Object<opi::NvmePath> kept_path = *path;
            kept_path.known.set_attachment(others.front());
            transaction.put(kept_path);
        }
    }
    return transaction.commit();
}

Result<Attachments::Named> Attachments::read(const api::DetachVolumeRequest& request) {
    switch (request.disk_case()) {
        case api::DetachVolumeRequest::kHostFunction:
            if (auto function = check_function(request.host_function(), platform::kMaxFunctions);
                !function) {
                return core::fail("host_function", function.error());
            }
            return Named{attachment_name(static_cast<std::uint32_t>(request.host_function())), {}};
        case api::DetachVolumeRequest::kName:
            if (auto checked = check_name("name", request.name()); !checked) {
                return std::unexpected(checked.error());
            }
            return Named{canonical_name(KindTraits<Attachment>::kCollection, request.name()), {}};
        case api::DetachVolumeRequest::kVolumeUuid: {
            const auto uuid = read_uuid("volume_uuid", request.volume_uuid());
            if (!uuid || request.volume_uuid().empty()) {
                return fail(ErrorKind::InvalidArgument,
                            uuid ? "volume_uuid: it is empty" : uuid.error().message);
            }
            return Named{{}, *uuid};
        }
        case api::DetachVolumeRequest::DISK_NOT_SET:
            break;
    }
    return fail(ErrorKind::InvalidArgument,
                "missing required field: host_function, name or volume_uuid, to say which disk");
}

std::vector<std::string> Attachments::Named::locks() const {
    if (name.empty()) {
        return {uuid_key(volume)};
    }
    const auto function = core::HostFunction::parse(last_segment(name));
    return function ? std::vector{function_key(*function)} : std::vector<std::string>();
}

std::string Attachments::Named::absence() const {
    return name.empty() ? "the volume " + volume.text() + " is not attached"
                        : "nothing is attached as " + name +
                              "; attachments are called by their host function, such as 3 or 3.2";
}

const Object<Attachment>* Attachments::find(const Named& named) const {
    return named.name.empty() ? find_attachment(context_.model, named.volume)
                              : context_.model.find<Attachment>(named.name);
}

std::vector<std::string> Attachments::locks_of(const Attachment& attachment) const {
    return {function_key(attached_function(attachment)),
            uuid_key(core::Uuid::parse(attachment.volume_uuid()).value_or(core::Uuid{})),
            lock_key<opi::NvmeRemoteController>(attachment.remote_controller())};
}

Task<Result<Empty>> Attachments::detach(const api::DetachVolumeRequest& request) {
    const auto named = read(request);
    if (!named) {
        co_return std::unexpected(named.error());
    }
    const auto missing = [&]() -> Result<Empty> {
        return request.allow_missing() ? Result<Empty>(Empty())
                                       : fail(ErrorKind::NotFound, named->absence());
    };
    const auto* first = find(*named);
    const auto seen = first != nullptr ? std::optional(*first) : std::nullopt;
    // A call that is under way may be making or removing it: wait for that and look again.
    const std::vector<std::string> keys = seen ? locks_of(seen->resource) : named->locks();
    auto held = co_await context_.lock(keys);
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = find(*named);
    // A client that gave this call up may have had the disk detached and attached again meanwhile:
    // the new one is not what it wanted gone.
    if (found == nullptr || (seen && context_.model.find_same(*seen) != found)) {
        co_return missing();
    }
    const std::vector<std::string> needed = locks_of(found->resource);
    if (keys != needed) {
        held->release();
        held = co_await context_.lock(needed);
        if (!held) {
            co_return std::unexpected(held.error());
        }
        found = find(*named);
        if (found == nullptr) {
            co_return missing();
        }
        if (locks_of(found->resource) != needed) {
            co_return fail(ErrorKind::Aborted,
                           "other calls attach and detach this disk at the same time; try again");
        }
    }
    const std::string name = found->resource.name();
    const core::HostFunction function = attached_function(found->resource);
    if (auto stored = set_intent(name, state::INTENT_REMOVING); !stored) {
        co_return std::unexpected(stored.error());
    }
    Result<void> done = co_await disks_.unplug(function);
    if (!done) {
        // The host did not let go: the disk stands as before, and can be detached again.
        (void)set_intent(name, state::INTENT_READY);
    } else {
        // The host has it no more, and there is no way back: what does not end now ends later.
        done = co_await dismantle(name, false);
    }
    if (!done) {
        context_.unfinished = true;
        co_return fail("detaching host function " + function.text(), done.error());
    }
    co_return Empty();
}

Task<bool> Attachments::finish_removals() {
    std::vector<std::string> left;
    for (const auto& [name, object] : context_.model.table<Attachment>()) {
        if (object.known.intent() != state::INTENT_READY) {
            left.push_back(name);
        }
    }
    bool all = true;
    for (const std::string& name : left) {
        const auto* before = context_.model.find<Attachment>(name);
        if (before == nullptr) {
            continue;
        }
        auto held = co_await context_.lock(locks_of(before->resource));
        const auto* found = held ? context_.model.find<Attachment>(name) : nullptr;
        if (found == nullptr || found->known.intent() == state::INTENT_READY) {
            all = all && held.has_value();
            continue;
        }
        const auto gone = co_await dismantle(name, true);
        all = all && gone.has_value();
    }
    co_return all;
}

}  // namespace remora::control
