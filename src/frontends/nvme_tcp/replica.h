// SPDX-License-Identifier: Apache-2.0
// Replica: one reactor's copy of a subsystem, with a channel per namespace. Changed only on that
// reactor, by messages of the control reactor.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "block/device.h"
#include "nvme/namespace.h"
#include "nvme/subsystem.h"
#include "reactor/endpoint.h"
#include "reactor/signal.h"

namespace remora::frontends::nvme_tcp {

/// A namespace and this reactor's channel to its volume.
struct OpenNamespace : nvme::Namespace {
    /// Differs between two namespaces that had the same NSID one after the other, so that a
    /// command that waited for its data never reaches another volume than it was sent to.
    std::uint64_t incarnation = 0;
    std::unique_ptr<block::Channel> channel;
    std::uint32_t in_flight = 0;  ///< Requests inside the block layer.
    reactor::Signal idle;         ///< Told when in_flight becomes 0.

    void enter() { ++in_flight; }
    void leave() {
        CHECK(in_flight > 0);
        if (--in_flight == 0) {
            idle.notify();
        }
    }
};

struct Replica {
    explicit Replica(nvme::SubsystemIdentity identity) : subsystem(std::move(identity)) {}

    nvme::Subsystem subsystem;
    std::map<std::uint32_t, std::unique_ptr<OpenNamespace>> namespaces;
    std::set<reactor::Endpoint> listeners;  ///< Where hosts may reach it.
    bool closing = false;                   ///< Being deleted: nobody connects any more.
    std::uint32_t users = 0;                ///< Connections and associations.
    reactor::Signal unused;                 ///< Told when users becomes 0.

    [[nodiscard]] const std::string& nqn() const { return subsystem.identity().nqn; }
    [[nodiscard]] OpenNamespace* find(std::uint32_t nsid) const {
        return static_cast<OpenNamespace*>(subsystem.find(nsid));
    }
    void add_user() { ++users; }
    void drop_user() {
        CHECK(users > 0);
        if (--users == 0) {
            unused.notify();
        }
    }
};

}  // namespace remora::frontends::nvme_tcp
