// SPDX-License-Identifier: Apache-2.0
// RaidChannel: the I/O of an array on one reactor.
//
//   submit ─┬─ a read that one member has ── forwarded as it is ─────────────► member
//           └─ waiting ─► split ─► Op ─► lock ─► mark / log ─► subs ─────────► members
//                           ▲       │      └ waits: locks_, marks_, logs_        │
//                 free op ──┘       │                                            │
//   up ◄── last part ◄── finish ◄───┴── settle ◄─────────────────────────────────┘
//                                        └ a member failed: held_ until it has left durably
//
// An Op is a part of a request in one set, or a rectangle of rows and chunks of one RAID 5 stripe.
// Ops, their subs and the reserve buffer are the channel's own, so nothing waits for what somebody
// else holds but locks, marks and log places, which go on without us. What could not be read is
// served by the lane, a coroutine that takes one at a time, reads the others and mends it.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"
#include "core/intrusive_list.h"
#include "core/segment.h"
#include "memory/buffer_pool.h"
#include "reactor/gate.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"
#include "services/raid/legs.h"
#include "services/raid/look_again.h"
#include "services/raid/raid_shared.h"

namespace remora::services::raid {

class RaidDevice;

class RaidChannel final : public block::Channel,
                          public core::ListHook<RaidChannel>,
                          private block::Completer,
                          private reactor::TimerHandler,
                          private reactor::Runnable {
  public:
    static constexpr std::size_t kOps = 128;
    static constexpr std::size_t kSlices = 16;
    static constexpr std::size_t kReserveBytes = std::size_t{256} * 1024;
    /// Of RAID 5 writes, copied and added up in one turn; some 0.4 ms.
    static constexpr std::size_t kBytesPerTurn = std::size_t{2} << 20U;

    /// `shared`, `lanes` and `pool` (may be null) outlive it. Opens the legs of `open`. Errors:
    /// those of the members, ResourceExhausted.
    static core::Result<std::unique_ptr<RaidChannel>> create(RaidShared& shared,
                                                             const block::Geometry& geometry,
                                                             const View& view,
                                                             LegMask open,
                                                             reactor::Gate& lanes,
                                                             memory::BufferPool* pool);
    RaidChannel(const RaidChannel&) = delete;
    RaidChannel& operator=(const RaidChannel&) = delete;
    ~RaidChannel() override;

    void submit(block::RequestBatch& batch) override;

    // For the home reactor, on the channel's.
    core::Result<void> open_leg(int leg, block::Device& device) { return legs_.open(leg, device); }
    [[nodiscard]] bool try_close_leg(int leg) { return legs_.try_close(leg); }
    void apply(const View& view);

  private:
    enum class Kind : std::uint8_t { Read, Linear, Mirror, Flush, ParityWrite, ParityRead };
    enum class Stage : std::uint8_t {
        Lock,
        Mark,    ///< Mirror: its region must be marked.
        Plan,    ///< Parity: what to read.
        Read,    ///< Old rows are being read.
        Log,     ///< The log entry is being written.
        Write,   ///< The members are being written.
        Settle,  ///< All are back; those that failed must have left.
    };
    // A frame's words: the leg and whether it is a sub's, a forwarded request's own first block,
    // the slot that is read, and how often it was tried.
    static constexpr std::uint64_t kLegMark = 0xff;
    static constexpr std::uint64_t kSubMark = 0x100;

    struct Op;
    struct Sub : block::Request {
        Op* op = nullptr;
        core::Segment segment;
    };
    struct Op : core::QueueHook<Op> {
        block::Request* parent = nullptr;
        Kind kind = Kind::Linear;
        Stage stage = Stage::Lock;
        bool logged = false;
        std::uint8_t tries = 0;
        bool bounced = false;  ///< `buffer` stands for the parent's own bytes.
        std::size_t set = 0;
        std::size_t slot = 0;      ///< Parity reads: whose rows.
        std::uint64_t offset = 0;  ///< Of the member's data. Parity: of the row.
        std::uint64_t bytes = 0;   ///< Of each member.
        std::uint64_t stripe = 0;
        RaidLayout::Band band;
        RangeLock lock;
        bool locked = false;
        bool entered = false;  ///< Is counted in its region.
        std::size_t region = 0;
        std::span<std::byte> buffer;
        core::SegmentCursor cursor;  ///< Reads through the buffer: where they go.
        std::array<core::Segment, kSlices> slices{};
        std::span<const core::Segment> data;
        std::span<Sub> subs;
        std::size_t sub_count = 0;  ///< Of the present step.
        std::size_t pending = 0;
        LegMask done = 0;            ///< Legs that did it, in the present step.
        LegMask failed = 0;          ///< Legs that did not.
        LegMask avoid = 0;           ///< Parity reads: legs that cannot give it.
        int bad_leg = kNoLeg;        ///< Whose rows the lane is to mend.
        bool directly = false;       ///< Parity reads: from the slot itself.
        bool by_difference = false;  ///< Parity: from its old self, else from all data.
        block::Status status = block::Status::Ok;
        std::uint16_t nvme_status = 0;
        std::uint64_t sequence = 0;
    };

    RaidChannel(RaidShared& shared,
                const block::Geometry& geometry,
                const View& view,
                reactor::Gate& lanes,
                memory::BufferPool* pool);

    // raid_channel.cc: requests, ops, waiting.
    void complete(block::RequestBatch& batch) override;
    void on_timer(reactor::Timer& timer) override;
    void run() override;
    void work();
    void plan_next_look();
    void give_up();
    void wake();
    bool begin_requests();
    bool begin_part();
    void advance(Op& op);
    void try_waiting(core::Queue<Op>& waiting);
    [[nodiscard]] bool take_lock(Op& op);
    Op* take_op(Kind kind);
    void finish(Op& op, block::Status status);
    void part_done(block::Request& parent, block::Status status, std::uint16_t nvme_status);
    Sub& add_sub(Op& op, int leg, block::Opcode opcode, std::uint64_t at, std::size_t bytes);
    void sub_back(Sub& sub, int leg);
    void step_done(Op& op);
    void settle(Op& op);
    [[nodiscard]] bool all_failed_have_left(const Op& op) const;
    [[nodiscard]] bool has_all(int leg, std::size_t slot, std::uint64_t offset) const;
    void report_failed(const Op& op);
    void hold(Op& op);
    std::span<std::byte> take_buffer(std::size_t bytes);
    void give_buffer(std::span<std::byte> buffer);
    void count_error(int leg, block::Opcode opcode);

    // plain_ops.cc: reads, linear levels, mirrors, flush.
    [[nodiscard]] bool try_forward(block::Request& request);
    void forwarded_back(block::Request& request, int leg);
    [[nodiscard]] int choose_mirror(std::size_t set, std::uint64_t offset, std::uint64_t bytes);
    bool begin_plain();
    bool begin_flush();
    bool gather(Op& op, std::uint64_t& bytes);
    void advance_mirror(Op& op);
    void settle_mirror(Op& op);

    // parity_ops.cc
    bool begin_parity_write();
    bool begin_parity_read(const RaidLayout::Run& run);
    void fill_rows(Op& op, std::uint64_t stripe_begin);
    void advance_parity(Op& op);
    void plan_parity(Op& op);
    void read_old(Op& op);
    void old_rows_back(Op& op);
    void compute_parity(Op& op);
    void log_parity(Op& op);
    void log_back(Op& op);
    void write_parity(Op& op);
    void finish_parity(Op& op);
    void plan_parity_read(Op& op);
    void parity_read_back(Op& op);
    [[nodiscard]] std::span<std::byte> row_of(const Op& op, std::size_t index) const;
    [[nodiscard]] std::uint64_t row_offset(const Op& op) const {
        return op.stripe * shared_.layout.chunk_bytes() + op.band.row_begin;
    }

    // lane.cc
    void start_lane();
    reactor::Task<> run_lane();
    reactor::Task<> serve_read(block::Request& request);
    reactor::Task<block::Status> serve_piece(int leg,
                                             std::size_t slot,
                                             std::uint64_t offset,
                                             std::size_t bytes);
    void lane_read_done(block::Request& request);
    reactor::Task<bool> mend_op(Op& op);
    reactor::Task<> lock(RangeLock lock);

    RaidShared& shared_;
    const block::Geometry geometry_;
    View view_;
    Legs legs_;
    reactor::Gate& lanes_;
    memory::BufferPool* pool_;
    std::size_t pool_bytes_ = 0;  // held
    struct Free {
        void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte, Free> reserve_;
    std::size_t reserve_bytes_ = 0;
    bool reserve_used_ = false;
    std::unique_ptr<std::byte, Free> lane_room_;

    reactor::Reactor& reactor_;
    LookAgain look_;
    reactor::Timer look_again_;
    reactor::Timer retry_;
    core::Nanos turn_{-1};  // that bytes_left_ belongs to
    std::size_t bytes_left_ = 0;
    unsigned read_turn_ = 0;

    std::vector<Op> ops_;
    std::vector<Sub> subs_;
    core::Queue<Op> free_;
    bool again_ = false;  // something became free

    block::RequestBatch waiting_;
    block::Request* splitting_ = nullptr;
    std::uint64_t split_done_ = 0;   // bytes of it
    std::uint64_t split_bytes_ = 0;  // all of it
    core::SegmentCursor split_cursor_;
    std::uint32_t split_row_ = 0;  // RAID 5 writes: of the present stripe

    core::Queue<Op> locks_;             // wait for a lock
    core::Queue<Op> marks_;             // wait for their region's mark
    core::Queue<Op> logs_;              // wait for a place in the log
    core::Queue<Op> held_;              // wait for failed members to leave
    core::Queue<Op> stalled_;           // wait for another view
    block::RequestBatch failed_reads_;  // for the lane
    core::Queue<Op> broken_;            // for the lane
    bool lane_runs_ = false;
    block::RequestBatch later_;  // members were short of something
    block::RequestBatch up_;
    block::DeferredCompletions refused_;
};

}  // namespace remora::services::raid
