// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/fakes.h"

namespace remora::test {

const Network::Subsystem* Network::find(const std::string& where, const std::string& nqn) const {
    const auto target = targets.find(where);
    if (target == targets.end()) {
        return nullptr;
    }
    for (const Subsystem& subsystem : target->second) {
        if (subsystem.nqn == nqn) {
            return &subsystem;
        }
    }
    return nullptr;
}

Task<Result<std::vector<node::DiscoveryEntry>>> FakeNode::discover(reactor::Endpoint endpoint,
                                                                   std::string /*hostnqn*/,
                                                                   core::Nanos /*limit*/) {
    const auto target = network_.targets.find(endpoint.text());
    if (target == network_.targets.end()) {
        co_return fail(ErrorKind::Unavailable, endpoint.text() + ": Connection refused");
    }
    std::vector<node::DiscoveryEntry> entries;
    for (const auto& subsystem : target->second) {
        entries.push_back({subsystem.nqn, endpoint});
        for (const std::string& address : network_.also_at) {
            entries.push_back({subsystem.nqn, reactor::Endpoint::tcp(address, endpoint.port)});
        }
    }
    co_return entries;
}

void FakeNode::show(const node::RemoteSpec& spec, const node::RemotePathSpec& path) {
    for (const auto& known : path.known) {
        const std::string volume = spec.name + "n" + std::to_string(known.nsid);
        volumes[volume] = {volume, known.uuid, geometry(512, 2048)};
    }
    if (const auto* subsystem = network_.find(path.endpoint.text(), spec.subnqn)) {
        for (const auto& space : subsystem->spaces) {
            const std::string volume = spec.name + "n" + std::to_string(space.nsid);
            volumes[volume] = {volume, space.uuid, geometry(512, 2048)};
        }
    }
}

Task<Result<void>> FakeNode::create_remote(node::RemoteSpec spec) {
    if (auto step = steps_.take("create_remote"); !step) {
        co_return step;
    }
    if (remotes.contains(spec.name)) {
        co_return fail(ErrorKind::AlreadyExists, spec.name);
    }
    remotes[spec.name] = spec;
    for (const node::RemotePathSpec& path : spec.paths) {
        show(spec, path);
    }
    co_return Result<void>();
}

void FakeNode::show_remote(const std::string& name) {
    for (const node::RemotePathSpec& path : remotes.at(name).paths) {
        show(remotes.at(name), path);
    }
}

Task<Result<void>> FakeNode::add_remote_path(std::string name, node::RemotePathSpec path) {
    if (auto step = steps_.take("add_remote_path"); !step) {
        co_return step;
    }
    if (!remotes.contains(name)) {
        co_return missing(name);
    }
    node::RemoteSpec& spec = remotes[name];
    spec.paths.push_back(path);
    show(spec, path);
    co_return Result<void>();
}

Task<Result<void>> FakeNode::wait_remote_path(std::string name,
                                              std::string path,
                                              core::Nanos /*limit*/) {
    if (auto step = steps_.take("wait_remote"); !step) {
        co_return step;
    }
    const node::RemoteSpec& spec = remotes.at(name);
    for (const node::RemotePathSpec& one : spec.paths) {
        if (one.id == path && network_.find(one.endpoint.text(), spec.subnqn) != nullptr) {
            co_return Result<void>();
        }
    }
    co_return fail(ErrorKind::NotFound, "no subsystem " + spec.subnqn);
}

Task<Result<void>> FakeNode::remove_remote_path(std::string name, std::string path) {
    if (auto step = steps_.take("remove_remote_path"); !step) {
        co_return step;
    }
    std::erase_if(remotes.at(name).paths, [&](const auto& one) { return one.id == path; });
    co_return Result<void>();
}

Task<Result<void>> FakeNode::set_remote_policy(std::string name, node::PathPolicy policy) {
    remotes.at(name).policy = policy;
    co_return Result<void>();
}

Result<void> FakeNode::set_remote_timings(const std::string& name,
                                          const node::ConnectionTimings& timings) {
    remotes.at(name).timings = timings;
    return {};
}

Task<Result<void>> FakeNode::wait_remote(std::string name, core::Nanos /*limit*/) {
    if (auto step = steps_.take("wait_remote"); !step) {
        co_return step;
    }
    const node::RemoteSpec& spec = remotes.at(name);
    for (const node::RemotePathSpec& path : spec.paths) {
        if (network_.find(path.endpoint.text(), spec.subnqn) != nullptr) {
            co_return Result<void>();
        }
    }
    co_return fail(ErrorKind::NotFound, "no subsystem " + spec.subnqn);
}

Task<Result<void>> FakeNode::delete_remote(std::string name) {
    if (remotes_are_busy) {
        co_return fail(ErrorKind::FailedPrecondition, name + " is in use by a benchmark");
    }
    for (const auto& [id, vhost] : vhosts) {
        if (vhost.volume.starts_with(name + "n")) {
            co_return fail(ErrorKind::FailedPrecondition, "in use by " + id);
        }
    }
    std::erase_if(volumes, [&](const auto& v) { return v.first.starts_with(name + "n"); });
    co_return remotes.erase(name) == 1 ? Result<void>() : missing(name);
}

Task<Result<void>> FakeNode::reset_remote(std::string name) {
    co_return remotes.contains(name) ? Result<void>() : missing(name);
}

std::optional<node::RemoteStatus> FakeNode::remote_status(const std::string& name) const {
    const auto found = remotes.find(name);
    if (found == remotes.end()) {
        return std::nullopt;
    }
    node::RemoteStatus status;
    const node::RemoteSpec& spec = found->second;
    status.state = node::PathState::Down;
    status.policy = spec.policy;
    for (const node::RemotePathSpec& path : spec.paths) {
        node::RemotePathStatus& shown = status.paths.emplace_back();
        shown.id = path.id;
        const auto* subsystem = network_.find(path.endpoint.text(), spec.subnqn);
        shown.state = subsystem == nullptr ? node::PathState::Down : node::PathState::Live;
        if (subsystem == nullptr) {
            continue;
        }
        status.state = node::PathState::Live;
        for (const auto& space : subsystem->spaces) {
            add_space(name, space.nsid, space.uuid, status, shown);
        }
    }
    return status;
}

void FakeNode::add_space(const std::string& remote,
                         std::uint32_t nsid,
                         const core::Uuid& uuid,
                         node::RemoteStatus& status,
                         node::RemotePathStatus& path) {
    node::PathNamespace& at_path = path.namespaces.emplace_back();
    at_path.identity = {nsid, uuid, 512, 2048, nsid};
    at_path.volume = remote + "n" + std::to_string(nsid);
    at_path.present = true;
    for (const node::RemoteNamespace& known : status.namespaces) {
        if (known.uuid == uuid) {
            return;
        }
    }
    node::RemoteNamespace& out = status.namespaces.emplace_back();
    out.nsid = nsid;
    out.number = nsid;
    out.volume = at_path.volume;
    out.uuid = uuid;
    out.geometry = geometry(512, 2048);
}

}  // namespace remora::test
