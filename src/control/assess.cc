// SPDX-License-Identifier: Apache-2.0
#include "control/assess.h"

#include <map>
#include <optional>

#include "control/host_functions.h"
#include "control/references.h"
#include "control/remotes.h"

namespace remora::control {

namespace {

api::Condition condition(const char* type, bool is, const char* reason, std::string message = {}) {
    api::Condition out;
    out.set_type(type);
    out.set_status(is ? api::Condition::STATUS_TRUE : api::Condition::STATUS_FALSE);
    out.set_reason(reason);
    out.set_message(std::move(message));
    return out;
}

api::Condition ready(bool is, const char* reason, std::string message = {}) {
    return condition("Ready", is, reason, std::move(message));
}

template <typename M>
Assessment about(const Object<M>& object) {
    return {M::descriptor()->full_name(), object.resource.name(), {}, {}};
}

template <typename M>
void assess_volumes(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<M>()) {
        Assessment one = about(object);
        one.ready = context.node.find_volume(node_volume_name<M>(name))
                        ? ready(true, "Available")
                        : ready(false, "NotBuilt",
                                "its back end could not be opened when the daemon started; the log "
                                "says why");
        out.push_back(std::move(one));
    }
}

void assess_limits(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<opi::QosVolume>()) {
        Assessment one = about(object);
        one.ready = context.node.find_volume(object.known.volume())
                        ? ready(true, "Enforced")
                        : ready(false, "NoVolume",
                                "the volume " + object.known.volume() + " is not there now");
        out.push_back(std::move(one));
    }
}

/// Why a layer is not there, or that it is.
api::Condition layer_ready(const Context& context, const std::string& volume) {
    const auto unbuilt = context.unbuilt.find(volume);
    return context.node.find_volume(volume) ? ready(true, "Available")
           : unbuilt != context.unbuilt.end()
               ? ready(false, unbuilt->second.reason, unbuilt->second.message)
               : ready(false, "NotBuilt");
}

void assess_encrypted(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<opi::EncryptedVolume>()) {
        Assessment one = about(object);
        const std::string volume = node_volume_name<opi::EncryptedVolume>(name);
        one.ready = layer_ready(context, volume);
        if (const auto rekey = context.node.rekey_progress(volume)) {
            const bool stuck = !rekey->trouble.empty();
            one.degraded = condition("Degraded", stuck, stuck ? "RekeyStuck" : "Rekeying",
                                     stuck ? "the change of its key does not go on and is tried "
                                             "again: " +
                                                 rekey->trouble
                                           : "");
        }
        out.push_back(std::move(one));
    }
}

/// An array's members that are not as they should be, in words.
std::string member_troubles(const services::raid::RaidStatus& status) {
    using services::raid::MemberState;
    std::string text;
    for (const services::raid::MemberStatus& member : status.members) {
        if (member.state == MemberState::Active || member.state == MemberState::Spare) {
            continue;
        }
        text += (text.empty() ? "" : "; ") + member.name + " is " +
                std::string(services::raid::to_string(member.state)) +
                (member.reason.empty() ? "" : ": " + member.reason);
    }
    return text;
}

void assess_raids(const Context& context, std::vector<Assessment>& out) {
    using Health = services::raid::RaidStatus::Health;
    for (const auto& [name, object] : context.model.table<api::RaidVolume>()) {
        Assessment one = about(object);
        const std::string volume = node_volume_name<api::RaidVolume>(name);
        one.ready = layer_ready(context, volume);
        if (const auto status = context.node.raid_status(volume)) {
            const std::string troubles = member_troubles(*status);
            if (status->health == Health::Failed) {
                one.ready = ready(false, "TooFewMembers", troubles);
            }
            const bool whole = status->health == Health::Optimal;
            const bool rebuilds = status->progress.kind == services::raid::Progress::Kind::Rebuild;
            one.degraded = condition("Degraded", !whole,
                                     whole      ? "AllMembersActive"
                                     : rebuilds ? "Rebuilding"
                                                : "MemberLost",
                                     troubles);
        }
        out.push_back(std::move(one));
    }
}

void assess_integrity(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<api::IntegrityVolume>()) {
        Assessment one = about(object);
        const std::string volume = node_volume_name<api::IntegrityVolume>(name);
        one.ready = layer_ready(context, volume);
        if (const auto status = context.node.integrity_status(volume)) {
            const bool bad = status->mismatches > 0;
            one.degraded = condition("Degraded", bad, bad ? "ChecksumMismatch" : "NoMismatch",
                                     bad ? std::to_string(status->mismatches) +
                                               " blocks did not match; the first is " +
                                               std::to_string(status->first_bad_lba.value_or(0))
                                         : "");
        }
        out.push_back(std::move(one));
    }
}

void assess_faults(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<api::FaultInjection>()) {
        Assessment one = about(object);
        one.ready = context.node.find_volume(object.known.volume())
                        ? ready(true, "Injected")
                        : ready(false, "NoVolume",
                                "the volume " + object.known.volume() + " is not there now");
        out.push_back(std::move(one));
    }
}

/// The data plane's word on each remote controller, asked once: many disks may be of one.
using RemoteStatuses = std::map<std::string, std::optional<node::RemoteStatus>, std::less<>>;

RemoteStatuses ask_remotes(const Context& context) {
    RemoteStatuses out;
    for (const auto& [name, object] : context.model.table<opi::NvmeRemoteController>()) {
        const std::string id(last_segment(name));
        out.emplace(id, context.node.remote_status(id));
    }
    return out;
}

const node::RemoteStatus* status_of(const RemoteStatuses& remotes, std::string_view id) {
    const auto found = remotes.find(id);
    return found == remotes.end() || !found->second ? nullptr : &*found->second;
}

/// How many of a remote controller's paths are live, of how many.
struct PathCount {
    std::size_t all = 0;
    std::size_t live = 0;
    std::string trouble;  ///< The first that is not live, and why.
};

PathCount assess_paths(const Context& context,
                       const RemoteStatuses& remotes,
                       const std::string& controller,
                       std::vector<Assessment>& out) {
    PathCount count;
    const node::RemoteStatus* status = status_of(remotes, last_segment(controller));
    for (const auto* path : paths_of(context.model, controller)) {
        ++count.all;
        Assessment one = about(*path);
        one.ready = ready(false, "NotStarted", "it is not connected yet");
        for (std::size_t i = 0; status != nullptr && i < status->paths.size(); ++i) {
            const node::RemotePathStatus& shown = status->paths[i];
            if (shown.id != last_segment(path->resource.name())) {
                continue;
            }
            if (shown.state == node::PathState::Live) {
                one.ready = ready(true, "Connected");
                ++count.live;
            } else {
                const bool first = shown.state == node::PathState::Connecting;
                one.ready = ready(false, first ? "Connecting" : "PathDown", shown.last_error);
            }
        }
        if (one.ready.status() == api::Condition::STATUS_FALSE && count.trouble.empty()) {
            count.trouble = path->resource.name() + ": " + one.ready.message();
        }
        out.push_back(std::move(one));
    }
    return count;
}

void assess_remotes(const Context& context,
                    const RemoteStatuses& remotes,
                    std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<opi::NvmeRemoteController>()) {
        const PathCount paths = assess_paths(context, remotes, name, out);
        Assessment one = about(object);
        one.ready = paths.live > 0   ? ready(true, "Connected")
                    : paths.all == 0 ? ready(false, "NoPath", "create a path for it")
                                     : ready(false, "NoPathLive", paths.trouble);
        const bool degraded = paths.live > 0 && paths.live < paths.all;
        one.degraded = condition("Degraded", degraded, degraded ? "PathDown" : "AllPathsLive",
                                 degraded ? paths.trouble : "");
        if (paths.live == 0) {
            one.degraded.set_reason("NoPathLive");
        }
        out.push_back(std::move(one));
    }
}

/// Why the host cannot have the device; nothing: it is served.
template <typename M>
std::optional<api::Condition> not_served(const Context& context, const Object<M>& device) {
    if (device.known.intent() != state::INTENT_READY) {
        return device.known.intent() == state::INTENT_PENDING
                   ? ready(false, "Pending", "it is being made")
                   : ready(false, "Detaching", "the host has not let go of it yet");
    }
    const auto unserved = context.unserved.find(device.resource.name());
    return unserved == context.unserved.end()
               ? std::nullopt
               : std::optional(ready(false, "NotServed", unserved->second));
}

/// Of what is served.
api::Condition on_host(const Context& context, core::HostFunction function) {
    if (context.lost_functions.contains(function)) {
        return ready(false, "Disconnected", "the host's session ended; it is plugged in anew");
    }
    const bool plugged = context.pci_addresses.contains(function);
    return context.host.can_plug() && !plugged
               ? ready(false, "NotPlugged", "the host has not got it: " + context.host.trouble())
               : ready(true, plugged ? "Plugged" : "Served");
}

/// The attachment that the device was made for is as the device is.
void add_attachment(const Context& context,
                    const state::Record& device,
                    const Assessment& as_it_is,
                    std::vector<Assessment>& out) {
    if (const auto* attachment = context.model.find<api::Attachment>(device.attachment())) {
        Assessment whole = as_it_is;
        whole.kind = api::Attachment::descriptor()->full_name();
        whole.name = attachment->resource.name();
        out.push_back(std::move(whole));
    }
}

void assess_controllers(const Context& context, std::vector<Assessment>& out) {
    for (const auto& [name, object] : context.model.table<opi::NvmeController>()) {
        Assessment one = about(object);
        if (is_host_function(object.resource)) {
            auto absent = not_served(context, object);
            one.ready =
                absent ? std::move(*absent) : on_host(context, function_of(object.resource));
            add_attachment(context, object.known, one, out);
            out.push_back(std::move(one));
            continue;
        }
        const auto unserved = context.unserved.find(name);
        one.ready = unserved == context.unserved.end()
                        ? ready(true, "Listening")
                        : ready(false, "NotListening", unserved->second);
        out.push_back(std::move(one));
    }
}

/// Of the host disk, from the host's function down.
Assessment assess_disk(const Context& context,
                       const RemoteStatuses& remotes,
                       const Object<opi::VirtioBlk>& disk) {
    Assessment one = about(disk);
    const std::string& volume = disk.known.volume();
    const std::string below = volume_below(context.model, volume);
    const auto parts = split_remote_volume(below);
    const bool remote = parts && below.find('/') == std::string::npos;
    const node::RemoteStatus* status = remote ? status_of(remotes, parts->first) : nullptr;
    std::size_t live = 0;
    for (std::size_t i = 0; status != nullptr && i < status->paths.size(); ++i) {
        live += status->paths[i].state == node::PathState::Live ? 1U : 0U;
    }
    if (auto absent = not_served(context, disk)) {
        one.ready = std::move(*absent);
    } else if (!context.node.find_volume(volume)) {
        one.ready = ready(false, "NoVolume", "the volume " + volume + " is not there");
    } else if (remote && live == 0) {
        one.ready =
            ready(false, "NoPathLive",
                  "no way to its volume: the host's requests wait" +
                      (status != nullptr && !status->last_error.empty() ? "; " + status->last_error
                                                                        : std::string()));
    } else {
        one.ready = on_host(context, function_of(disk.resource));
    }
    const bool degraded = live > 0 && live < status->paths.size();
    one.degraded = condition("Degraded", degraded, degraded ? "PathDown" : "Whole",
                             degraded ? status->last_error : "");
    return one;
}

void assess_disks(const Context& context,
                  const RemoteStatuses& remotes,
                  std::vector<Assessment>& out) {
    for (const auto& [name, disk] : context.model.table<opi::VirtioBlk>()) {
        Assessment one = assess_disk(context, remotes, disk);
        add_attachment(context, disk.known, one, out);
        out.push_back(std::move(one));
    }
}

}  // namespace

std::vector<Assessment> assess_all(const Context& context) {
    std::vector<Assessment> out;
    assess_volumes<opi::MallocVolume>(context, out);
    assess_volumes<opi::NullVolume>(context, out);
    assess_volumes<opi::AioVolume>(context, out);
    assess_encrypted(context, out);
    assess_integrity(context, out);
    assess_raids(context, out);
    assess_limits(context, out);
    assess_faults(context, out);
    assess_controllers(context, out);
    const RemoteStatuses remotes = ask_remotes(context);
    assess_remotes(context, remotes, out);
    assess_disks(context, remotes, out);
    return out;
}

}  // namespace remora::control
