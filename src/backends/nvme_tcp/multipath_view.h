// SPDX-License-Identifier: Apache-2.0
// MultipathView: one reactor's part of a volume that several paths lead to. For each request it
// chooses a path and hands it to that path's lane; a lane whose path fails hands back what may go
// elsewhere, and here it waits, in order, while no path can be used.
//
//   submit ─► choose ─► Lane of path A ─► completed
//               ▲  └──► Lane of path B ─► completed
//               │             │ its connection died, its namespace is away, a status says so
//            waiting ◄────────┘
//
// A request is in one place at a time, a lane or here, so it is completed once. It pushes no frame:
// completions go from the lane to whoever submitted. With one path a batch goes to its lane as it
// is and waits there, so that a volume with one path costs what it costs without this.
//
// The resend hazard across paths. What changes blocks and was outstanding on a connection that died
// comes back only when it surely is not executed there any more (Lane::disconnect); what has not
// been sent, reads and flushes come back at once. Until then a request that changes the same blocks
// waits behind it, so a second copy of the older one cannot undo it.
//
// Everything but construction happens on its reactor.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "backends/nvme_tcp/namespace_device.h"
#include "block/deferred.h"
#include "reactor/timer.h"

namespace remora::backends::nvme_tcp {

/// Which of the best paths (optimized ones, or without any the non-optimized) gets a request.
enum class PathPolicy : std::uint8_t {
    Failover,    ///< One of them, until it is none of the best any more.
    RoundRobin,  ///< Each in turn.
    QueueDepth,  ///< The one that has the fewest requests of this volume and reactor.
};

class MultipathView final : private reactor::Runnable, private reactor::TimerHandler {
  public:
    static constexpr std::size_t kMaxPaths = 8;

    struct Options {
        bool takes_io = true;    ///< False for the control reactor's, when that is no data reactor.
        std::uint16_t lane = 0;  ///< Index of the reactor's lanes.
        PathPolicy policy = PathPolicy::QueueDepth;
        core::Nanos path_timeout{};
        block::Geometry geometry;
    };
    /// One path's view of the volume.
    struct Member {
        NamespaceView* view = nullptr;
        bool leaving = false;  ///< Gets nothing new, and gives back what it has.
        bool operator==(const Member&) const = default;
    };

    MultipathView(reactor::Reactor& reactor, const Options& options);
    MultipathView(const MultipathView&) = delete;
    MultipathView& operator=(const MultipathView&) = delete;
    /// After set_members({}), with nothing waiting.
    ~MultipathView();

    [[nodiscard]] reactor::Reactor& reactor() const { return reactor_; }
    [[nodiscard]] const block::Geometry& geometry() const { return geometry_; }
    [[nodiscard]] bool takes_io() const { return options_.takes_io; }

    void submit(block::RequestBatch& batch);
    /// Which paths there are, the preferred ones first; at most kMaxPaths that do not leave. One
    /// that is listed no more has nothing inside.
    void set_members(std::span<const Member> members);
    void set_geometry(const block::Geometry& geometry);
    void set_policy(PathPolicy policy) { options_.policy = policy; }

    // Told by lanes and by the paths' views:

    /// What waits at `view` may come here instead.
    [[nodiscard]] bool spares(const NamespaceView& view) const;
    /// Another path than `view` can be used now.
    [[nodiscard]] bool has_alternative(const NamespaceView& view) const;
    /// From a lane: nothing of the request is outstanding. It is placed anew, later in this turn.
    void take_back(block::Request& request);
    /// A path came, went or changed.
    void path_changed();
    /// The next request's place in the order of submission.
    std::uint32_t take_sequence() { return next_sequence_++; }

    std::uint32_t open_channels = 0;
    std::vector<block::DeviceListener*> listeners;

  private:
    /// A batch for each path, gathered before any is sent.
    struct Placement {
        std::array<block::RequestBatch, kMaxPaths> batches;
    };

    void run() override;
    void on_timer(reactor::Timer& timer) override;

    [[nodiscard]] static bool usable(const NamespaceView& view);
    [[nodiscard]] std::uint32_t best_paths(const NamespaceView* avoid) const;
    [[nodiscard]] int choose(const NamespaceView* avoid, const Placement& placement);
    [[nodiscard]] std::size_t least_busy(std::uint32_t paths, const Placement& placement) const;
    [[nodiscard]] bool must_wait(const block::Request& request) const;
    bool place(block::Request& request, Placement& placement);
    void place_waiting();
    void send(Placement& placement);
    void expire();
    void refuse(block::Request& request, block::Status status);

    reactor::Reactor& reactor_;
    Options options_;
    block::Geometry geometry_;
    std::vector<Member> members_;
    std::vector<NamespaceView*> paths_;  // those that do not leave
    std::size_t current_ = 0;            // of Failover; the last one of RoundRobin
    std::uint32_t next_sequence_ = 0;
    block::RequestBatch waiting_;   // oldest first
    block::RequestBatch returned_;  // handed back in this turn
    block::DeferredCompletions refused_;
    reactor::Timer timer_;
};

}  // namespace remora::backends::nvme_tcp
