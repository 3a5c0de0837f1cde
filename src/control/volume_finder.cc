// SPDX-License-Identifier: Apache-2.0
#include "control/volume_finder.h"

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "control/references.h"
#include "core/hash.h"
#include "reactor/call.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;
using reactor::Endpoint;
using reactor::Task;

namespace {

constexpr std::string_view kDiscoveryNqn = "nqn.2014-08.org.nvmexpress.discovery";
/// Subsystems that one call looks into at most; a discovery log may have any number.
constexpr std::size_t kMostSubsystems = 128;
/// Endpoints of a subsystem that are used at most, as the data plane takes them.
constexpr std::size_t kMostPaths = 8;
/// How long a connected controller is given to notice a namespace that was made just now.
constexpr core::Nanos kNoticeLimit = std::chrono::seconds(1);
constexpr core::Nanos kNoticeStep = std::chrono::milliseconds(20);

std::optional<node::RemoteNamespace> space_of(const std::optional<node::RemoteStatus>& status,
                                              const core::Uuid& volume) {
    if (status) {
        for (const node::RemoteNamespace& space : status->namespaces) {
            if (space.uuid == volume) {
                return space;
            }
        }
    }
    return std::nullopt;
}

}  // namespace

std::string shared_remote_id(const std::string& subnqn, const std::string& hostnqn) {
    return "attached-" + core::hex_digits(core::fnv1a(subnqn + '\n' + hostnqn), 12);
}

std::string attached_path_id(std::size_t index) {
    return "path" + std::to_string(index);
}

Task<Result<VolumeFinder::Subsystems>> VolumeFinder::subsystems_at(Endpoint discovery,
                                                                   std::string hostnqn) {
    auto log_page =
        co_await context_.node.discover(discovery, hostnqn, context_.options.discovery_limit);
    if (!log_page) {
        co_return fail("asking the discovery endpoint " + discovery.text(), log_page.error());
    }
    Subsystems subsystems;
    for (node::DiscoveryEntry& entry : *log_page) {
        if (entry.subnqn == kDiscoveryNqn) {
            continue;
        }
        auto at = std::ranges::find(subsystems, entry.subnqn, &Subsystem::subnqn);
        if (at == subsystems.end()) {
            if (subsystems.size() == kMostSubsystems) {
                continue;
            }
            at = subsystems.insert(at, {entry.subnqn, {}});
        }
        const bool twice = std::ranges::find(at->endpoints, entry.endpoint) != at->endpoints.end();
        if (!twice && at->endpoints.size() < kMostPaths) {
            at->endpoints.push_back(std::move(entry.endpoint));
        }
    }
    // Where we are connected already comes first: it costs nothing to look there.
    const auto is_connected = [&](const Subsystem& subsystem) {
        return context_.node.remote_status(shared_remote_id(subsystem.subnqn, hostnqn)).has_value();
    };
    Subsystems sorted;
    std::ranges::copy_if(subsystems, std::back_inserter(sorted), is_connected);
    std::ranges::copy_if(subsystems, std::back_inserter(sorted), std::not_fn(is_connected));
    co_return sorted;
}

Task<Result<std::optional<node::RemoteNamespace>>> VolumeFinder::look_at(std::string remote_id,
                                                                         bool fresh,
                                                                         core::Uuid volume,
                                                                         core::Nanos deadline) {
    using Found = std::optional<node::RemoteNamespace>;
    const core::Nanos left = deadline - reactor::Reactor::current().now();
    auto live = co_await context_.node.wait_remote(
        remote_id, std::clamp(left, core::Nanos{0}, context_.options.connect_limit));
    if (!live) {
        co_return std::unexpected(live.error());
    }
    Found space = space_of(context_.node.remote_status(remote_id), volume);
    if (space || fresh) {
        co_return space;
    }
    // It was connected before, and the namespace may be newer than what it knows: the target's
    // notice of it (Namespace Attribute Changed) is on its way.
    const core::Nanos notice = std::min(deadline, reactor::Reactor::current().now() + kNoticeLimit);
    while (!space && reactor::Reactor::current().now() < notice) {
        co_await reactor::sleep_for(kNoticeStep);
        space = space_of(context_.node.remote_status(remote_id), volume);
    }
    co_return space;
}

Task<Result<std::optional<FoundVolume>>> VolumeFinder::look_in(Subsystem subsystem,
                                                               std::string hostnqn,
                                                               core::Uuid volume,
                                                               core::Nanos deadline) {
    using Outcome = std::optional<FoundVolume>;
    FoundVolume found;
    found.remote_id = shared_remote_id(subsystem.subnqn, hostnqn);
    found.subnqn = subsystem.subnqn;
    found.endpoints = subsystem.endpoints;
    const std::string name =
        canonical_name(KindTraits<opi::NvmeRemoteController>::kCollection, found.remote_id);
    auto held = co_await context_.locks.take({lock_key<opi::NvmeRemoteController>(name)}, deadline);
    if (!held) {
        co_return std::unexpected(held.error());
    }
    found.lock = std::move(*held);
    const auto* stored = context_.model.find<opi::NvmeRemoteController>(name);
    if (stored != nullptr && stored->known.attachment().empty()) {
        co_return fail(ErrorKind::FailedPrecondition,
                       "the remote controller " + name +
                           " was made by hand under a name that attachments use; delete it");
    }
    found.started = stored == nullptr;
    if (found.started) {
        node::RemoteSpec spec;
        spec.name = found.remote_id;
        for (std::size_t i = 0; i < subsystem.endpoints.size(); ++i) {
            spec.paths.push_back({attached_path_id(i), subsystem.endpoints[i], {}});
        }
        spec.subnqn = subsystem.subnqn;
        spec.hostnqn = hostnqn;
        if (auto started = co_await context_.node.create_remote(spec); !started) {
            co_return std::unexpected(started.error());
        }
    }
    auto space = co_await look_at(found.remote_id, found.started, volume, deadline);
    if (space && *space) {
        found.space = **space;
        co_return Outcome(std::move(found));
    }
    if (found.started) {
        (void)co_await context_.node.delete_remote(found.remote_id);
    }
    if (!space) {
        co_return std::unexpected(space.error());
    }
    co_return Outcome();
}

Task<Result<FoundVolume>> VolumeFinder::find(Endpoint discovery,
                                             std::string hostnqn,
                                             core::Uuid volume) {
    const core::Nanos deadline = reactor::Reactor::current().now() + context_.options.find_limit;
    const auto subsystems = co_await subsystems_at(discovery, hostnqn);
    if (!subsystems) {
        co_return std::unexpected(subsystems.error());
    }
    std::set<std::string> looked_in;
    std::optional<core::Error> trouble;
    for (const Subsystem& subsystem : *subsystems) {
        if (reactor::Reactor::current().now() >= deadline) {
            trouble =
                fail(ErrorKind::DeadlineExceeded,
                     "not all of the " + std::to_string(subsystems->size()) + " subsystems that " +
                         discovery.text() + " shows could be asked in time")
                    .error();
            break;
        }
        auto outcome = co_await look_in(subsystem, hostnqn, volume, deadline);
        if (!outcome) {
            trouble = fail("connecting to " + subsystem.subnqn + " at " +
                               subsystem.endpoints.front().text(),
                           outcome.error())
                          .error();
            continue;
        }
        looked_in.insert(subsystem.subnqn);
        if (*outcome) {
            co_return std::move(**outcome);
        }
    }
    if (trouble) {
        co_return fail("the volume " + volume.text() + " was not found", *trouble);
    }
    co_return fail(ErrorKind::NotFound,
                   "no subsystem that " + discovery.text() +
                       " shows this host has a namespace "
                       "with the UUID " +
                       volume.text() + "; looked in " +
                       (looked_in.empty() ? std::string("none: it shows none")
                                          : join_names({looked_in.begin(), looked_in.end()})));
}

}  // namespace remora::control
