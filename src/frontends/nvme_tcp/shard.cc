// SPDX-License-Identifier: Apache-2.0
#include "frontends/nvme_tcp/shard.h"

#include <algorithm>

#include "core/log.h"
#include "nvme/spec/fabrics.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::StatusCode;

namespace {

/// Others use the pool, too, and tell nobody when they give back: look again after this.
constexpr Nanos kBufferRetry = std::chrono::milliseconds(1);

AttachReply bad_parameter(std::size_t offset, bool final = true) {
    return {nvme::spec::status_field(StatusCode::ConnectInvalidParameters, final),
            nvme::spec::connect_invalid_parameter(offset, true)};
}

}  // namespace

Shard::Shard(block::ReactorContext context,
             std::uint32_t index,
             std::uint32_t shard_count,
             const TargetLimits& limits)
    : context_(context),
      index_(index),
      shard_count_(shard_count),
      limits_(limits),
      retry_timer_(*this) {}

Shard::~Shard() {
    CHECK(empty() && replicas_.empty() && departures_.empty());
}

Replica& Shard::replica(const std::string& nqn) {
    const auto at = replicas_.find(nqn);
    CHECK(at != replicas_.end());
    return *at->second;
}

Replica* Shard::find_replica(std::string_view nqn) const {
    const auto at = replicas_.find(nqn);
    return at == replicas_.end() || at->second->closing ? nullptr : at->second.get();
}

// --- Configuration ---

void Shard::add_replica(const nvme::SubsystemIdentity& identity) {
    auto made = std::make_unique<Replica>(identity, reactor().now());
    const bool added = replicas_.emplace(identity.nqn, std::move(made)).second;
    CHECK(added);
}

void Shard::open_port(const std::string& nqn, const Endpoint& at, nvme::spec::AnaState state) {
    replica(nqn).ports[at].open = true;
    set_ana_state(nqn, at, state);  // some may be there from before
}

void Shard::close_port(const std::string& nqn, const Endpoint& at) {
    replica(nqn).close_port(at);
}

void Shard::set_ana_state(const std::string& nqn, const Endpoint& at, nvme::spec::AnaState state) {
    Port* port = replica(nqn).open_port(at);
    CHECK(port != nullptr);
    if (port->ana.state == state) {
        return;
    }
    port->ana.state = state;
    ++port->ana.changes;
    for (const auto& [cntlid, association] : associations_) {
        if (association->port() == port && !association->ended()) {
            association->controller().ana_changed();
        }
    }
}

Result<void> Shard::put_stage(const std::string& nqn,
                              const Endpoint& at,
                              const std::shared_ptr<block::Stage>& stage) {
    Replica& here = replica(nqn);
    Port* port = here.open_port(at);
    CHECK(port != nullptr);
    if (port->stage == stage) {
        return {};
    }
    CHECK(port->stage == nullptr);
    port->stage = stage;
    for (const auto& [nsid, target] : here.namespaces) {
        if (auto opened = port->open_way(*target); !opened) {
            port->ways.clear();
            port->stage = nullptr;
            return opened;
        }
    }
    return {};
}

void Shard::set_directory(nvme::Directory directory) {
    directory_ = std::move(directory);
    for (const auto& [cntlid, association] : associations_) {
        if (association->replica() == nullptr) {
            association->controller().discovery_changed();
        }
    }
}

Result<void> Shard::add_namespace(const std::string& nqn,
                                  const nvme::Namespace& from,
                                  std::uint64_t incarnation,
                                  block::Device& device) {
    auto channel = device.open_channel();
    if (!channel) {
        return core::fail("open a channel of '" + device.name() + "'", channel.error());
    }
    auto added = std::make_unique<OpenNamespace>();
    static_cast<nvme::Namespace&>(*added) = from;
    added->incarnation = incarnation;
    added->update_guard();
    added->channel = std::move(*channel);
    Replica& to = replica(nqn);
    for (auto& [at, port] : to.ports) {
        if (auto opened = port.open_way(*added); !opened) {
            to.forget_ways(from.nsid);
            return core::fail("open a channel of '" + device.name() + "'", opened.error());
        }
    }
    to.subsystem.add(*added);
    to.namespaces.emplace(from.nsid, std::move(added));
    return {};
}

void Shard::detach_namespace(const std::string& nqn, std::uint32_t nsid) {
    replica(nqn).subsystem.remove(nsid);
}

Task<> Shard::close_namespace(std::string nqn, std::uint32_t nsid) {
    Replica& from = replica(nqn);
    const auto at = from.namespaces.find(nsid);
    CHECK(at != from.namespaces.end());
    OpenNamespace& closing = *at->second;
    for (const auto& [endpoint, port] : from.ports) {
        if (block::StageChannel* way = port.staged_way(nsid)) {
            co_await way->drain();
        }
    }
    // The device bounds how long its requests take.
    while (closing.in_flight > 0) {
        co_await closing.idle.wait_until(core::kNever);
    }
    from.forget_ways(nsid);
    from.namespaces.erase(nsid);
}

void Shard::set_geometry(const std::string& nqn,
                         std::uint32_t nsid,
                         const block::Geometry& geometry) {
    OpenNamespace* changed = replica(nqn).find(nsid);
    CHECK(changed != nullptr);
    changed->geometry = geometry;
}

void Shard::announce_namespace(const std::string& nqn, std::uint32_t nsid) {
    const Replica* changed = &replica(nqn);
    for (const auto& [cntlid, association] : associations_) {
        if (association->replica() == changed && !association->ended()) {
            association->controller().namespace_changed(nsid);
        }
    }
}

void Shard::close_replica(const std::string& nqn) {
    Replica& closed = replica(nqn);
    closed.closing = true;
    for (const auto& [cntlid, association] : associations_) {
        if (association->replica() == &closed) {
            association->end("subsystem deleted");
        }
    }
    for (const auto& [id, connection] : connections_) {
        if (connection->replica() == &closed) {
            connection->close("subsystem deleted");
        }
    }
}

Task<> Shard::remove_replica(std::string nqn) {
    Replica& removed = replica(nqn);
    // Ends with the last request of its connections, which their devices bound.
    while (removed.users > 0) {
        co_await removed.unused.wait_until(core::kNever);
    }
    // Nothing is left here but fences, maybe, of pairs that are under way elsewhere.
    for (const auto& [nsid, open] : removed.namespaces) {
        while (open->in_flight > 0) {
            co_await open->idle.wait_until(core::kNever);
        }
    }
    replicas_.erase(nqn);
}

void Shard::adopt(reactor::Handle connection, const Endpoint& at) {
    if (stopping_ || connections_.size() >= limits_.connections) {
        log::warn("connection refused: too many", log::kv("limit", limits_.connections));
        reactor().io().close(connection);
        return;
    }
    auto stream = reactor().io().adopt_stream(connection);
    if (!stream) {
        log::warn("connection lost at accept", log::kv("error", stream.error().message));
        return;
    }
    ++accepted_;
    const std::uint64_t id = next_connection_++;
    const auto added =
        connections_.emplace(id, std::make_unique<Connection>(*this, id, std::move(*stream), at));
    added.first->second->start();
}

void Shard::close_all() {
    stopping_ = true;
    for (const auto& [id, connection] : connections_) {
        connection->close("stopping");
    }
}

Task<> Shard::wait_empty() {
    while (!empty()) {
        co_await emptied_.wait_until(core::kNever);
    }
    co_await tasks_.close();
}

Task<> Shard::settle() {
    // A message from here to each peer runs after all that were sent there before.
    for (Shard* other : peers_) {
        co_await reactor::call_on(other->reactor(), [] {});
    }
}

void Shard::add_stats(TargetStats& stats) const {
    stats.accepted += accepted_;
    stats.protocol_errors += protocol_errors_;
    stats.keep_alive_timeouts += keep_alive_timeouts_;
    for (const auto& [cntlid, association] : associations_) {
        stats.controllers += association->ended() ? 0U : 1U;
    }
    for (const auto& [id, connection] : connections_) {
        stats.connections.push_back(connection->stats());
    }
}

// --- Other shards ---

AttachReply Shard::attach_queue(const AttachRequest& request) {
    using nvme::spec::ConnectData;
    const auto at = associations_.find(request.cntlid);
    if (at == associations_.end() || at->second->ended() || at->second->replica() == nullptr) {
        // It has ended, maybe with the process before this one: the host's next one will do.
        return bad_parameter(offsetof(ConnectData, cntlid), false);
    }
    Association& association = *at->second;
    const nvme::ControllerOptions& owner = association.controller().options();
    if (association.replica()->nqn() != request.host.subnqn) {
        return bad_parameter(offsetof(ConnectData, subnqn));
    }
    if (owner.hostnqn != request.host.hostnqn) {
        return bad_parameter(offsetof(ConnectData, hostnqn));
    }
    if (owner.host_id != request.host.host_id) {
        return bad_parameter(offsetof(ConnectData, host_id));
    }
    // A controller and its queues are on one port (NVM Express Base 2.0, Controller Association).
    if (association.endpoint() != request.at) {
        return bad_parameter(offsetof(ConnectData, cntlid));
    }
    AttachReply reply;
    reply.status =
        association.controller().check_io_connect(request.qid, request.sqsize, reply.dw0);
    if (reply.status == 0 &&
        !association.add_queue(request.qid, request.shard, request.connection)) {
        // The queue's connection before this one is still going: its id will be free.
        reply.status = nvme::spec::status_field(StatusCode::CommandSequenceError);
    }
    return reply;
}

void Shard::queue_gone(std::uint16_t cntlid,
                       std::uint16_t qid,
                       std::uint64_t connection,
                       const nvme::ErrorBatch& errors) {
    const auto at = associations_.find(cntlid);
    if (at != associations_.end()) {
        at->second->controller().add_errors(errors);
        at->second->remove_queue(qid, connection);
    }
}

void Shard::close_connection(std::uint64_t id, const char* reason) {
    const auto at = connections_.find(id);
    if (at != connections_.end()) {
        at->second->close(reason);
    }
}

// --- Connections and associations ---

Association* Shard::make_association(Connection& admin,
                                     Replica* replica,
                                     Port* port,
                                     nvme::ControllerOptions options) {
    if (stopping_ || associations_.size() >= limits_.controllers) {
        return nullptr;
    }
    // The id says where the controller lives. Ids are taken in turn, so that a late message or
    // Connect of an old association does not meet a new one.
    const std::uint32_t slots =
        std::min(limits_.controllers * 4U, nvme::spec::kMaxControllerId / shard_count_);
    std::uint16_t cntlid = 0;
    do {
        cntlid = static_cast<std::uint16_t>(1U + next_controller_ * shard_count_ + index_);
        next_controller_ = (next_controller_ + 1) % slots;
    } while (associations_.contains(cntlid));
    CHECK(home_of(cntlid) == index_ && cntlid <= nvme::spec::kMaxControllerId);
    options.cntlid = cntlid;
    options.port = port == nullptr ? nullptr : &port->ana;
    options.max_io_queues = limits_.io_queues;
    options.max_queue_entries = limits_.queue_depth;
    options.in_capsule_bytes = limits_.in_capsule_bytes;
    options.transfer_shift = static_cast<std::uint8_t>(limits_.transfer_shift);
    auto made =
        std::make_unique<Association>(*this, admin, replica, port, &directory_, std::move(options));
    return associations_.emplace(cntlid, std::move(made)).first->second.get();
}

void Shard::remove(Connection& connection) {
    const std::uint64_t id = connection.id();
    Replica* used = connection.replica();
    Port* through = connection.port();
    if (connection.attached()) {
        Shard& home = peer(home_of(connection.stats().cntlid));
        const std::uint16_t cntlid = connection.stats().cntlid;
        const std::uint16_t qid = connection.stats().qid;
        home.reactor().post_function([&home, cntlid, qid, id, errors = connection.take_errors()] {
            home.queue_gone(cntlid, qid, id, errors);
        });
    }
    connections_.erase(id);
    tell_departure();
    if (used != nullptr) {
        used->drop_user(*through);
    }
    if (empty()) {
        emptied_.notify();
    }
}

void Shard::wait_for_buffer(Connection& connection) {
    if (!connection.core::ListHook<>::linked()) {
        waiters_.push_back(connection);
    }
    if (!retry_timer_.armed()) {
        reactor().arm(retry_timer_, reactor().now() + kBufferRetry);
    }
}

void Shard::on_timer(reactor::Timer& /*timer*/) {
    run_later();
}

void Shard::run() {
    sweep_associations();
    serve_waiters();
}

void Shard::sweep_associations() {
    const auto gone =
        std::erase_if(associations_, [](const auto& entry) { return entry.second->idle(); });
    if (gone > 0) {
        tell_departure();
        if (empty()) {
            emptied_.notify();
        }
    }
}

void Shard::serve_waiters() {
    // Each gets one try, in order; who still waits queues up again.
    core::List<Connection> batch;
    batch.splice_back(waiters_);
    while (Connection* waiter = batch.pop_front()) {
        waiter->retry_buffers();
    }
}

}  // namespace remora::frontends::nvme_tcp
