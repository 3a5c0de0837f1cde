// SPDX-License-Identifier: Apache-2.0
// Replica: one reactor's copy of a subsystem, with a channel per namespace. Changed only on that
// reactor, by messages of the control reactor.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "block/device.h"
#include "block/stage.h"
#include "core/result.h"
#include "core/units.h"
#include "frontends/nvme_tcp/turnstile.h"
#include "nvme/ana.h"
#include "nvme/health.h"
#include "nvme/namespace.h"
#include "nvme/subsystem.h"
#include "nvme/uncorrectable.h"
#include "reactor/endpoint.h"
#include "reactor/signal.h"

namespace remora::frontends::nvme_tcp {

using core::Result;
using nvme::BlockRange;

/// A namespace and this reactor's channel to its volume.
struct OpenNamespace : nvme::Namespace {
    /// Differs between two namespaces that had the same NSID one after the other, so that a
    /// command that waited for its data never reaches another volume than it was sent to.
    std::uint64_t incarnation = 0;
    std::unique_ptr<block::Channel> channel;
    std::uint32_t in_flight = 0;  ///< Requests inside the block layer.
    reactor::Signal idle;         ///< Told when in_flight becomes 0.
    BlockRange fence;             ///< No write is begun here: somebody has these blocks.
    Turnstile fence_turn;         ///< One fence at a time.
    std::uint32_t fences = 0;     ///< With the turn or waiting for it.
    bool guarded = false;         ///< Not every command may go to the volume as it comes.

    void update_guard() {
        guarded = access.reserved() || fence.blocks > 0 || !uncorrectable.empty();
    }

    void enter() { ++in_flight; }
    void leave() {
        CHECK(in_flight > 0);
        if (--in_flight == 0) {
            idle.notify();
        }
    }
};

/// An endpoint at which hosts reach the subsystem.
struct Port {
    bool open = false;  ///< New hosts may come; those that are there stay when it closes.
    nvme::AnaPort ana;
    std::uint32_t users = 0;  ///< Connections and associations.
    /// What all commands that come by here go through; null: nothing. Shared with the other
    /// reactors, because nobody else knows when the last user of a closed port goes.
    std::shared_ptr<block::Stage> stage;
    std::vector<std::unique_ptr<block::StageChannel>> ways;  ///< [nsid]; of a stage only.

    /// The way of a batch for the namespace.
    [[nodiscard]] block::Channel& way_to(const OpenNamespace& target) const {
        return stage == nullptr ? *target.channel : *ways[target.nsid];
    }
    Result<void> open_way(const OpenNamespace& target) {
        if (stage == nullptr) {
            return {};
        }
        auto way = stage->open_channel(*target.channel, target.geometry.block_size);
        if (!way) {
            return std::unexpected(way.error());
        }
        ways.resize(std::max<std::size_t>(ways.size(), std::size_t{target.nsid} + 1));
        ways[target.nsid] = std::move(*way);
        return {};
    }
    /// Null when there is none.
    [[nodiscard]] block::StageChannel* staged_way(std::uint32_t nsid) const {
        return nsid < ways.size() ? ways[nsid].get() : nullptr;
    }
};

struct Replica {
    Replica(nvme::SubsystemIdentity identity, core::Nanos now)
        : subsystem(std::move(identity)), since(now) {}

    nvme::Subsystem subsystem;
    std::map<std::uint32_t, std::unique_ptr<OpenNamespace>> namespaces;
    std::map<reactor::Endpoint, Port> ports;
    nvme::IoCounters io;      ///< Of its hosts' commands on this reactor.
    core::Nanos since;        ///< When it was made.
    bool closing = false;     ///< Being deleted: nobody connects any more.
    std::uint32_t users = 0;  ///< Connections and associations.
    reactor::Signal unused;   ///< Told when users becomes 0.

    [[nodiscard]] const std::string& nqn() const { return subsystem.identity().nqn; }
    [[nodiscard]] OpenNamespace* find(std::uint32_t nsid) const {
        return static_cast<OpenNamespace*>(subsystem.find(nsid));
    }
    /// Null: hosts do not reach it there (yet, or any more).
    [[nodiscard]] Port* open_port(const reactor::Endpoint& at) {
        const auto found = ports.find(at);
        return found == ports.end() || !found->second.open ? nullptr : &found->second;
    }
    void close_port(const reactor::Endpoint& at) {
        const auto found = ports.find(at);
        CHECK(found != ports.end());
        found->second.open = false;
        forget_ports();
    }
    void add_user(Port& through) {
        ++users;
        ++through.users;
    }
    void drop_user(Port& through) {
        CHECK(users > 0 && through.users > 0);
        if (--through.users == 0 && !through.open) {
            forget_ports();
        }
        if (--users == 0) {
            unused.notify();
        }
    }
    /// Those to the namespace, on which nothing is under way.
    void forget_ways(std::uint32_t nsid) {
        for (auto& [at, port] : ports) {
            if (nsid < port.ways.size()) {
                port.ways[nsid] = nullptr;
            }
        }
    }
    /// Those that nobody comes through any more.
    void forget_ports() {
        std::erase_if(
            ports, [](const auto& entry) { return !entry.second.open && entry.second.users == 0; });
    }
};

}  // namespace remora::frontends::nvme_tcp
