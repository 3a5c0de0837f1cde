// SPDX-License-Identifier: Apache-2.0
// Shard: everything of the target that lives on one data reactor: replicas of the subsystems, the
// controllers whose admin queues are here, and the connections.
//
// All members run on the shard's reactor. Target and other shards reach it with call_on and
// Reactor::post_function.
#pragma once

#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "block/reactor_context.h"
#include "block/stage.h"
#include "core/intrusive_list.h"
#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/host_key.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/reservations.h"
#include "frontends/nvme_tcp/target.h"
#include "nvme/discovery.h"
#include "nvme/uncorrectable_keeper.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::frontends::nvme_tcp {

/// What an I/O queue's Connect asks of the controller's home.
struct AttachRequest {
    std::uint16_t cntlid = 0;
    std::uint16_t qid = 0;
    std::uint16_t sqsize = 0;
    HostKey host;
    std::uint32_t shard = 0;
    std::uint64_t connection = 0;
    Endpoint at;  ///< Where it was accepted.
};
struct AttachReply {
    std::uint16_t status = 0;
    std::uint32_t dw0 = 0;
};

/// Who makes the marks of Write Uncorrectable survive a restart, on the control reactor. Null:
/// nobody; they last as long as the target.
struct MarkStore {
    explicit MarkStore(reactor::Reactor& at) : control(at) {}

    reactor::Reactor& control;
    nvme::UncorrectableKeeper* keeper = nullptr;

    bool failing = false;  ///< The last one could not be stored: that is logged already.

    Task<Result<void>> keep(NamespacePlace place, nvme::UncorrectableBlocks marks);
};

class Shard final : private reactor::Runnable, private reactor::TimerHandler {
  public:
    Shard(block::ReactorContext context,
          std::uint32_t index,
          std::uint32_t shard_count,
          const TargetLimits& limits);
    Shard(const Shard&) = delete;
    Shard& operator=(const Shard&) = delete;
    /// After stop(), with nothing left.
    ~Shard();

    reactor::Reactor& reactor() { return context_.reactor; }
    memory::BufferPool& buffers() { return context_.buffers; }
    [[nodiscard]] std::uint32_t index() const { return index_; }
    [[nodiscard]] const TargetLimits& limits() const { return limits_; }
    /// All shards, in order; set once, before the first connection.
    void set_peers(std::vector<Shard*> peers) { peers_ = std::move(peers); }
    /// Set once, before the first connection; outlives the connections.
    void set_reservations(Reservations& reservations) { reservations_ = &reservations; }
    /// Used on its own reactor, by call_on().
    Reservations& reservations() { return *reservations_; }
    /// The same.
    void set_mark_store(MarkStore& store) { mark_store_ = &store; }
    Shard& peer(std::uint32_t index) { return *peers_[index]; }
    [[nodiscard]] std::uint32_t home_of(std::uint16_t cntlid) const {
        return (cntlid - 1U) % shard_count_;
    }

    // --- Configuration, called for the target ---
    void add_replica(const nvme::SubsystemIdentity& identity);
    void open_port(const std::string& nqn, const Endpoint& at, nvme::spec::AnaState state);
    /// Hosts that came through it stay.
    void close_port(const std::string& nqn, const Endpoint& at);
    /// The port is there.
    void set_ana_state(const std::string& nqn, const Endpoint& at, nvme::spec::AnaState state);
    /// All commands that come by the port, which is there, go through it from now on.
    Result<void> put_stage(const std::string& nqn,
                           const Endpoint& at,
                           const std::shared_ptr<block::Stage>& stage);
    void set_directory(nvme::Directory directory);
    Result<void> add_namespace(const std::string& nqn,
                               const nvme::Namespace& from,
                               std::uint64_t incarnation,
                               block::Device& device);
    /// Takes it out of the table; close_namespace() gives its channel back, once what a port's
    /// stage holds back of it, which that lets go at once, has ended.
    void detach_namespace(const std::string& nqn, std::uint32_t nsid);
    Task<> close_namespace(std::string nqn, std::uint32_t nsid);
    void set_geometry(const std::string& nqn, std::uint32_t nsid, const block::Geometry& geometry);
    /// Tells this shard's controllers.
    void announce_namespace(const std::string& nqn, std::uint32_t nsid);
    /// Disconnects every host of the subsystem...
    void close_replica(const std::string& nqn);
    /// ...and waits until the last is gone, then forgets it.
    Task<> remove_replica(std::string nqn);
    void adopt(reactor::Handle connection, const Endpoint& at);
    void close_all();
    Task<> wait_empty();
    /// Returns when every message this shard has sent to a shard has run.
    Task<> settle();
    void add_stats(TargetStats& stats) const;

    // --- For reservations ---
    /// From here on commands meet it here; those that it shuts out are marked.
    void update_reservation(const NamespacePlace& place, const ReservationUpdate& update);
    /// Returns when all marked commands have ended, or false at the deadline.
    Task<bool> drain_marked(const NamespacePlace& place, Nanos deadline);
    void tell_hosts(const NamespacePlace& place, const std::vector<nvme::HostNotice>& notices);
    /// The controllers of the subsystem that live here.
    void add_controllers(const std::string& nqn, std::vector<nvme::HostController>& to) const;

    // --- For other shards ---
    /// Adds what this reactor knows of the subsystem, and takes the errors of `cntlid`'s queues.
    void add_census(const std::string& nqn, std::uint16_t cntlid, nvme::Census& to);
    AttachReply attach_queue(const AttachRequest& request);
    void queue_gone(std::uint16_t cntlid,
                    std::uint16_t qid,
                    std::uint64_t connection,
                    const nvme::ErrorBatch& errors);
    void close_connection(std::uint64_t id, const char* reason);
    /// Returns when this reactor has nothing more that `host` has left behind, or false at the
    /// deadline.
    Task<bool> wait_departed(const HostKey& host, Nanos deadline);

    // --- For fused pairs and changes of marks, any reactor's ---
    /// Gives somebody these blocks: other writes to them wait from here on, and have ended when
    /// this returns. The namespace stays until unfence(). The error is a status field.
    Task<std::expected<OpenNamespace*, std::uint16_t>> fence(NamespacePlace place,
                                                             BlockRange range,
                                                             Nanos deadline);
    void unfence(OpenNamespace& target);

    // --- For connections and associations ---
    /// fence() of every reactor, in order. `fenced` has those that were reached also if it fails;
    /// unfence_everywhere() gives them back.
    Task<std::uint16_t> fence_everywhere(const NamespacePlace& place,
                                         BlockRange range,
                                         std::vector<OpenNamespace*>& fenced);
    Task<> unfence_everywhere(const std::vector<OpenNamespace*>& fenced);
    /// Makes the marks of a namespace durable, then shows them on every reactor. Only who has a
    /// fence of it on all of them changes them, so all are the same and all are the truth. Returns
    /// a status field; after an error nothing is changed.
    Task<std::uint16_t> set_uncorrectable(const NamespacePlace& place,
                                          nvme::UncorrectableBlocks marks,
                                          const std::vector<OpenNamespace*>& fenced);
    [[nodiscard]] const nvme::Directory& directory() const { return directory_; }
    /// Null when there is none, or it is being deleted.
    [[nodiscard]] Replica* find_replica(std::string_view nqn) const;
    /// Null when this reactor's controllers are used up.
    Association* make_association(Connection& admin,
                                  Replica* replica,
                                  Port* port,
                                  nvme::ControllerOptions options);
    /// Deletes the association when nothing of it is left; from the run queue.
    void association_changed() { run_later(); }
    /// Deletes the connection, which is closed and idle.
    void remove(Connection& connection);
    /// The same for every reactor, for as long as a Connect may be held.
    Task<bool> wait_departed_everywhere(const HostKey& host);
    Task<nvme::Census> take_census(std::string nqn, std::uint16_t cntlid);
    void wait_for_buffer(Connection& connection);
    /// A buffer went back to the pool.
    void buffer_released() {
        if (!waiters_.empty()) {
            run_later();
        }
    }
    /// For background work of connections; closed by wait_empty().
    reactor::Gate& tasks() { return tasks_; }
    void count_protocol_error() { ++protocol_errors_; }
    void count_keep_alive_timeout() { ++keep_alive_timeouts_; }

  private:
    void run() override;
    void on_timer(reactor::Timer& timer) override;
    void run_later() {
        if (!linked()) {
            reactor().run_soon(*this);
        }
    }
    void serve_waiters();
    void sweep_associations();
    [[nodiscard]] bool has_left_behind(const HostKey& host) const;
    void tell_departure();
    [[nodiscard]] bool empty() const { return connections_.empty() && associations_.empty(); }
    Replica& replica(const std::string& nqn);
    [[nodiscard]] bool has_writes_inside(const OpenNamespace& target) const;
    [[nodiscard]] OpenNamespace* find_namespace(const NamespacePlace& place) const;

    block::ReactorContext context_;
    std::uint32_t index_;
    std::uint32_t shard_count_;
    TargetLimits limits_;
    std::vector<Shard*> peers_;
    Reservations* reservations_ = nullptr;
    MarkStore* mark_store_ = nullptr;
    std::map<std::string, std::unique_ptr<Replica>, std::less<>> replicas_;
    nvme::Directory directory_;
    std::map<std::uint16_t, std::unique_ptr<Association>> associations_;
    std::uint32_t next_controller_ = 0;
    std::map<std::uint64_t, std::unique_ptr<Connection>> connections_;
    std::uint64_t next_connection_ = 1;
    core::List<Connection> waiters_;
    std::vector<reactor::Signal*> departures_;  // each told when something is gone
    reactor::Timer retry_timer_;
    reactor::Signal emptied_;
    reactor::Gate tasks_;
    bool stopping_ = false;
    std::uint64_t accepted_ = 0;
    std::uint64_t protocol_errors_ = 0;
    std::uint64_t keep_alive_timeouts_ = 0;
};

}  // namespace remora::frontends::nvme_tcp
