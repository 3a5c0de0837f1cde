// SPDX-License-Identifier: Apache-2.0
// Lane: one data reactor's part of a remote controller. It takes requests of every namespace,
// cuts them into commands, keeps them while there is no path and sends them again on the next.
//
//   submit ─► waiting ──(live, room)──► QueuePair ──► completed
//               ▲  ▲                        │ connection died: in the old order, to the front
//               │  └────────────────────────┤
//               └── retrying ◄──(a status that asks for another try, or the namespace is away)
//
// A request waits until its deadline and then fails. With fewer I/O queues granted than there are
// reactors, a lane without one hands its requests to a carrier lane, by mailbox.
//
// When its volume has other paths (MultipathView), a request does not wait here: it is given back
// to the volume's view of this reactor. What a carrier has goes home first, when its connection is
// drained.
//
// It lives as long as its controller, is made and destroyed on the control reactor, and does all
// else on its own, between connect() and shut_down() (both through reactor::call_on).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "backends/nvme_tcp/courier.h"
#include "backends/nvme_tcp/multipath_view.h"
#include "backends/nvme_tcp/namespace_device.h"
#include "backends/nvme_tcp/progress.h"
#include "backends/nvme_tcp/queue_pair.h"
#include "backends/nvme_tcp/remote_controller.h"
#include "block/deferred.h"

namespace remora::backends::nvme_tcp {

/// Limits of the controller's that a part of a request has to keep.
struct TransferLimits {
    std::uint32_t max_transfer_bytes = 1U << 20U;
    std::uint64_t max_zeroes_bytes = ~std::uint64_t{0};  ///< Of any block size.
    std::uint32_t max_discard_blocks = 0xffffffffU;
    bool operator==(const TransferLimits&) const = default;
};

/// Told on the control reactor that a lane's connection has ended by itself.
class LaneOwner {
  public:
    virtual void on_lane_down(std::uint32_t lane, const core::Error& reason) = 0;
    /// A command's status says that what is known of the ANA states is out of date.
    virtual void on_ana_doubt() = 0;
    /// A command of an I/O queue is not answered while later ones are.
    virtual void on_overtaken(std::uint16_t queue_id, std::uint16_t cid) = 0;

  protected:
    ~LaneOwner() = default;
};

/// Counters of one lane; submitted = completed + failed + handed_on once nothing is inside.
struct LaneStats {
    std::uint64_t submitted = 0;
    std::uint64_t completed = 0;
    std::uint64_t failed = 0;
    std::uint64_t commands = 0;
    std::uint64_t resent = 0;     ///< Requests sent again on another connection.
    std::uint64_t retried = 0;    ///< Requests tried again after a status, or while away.
    std::uint64_t handed_on = 0;  ///< Requests given back for another path.
};

class Lane final : private QueuePairHandler, private reactor::TimerHandler {
  public:
    Lane(std::uint32_t index,
         const block::ReactorContext& context,
         reactor::Reactor& home,
         LaneOwner& owner,
         const Timing& timing);
    Lane(const Lane&) = delete;
    Lane& operator=(const Lane&) = delete;
    ~Lane();

    /// Makes the couriers to the other lanes. Control reactor, before anything else.
    void meet(std::span<const std::unique_ptr<Lane>> lanes);

    [[nodiscard]] std::uint32_t index() const { return index_; }
    [[nodiscard]] reactor::Reactor& reactor() const { return reactor_; }

    // On the lane's reactor:

    /// Opens a connection and its I/O queue. Nothing is sent before go_live().
    Task<Result<void>> connect(QueuePairOptions options);
    /// What is waiting is sent now. `carrier`: whose queue to use, null for the lane's own.
    void go_live(const TransferLimits& limits, const Timing& timing, Lane* carrier);
    /// Ends the connection, orderly if it still works; requests go back to waiting. What changes
    /// blocks and was outstanding is given to other paths when it surely is not executed any more:
    /// `ended` says that the controller has confirmed that, else the connection's own end does, or
    /// the next go_live() (a target holds a Connect until then), or Timing::resend_hold is over.
    Task<> disconnect(Nanos linger, bool ended);
    /// Ends a connect() that is under way.
    void abort_connect(core::Error reason);
    /// After the last disconnect: fails what is waiting and disarms.
    void shut_down();
    /// Nothing is on its way to or from another lane by this one's couriers.
    [[nodiscard]] bool couriers_idle() const;

    void submit(NamespaceView& view, block::RequestBatch& batch);
    /// The same for requests that a MultipathView has placed; their deadlines go on.
    void resume(NamespaceView& view, block::RequestBatch& batch);
    /// Commands can be sent.
    [[nodiscard]] bool live() const { return live_; }
    /// A request that waits for its connection to be drained changes blocks that `request` does.
    [[nodiscard]] bool holds_overlap(const NamespaceView& view,
                                     const block::Request& request) const;
    /// Gives back what waits here for `view`, whose requests may go elsewhere.
    void release(NamespaceView& view);
    /// Views that are one path of several are told when this path comes and goes.
    void add_grouped(NamespaceView& view);
    void remove_grouped(NamespaceView& view) { std::erase(grouped_, &view); }
    /// From a courier: `requests` to carry for the lane `from`, `finished` that it carried for us.
    void on_courier(const Lane& from, block::RequestBatch& requests, block::RequestBatch& finished);
    [[nodiscard]] const LaneStats& stats() const { return stats_; }

  private:
    // The control reactor's copy of "the connection ended", posted at most once a connection.
    struct DownMessage final : reactor::Message {
        explicit DownMessage(Lane& owner) : lane(owner) {}
        void run() override;
        Lane& lane;
        core::Error reason;
        bool posted = false;
    };
    // What else the owner is told on the control reactor: a doubt about ANA states, a command to be
    // aborted. Once until it is taken.
    struct Word final : reactor::Message {
        using Tell = void (*)(Lane&);
        Word(Lane& owner, Tell what) : lane(owner), tell(what), back(*this) {}
        void run() override;
        void say();
        struct Back final : reactor::Message {
            explicit Back(Word& owner) : word(owner) {}
            void run() override { word.posted = false; }
            Word& word;
        };
        Lane& lane;
        Tell tell;
        Back back;
        bool posted = false;
    };

    void on_completions(std::span<const Completion> completions) override;
    void on_down(const core::Error& reason) override;
    void on_timer(reactor::Timer& timer) override;

    void enqueue(NamespaceView& view, block::Request& request);
    void pump();
    static void note_absence(Progress& progress);
    void note_ana(NamespaceView& view, std::uint16_t status);
    [[nodiscard]] static bool has_spare(const Progress& progress);
    static void release_hold(Progress& progress);
    void leave(block::Request& request);
    void hand_over_waiting(bool closed, bool ended);
    void end_holds();
    void come_home(block::Request& request);
    void tell_grouped();
    bool send_parts(block::Request& request, Progress& progress);
    std::uint32_t build_part(const block::Request& request,
                             const Progress& progress,
                             Command& command) const;
    void part_done(const Completion& completion, block::RequestBatch& finished);
    void part_failed(const Completion& completion, Progress& progress);
    void settle(block::Request& request);
    void finish(block::Request& request, block::RequestBatch& finished);
    static void give_back(block::RequestBatch& finished);
    void refuse(block::Request& request, block::Status status, std::uint16_t nvme_status);
    void retry_later(block::Request& request);
    void requeue_outstanding();
    void expire_waiting();
    void retry_due();
    void watch();
    void ask_abort(std::uint16_t cid);

    std::uint32_t index_;
    reactor::Reactor& reactor_;
    reactor::Reactor& home_;
    LaneOwner& owner_;
    Timing timing_;
    TransferLimits limits_;
    std::unique_ptr<QueuePair> queue_;
    Lane* carrier_ = nullptr;
    bool live_ = false;
    bool shut_down_ = false;
    bool draining_ = false;   // from the end of a connection until it is closed
    bool uncertain_ = false;  // what the last one had outstanding may still be executed
    std::uint32_t next_sequence_ = 0;
    block::RequestBatch waiting_;
    block::RequestBatch retrying_;
    block::DeferredCompletions refused_;
    std::vector<std::unique_ptr<Courier>> couriers_;  // by the other lane's index
    std::vector<block::Request*> gathered_;           // room for a whole queue
    std::vector<NamespaceView*> grouped_;
    reactor::Timer wait_timer_;
    reactor::Timer retry_timer_;
    reactor::Timer watch_timer_;
    reactor::Timer hold_timer_;  // ends what is uncertain
    DownMessage down_;
    Word doubt_;
    Word overtaken_;
    std::uint16_t overtaken_queue_ = 0;  // not changed while the word is on its way
    std::uint16_t overtaken_cid_ = 0;
    bool told_overtaken_ = false;  // of this command
    LaneStats stats_;
};

}  // namespace remora::backends::nvme_tcp
