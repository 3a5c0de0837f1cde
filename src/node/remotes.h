// SPDX-License-Identifier: Apache-2.0
// Remotes: the remote controllers of a node, and their namespaces as volumes in its table. On the
// control reactor only.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>

#include "backends/nvme_tcp/multipath_controller.h"
#include "node/node.h"
#include "node/volume_table.h"

namespace remora::node {

struct HostIdentity {
    std::string hostnqn;
    core::Uuid hostid;
};

class Remotes {
  public:
    Remotes(VolumeTable& volumes,
            std::span<const block::ReactorContext> reactors,
            reactor::Reactor& control,
            HostIdentity identity,
            core::Nanos path_timeout);
    Remotes(const Remotes&) = delete;
    Remotes& operator=(const Remotes&) = delete;
    /// After stop().
    ~Remotes();

    Task<Result<void>> create(RemoteSpec spec);
    Task<Result<void>> wait(std::string name, core::Nanos limit);
    Result<void> add_path(const std::string& name, const RemotePathSpec& path);
    Task<Result<void>> wait_path(std::string name, std::string path, core::Nanos limit);
    Task<Result<void>> remove_path(std::string name, std::string path);
    Task<Result<void>> set_policy(std::string name, PathPolicy policy);
    Result<void> set_timings(const std::string& name, const ConnectionTimings& timings);
    Task<Result<void>> remove(std::string name);
    Task<Result<void>> reset(std::string name);
    [[nodiscard]] std::optional<RemoteStatus> status(const std::string& name) const;
    Task<> stop();
    [[nodiscard]] const HostIdentity& identity() const { return identity_; }

  private:
    class Remote;
    Result<Remote*> find(const std::string& name);
    Task<Result<void>> wait_ready(std::string name, std::string path, core::Nanos limit);
    /// Errors: FailedPrecondition naming the first user of one of these volumes.
    [[nodiscard]] Result<void> check_unused(std::span<const std::string> volumes) const;

    VolumeTable& volumes_;
    std::span<const block::ReactorContext> reactors_;
    reactor::Reactor& control_;
    HostIdentity identity_;
    core::Nanos path_timeout_;
    std::map<std::string, std::unique_ptr<Remote>> remotes_;
};

}  // namespace remora::node
