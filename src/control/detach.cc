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

std::string attachment_name(std::uint32_t function) {
    return "attachments/" + std::to_string(function);
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
    const auto function = static_cast<std::uint32_t>(attachment.host_function());
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

const Object<Attachment>* Attachments::find(const api::DetachVolumeRequest& request) const {
    if (request.has_host_function()) {
        const auto function = static_cast<std::uint32_t>(request.host_function());
        return context_.model.find<Attachment>(attachment_name(function));
    }
    return find_attachment(context_.model,
                           core::Uuid::parse(request.volume_uuid()).value_or(core::Uuid{}));
}

std::vector<std::string> Attachments::locks_of(const Attachment& attachment) const {
    return {function_key(static_cast<std::uint32_t>(attachment.host_function())),
            uuid_key(core::Uuid::parse(attachment.volume_uuid()).value_or(core::Uuid{})),
            lock_key<opi::NvmeRemoteController>(attachment.remote_controller())};
}

namespace {

Result<void> check_request(const api::DetachVolumeRequest& request) {
    if (request.disk_case() == api::DetachVolumeRequest::DISK_NOT_SET) {
        return fail(ErrorKind::InvalidArgument,
                    "missing required field: host_function or volume_uuid, to say which disk");
    }
    if (request.has_volume_uuid()) {
        const auto uuid = read_uuid("volume_uuid", request.volume_uuid());
        if (!uuid || request.volume_uuid().empty()) {
            return fail(ErrorKind::InvalidArgument,
                        uuid ? "volume_uuid: it is empty" : uuid.error().message);
        }
    } else if (auto function = check_function(request.host_function(), platform::kMaxFunctions);
               !function) {
        return core::fail("host_function", function.error());
    }
    return {};
}

}  // namespace

Task<Result<Empty>> Attachments::detach(const api::DetachVolumeRequest& request) {
    if (auto valid = check_request(request); !valid) {
        co_return std::unexpected(valid.error());
    }
    const auto missing = [&]() -> Result<Empty> {
        if (request.allow_missing()) {
            return Empty();
        }
        return fail(
            ErrorKind::NotFound,
            request.has_host_function()
                ? "nothing is attached to host function " + std::to_string(request.host_function())
                : "the volume " + request.volume_uuid() + " is not attached");
    };
    const auto* first = find(request);
    const auto seen = first != nullptr ? std::optional(*first) : std::nullopt;
    // A call that is under way may be making or removing it: wait for that and look again.
    std::vector<std::string> keys;
    if (seen) {
        keys = locks_of(seen->resource);
    } else if (request.has_host_function()) {
        keys = {function_key(static_cast<std::uint32_t>(request.host_function()))};
    } else {
        keys = {uuid_key(*core::Uuid::parse(request.volume_uuid()))};
    }
    auto held = co_await context_.lock(keys);
    if (!held) {
        co_return std::unexpected(held.error());
    }
    const auto* found = find(request);
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
        found = find(request);
        if (found == nullptr) {
            co_return missing();
        }
        if (locks_of(found->resource) != needed) {
            co_return fail(ErrorKind::Aborted,
                           "other calls attach and detach this disk at the same time; try again");
        }
    }
    const std::string name = found->resource.name();
    const auto function = static_cast<std::uint32_t>(found->resource.host_function());
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
        co_return fail("detaching host function " + std::to_string(function), done.error());
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
