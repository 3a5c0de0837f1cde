// SPDX-License-Identifier: Apache-2.0
// Network: who listens where, which machines hear each other, and every connection that lives.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "reactor/endpoint.h"
#include "tests/sim/world/connection.h"

namespace remora::sim {

class Listener;
class Process;

class Network {
  public:
    explicit Network(World& world) : world_(world) {}

    /// False when the place is taken: by another, or still by one who was killed.
    bool add_listener(const Machine& machine, const reactor::Endpoint& at, Listener& listener);
    /// A unix path that is left refuses who connects. A killed process leaves, by the fault's
    /// choice, the place taken for a while, too; a machine without power just the path.
    enum class Leaves : std::uint8_t { Nothing, Path, PathAndPlace };
    void remove_listener(const Machine& machine,
                         const reactor::Endpoint& at,
                         Listener& listener,
                         Leaves leaves);
    [[nodiscard]] bool listens(const Machine& machine, const reactor::Endpoint& at) const {
        return listeners_.contains(place(machine, at));
    }
    /// A place of the machine that nobody listens at, as the system picks one.
    [[nodiscard]] reactor::Endpoint free_port(const Machine& machine) const;

    /// One attempt. Errors: an errno; 0 when nothing comes back.
    std::expected<std::shared_ptr<Connection>, int> connect(Process& from,
                                                            const reactor::Endpoint& to);

    [[nodiscard]] bool link_up(const Machine& a, const Machine& b) const {
        return !down_.contains(pair(a, b));
    }
    void take_down(const Machine& a, const Machine& b) { down_.insert(pair(a, b)); }
    /// What was on its way goes on, the oldest connection first.
    void bring_up(const Machine& a, const Machine& b);

    /// One of the machine's TCP connections breaks, by the fault's choice; nothing without any.
    void break_one(const Machine& machine);
    /// The connection broke. What forgot it on the way may have forgotten others of the two, too.
    void broke(const Connection& connection);

    void add(Connection& connection) { connections_.emplace(connection.options().id, &connection); }
    void remove(Connection& connection) { connections_.erase(connection.options().id); }
    [[nodiscard]] std::size_t connections() const { return connections_.size(); }

    /// Makes the checker of a new TCP connection; may be null.
    std::function<std::unique_ptr<Sniffer>(const Connection&)> make_sniffer;
    std::size_t tcp_window = std::size_t{1} << 20U;

  private:
    using Place = std::pair<std::string, std::string>;  // machine, endpoint
    using MachinePair = std::pair<std::string, std::string>;
    static MachinePair pair(const Machine& a, const Machine& b) {
        return a.name < b.name ? MachinePair{a.name, b.name} : MachinePair{b.name, a.name};
    }
    [[nodiscard]] static Place place(const Machine& machine, const reactor::Endpoint& at);

    World& world_;
    std::map<Place, Listener*> listeners_;
    std::set<Place> dead_paths_;
    std::map<Place, core::Nanos> lingering_;  // until then
    std::set<MachinePair> down_;
    std::map<std::uint64_t, Connection*> connections_;
    std::uint64_t next_id_ = 1;
};

}  // namespace remora::sim
