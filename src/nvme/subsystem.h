// SPDX-License-Identifier: Apache-2.0
// nvme::Subsystem: what controllers of one subsystem share: its identity, who may connect, and the
// namespaces by NSID. A replica per reactor, changed only on that reactor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "nvme/namespace.h"

namespace remora::nvme {

struct SubsystemIdentity {
    std::string nqn;
    std::string serial;
    std::string model;
    std::uint32_t max_namespaces = 0;          ///< Also the greatest NSID.
    std::vector<std::string> allowed_hosts{};  ///< Empty: any.
    bool one_controller = false;               ///< There will never be another one.

    [[nodiscard]] bool admits(std::string_view hostnqn) const {
        return allowed_hosts.empty() ||
               std::ranges::find(allowed_hosts, hostnqn) != allowed_hosts.end();
    }
};

class Subsystem {
  public:
    explicit Subsystem(SubsystemIdentity identity)
        : identity_(std::move(identity)), namespaces_(identity_.max_namespaces + 1U) {}
    Subsystem(const Subsystem&) = delete;
    Subsystem& operator=(const Subsystem&) = delete;

    [[nodiscard]] const SubsystemIdentity& identity() const { return identity_; }

    /// Null when the NSID is not active, and for any NSID out of range.
    [[nodiscard]] Namespace* find(std::uint32_t nsid) const {
        return nsid < namespaces_.size() ? namespaces_[nsid] : nullptr;
    }
    /// The NSID is in range and free. The namespace outlives its being here.
    void add(Namespace& added) {
        CHECK(added.nsid > 0 && added.nsid < namespaces_.size());
        CHECK(namespaces_[added.nsid] == nullptr);
        namespaces_[added.nsid] = &added;
    }
    void remove(std::uint32_t nsid) {
        CHECK(find(nsid) != nullptr);
        namespaces_[nsid] = nullptr;
    }

  private:
    SubsystemIdentity identity_;
    std::vector<Namespace*> namespaces_;
};

}  // namespace remora::nvme
