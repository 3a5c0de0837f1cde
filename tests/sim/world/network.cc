// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world/network.h"

#include <algorithm>
#include <cerrno>

#include "tests/sim/world/process.h"
#include "tests/sim/world/sim_socket.h"
#include "tests/sim/world/world.h"

namespace remora::sim {

namespace {

constexpr std::uint64_t kMoreBreakOneIn = 2;
constexpr std::uint64_t kLingerOneIn = 2;
constexpr std::uint64_t kLingerMs = 2'000;

}  // namespace

using reactor::Endpoint;

Network::Place Network::place(const Machine& machine, const Endpoint& at) {
    // A TCP address names its machine; a path is the machine's own.
    const bool tcp = at.family == Endpoint::Family::Tcp;
    return {tcp ? std::string() : machine.name, at.text()};
}

bool Network::add_listener(const Machine& machine, const Endpoint& at, Listener& listener) {
    if (const auto held = lingering_.find(place(machine, at)); held != lingering_.end()) {
        if (world_.now() < held->second) {
            return false;
        }
        lingering_.erase(held);
    }
    dead_paths_.erase(place(machine, at));
    return listeners_.emplace(place(machine, at), &listener).second;
}

void Network::remove_listener(const Machine& machine,
                              const Endpoint& at,
                              Listener& listener,
                              Leaves leaves) {
    const auto found = listeners_.find(place(machine, at));
    if (found == listeners_.end() || found->second != &listener) {
        return;
    }
    if (leaves != Leaves::Nothing) {
        if (at.family == Endpoint::Family::Unix) {
            dead_paths_.insert(found->first);
        }
        if (leaves == Leaves::PathAndPlace &&
            world_.faults().strikes(Fault::Linger, kLingerOneIn)) {
            const auto for_ms = world_.faults().pick(Fault::Linger, kLingerMs);
            lingering_[found->first] = world_.now() + std::chrono::milliseconds(for_ms);
        }
    }
    listeners_.erase(found);
}

Endpoint Network::free_port(const Machine& machine) const {
    constexpr std::uint16_t kFirstEphemeral = 49152;  // RFC 6335, 6
    Endpoint at = Endpoint::tcp(machine.address, kFirstEphemeral);
    while (listeners_.contains(place(machine, at))) {
        ++at.port;
    }
    return at;
}

std::expected<std::shared_ptr<Connection>, int> Network::connect(Process& from,
                                                                 const Endpoint& to) {
    const bool tcp = to.family == Endpoint::Family::Tcp;
    Machine* target = tcp ? world_.machine_at(to.address) : &from.machine();
    if (target == nullptr) {
        return std::unexpected(EHOSTUNREACH);
    }
    if (tcp && (!target->powered || !link_up(from.machine(), *target))) {
        return std::unexpected(0);
    }
    const auto found = listeners_.find(place(*target, to));
    if (found == listeners_.end() && !tcp && !dead_paths_.contains(place(*target, to))) {
        return std::unexpected(ENOENT);
    }
    if (found == listeners_.end() || (tcp && world_.faults().strikes(Fault::RefuseConnect, 4))) {
        return std::unexpected(ECONNREFUSED);
    }
    Connection::Options options;
    options.tcp = tcp;
    options.machines = {&from.machine(), target};
    options.names = {from.name(), found->second->process().name()};
    options.id = next_id_++;
    options.window = tcp ? tcp_window : std::size_t{200} * 1024;
    auto connection = std::make_shared<Connection>(world_, options);
    if (tcp && make_sniffer) {
        connection->set_sniffer(make_sniffer(*connection));
    }
    world_.trace().note("connected", from.name(), options.id);
    found->second->on_connection(connection);
    return connection;
}

void Network::break_one(const Machine& machine) {
    std::vector<Connection*> candidates;
    for (const auto& [id, connection] : connections_) {
        const auto& ends = connection->options().machines;
        if (connection->options().tcp && std::ranges::find(ends, &machine) != ends.end() &&
            connection->is_open(0) && connection->is_open(1)) {
            candidates.push_back(connection);
        }
    }
    if (!candidates.empty()) {
        Connection& chosen = *candidates[world_.faults().pick(Fault::Reset, candidates.size())];
        chosen.reset();
        broke(chosen);
    }
}

void Network::broke(const Connection& connection) {
    Faults& faults = world_.faults();
    if (faults.stopped() || faults.pick(Fault::Reset, kMoreBreakOneIn) != 0) {
        return;
    }
    for (const auto& [id, other] : connections_) {
        if (other->options().tcp && other->options().machines == connection.options().machines) {
            const core::Nanos after = std::chrono::microseconds(faults.pick(Fault::Reset, 1000));
            world_.events().after(after, [this, number = id] {
                const auto found = connections_.find(number);
                if (found != connections_.end()) {
                    found->second->reset();
                }
            });
        }
    }
}

void Network::bring_up(const Machine& a, const Machine& b) {
    if (down_.erase(pair(a, b)) == 0) {
        return;
    }
    for (const auto& [id, connection] : connections_) {
        connection->resume();
    }
}

}  // namespace remora::sim
