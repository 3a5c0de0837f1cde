// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_channel.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <utility>

#include "core/check.h"
#include "core/probe.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using block::Opcode;
using block::Request;
using block::RequestBatch;
using block::Status;

namespace {

constexpr std::size_t kAlignment = 4096;  // of direct I/O, as the pool's buffers have it

std::size_t pool_cost(std::size_t bytes) {
    return std::bit_ceil(std::max(bytes, memory::BufferPool::kMinBytes));
}

}  // namespace

void RaidChannel::Free::operator()(std::byte* memory) const {
    std::free(memory);
}

core::Result<std::unique_ptr<RaidChannel>> RaidChannel::create(RaidShared& shared,
                                                               const block::Geometry& geometry,
                                                               const View& view,
                                                               LegMask open,
                                                               reactor::Gate& lanes,
                                                               memory::BufferPool* pool) {
    std::unique_ptr<RaidChannel> channel(new RaidChannel(shared, geometry, view, lanes, pool));
    const bool parity = shared.layout.level() == Level::Raid5;
    channel->reserve_bytes_ = parity ? kReserveBytes : kAlignment;
    const auto allocate = [](std::size_t bytes) {
        return static_cast<std::byte*>(std::aligned_alloc(kAlignment, bytes));
    };
    channel->reserve_.reset(allocate(channel->reserve_bytes_));
    if (is_redundant(shared.layout.level())) {
        channel->lane_room_.reset(allocate(kReserveBytes));
    }
    if (channel->reserve_ == nullptr ||
        (is_redundant(shared.layout.level()) && channel->lane_room_ == nullptr)) {
        return core::fail(core::ErrorKind::ResourceExhausted, "no memory for an array's buffers");
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((open & bit_of(leg)) == 0) {
            continue;
        }
        Leg& at = shared.legs[static_cast<std::size_t>(leg)];
        if (auto opened = channel->legs_.open(leg, *at.device); !opened) {
            return core::fail("member '" + at.name + "'", opened.error());
        }
    }
    return channel;
}

RaidChannel::RaidChannel(RaidShared& shared,
                         const block::Geometry& geometry,
                         const View& view,
                         reactor::Gate& lanes,
                         memory::BufferPool* pool)
    : shared_(shared),
      geometry_(geometry),
      view_(view),
      lanes_(lanes),
      pool_(pool),
      reactor_(reactor::Reactor::current()),
      look_again_(*this),
      retry_(*this),
      ops_(kOps),
      subs_(kOps * (shared.layout.slots() + 1)),
      refused_(reactor_) {
    const std::size_t each = shared.layout.slots() + 1;
    for (std::size_t i = 0; i < kOps; ++i) {
        ops_[i].subs = std::span(subs_).subspan(i * each, each);
        free_.push_back(ops_[i]);
    }
}

RaidChannel::~RaidChannel() {
    CHECK(free_.size() == kOps && waiting_.empty() && splitting_ == nullptr && up_.empty());
    CHECK(!lane_runs_ && failed_reads_.empty() && later_.empty());
    CHECK(pool_bytes_ == 0 && !reserve_used_);
    while (free_.pop_front() != nullptr) {
    }
    core::ListHook<reactor::Runnable>::unlink();
    core::ListHook<RaidChannel>::unlink();
}

void RaidChannel::submit(RequestBatch& batch) {
    while (Request* request = batch.pop_front()) {
        if (const Status status = block::validate(*request, geometry_); status != Status::Ok) {
            refused_.push(*request, status);
        } else if (!try_forward(*request)) {
            waiting_.push_back(*request);
        }
    }
    work();
    if (!up_.empty()) {
        wake();  // never before submit() has returned
    }
}

void RaidChannel::complete(RequestBatch& batch) {
    while (Request* request = batch.pop_front()) {
        auto& scratch = request->top_frame().scratch;
        const int leg = static_cast<int>(scratch[0] & kLegMark);
        if (request->status == Status::NoResources &&
            ++scratch[3] < static_cast<std::uint64_t>(kMostTries)) {
            later_.push_back(*request);
            continue;
        }
        legs_.came_back(leg);
        if ((scratch[0] & kSubMark) != 0) {
            sub_back(static_cast<Sub&>(*request), leg);
        } else {
            forwarded_back(*request, leg);
        }
    }
    if (!later_.empty() && !retry_.armed()) {
        reactor_.arm(retry_, reactor_.now() + kRetryAfter);
    }
    work();
    give_up();
}

void RaidChannel::on_timer(reactor::Timer& timer) {
    if (&timer == &retry_) {
        RequestBatch later = std::move(later_);
        while (Request* request = later.pop_front()) {
            const int leg = static_cast<int>(request->top_frame().scratch[0] & kLegMark);
            request->status = Status::Ok;
            legs_.came_back(leg);
            legs_.queue(leg, *request);
        }
    }
    turn_ = core::kNever;  // a new turn, also where the clock stands still
    work();
    give_up();
}

void RaidChannel::run() {
    work();
    give_up();
}

void RaidChannel::wake() {
    if (!core::ListHook<reactor::Runnable>::linked()) {
        reactor_.run_soon(*this);
    }
}

/// The last thing done anywhere: whoever gets its last request back may end this channel.
void RaidChannel::give_up() {
    if (!up_.empty()) {
        RequestBatch up = std::move(up_);
        block::complete_batch(up);
    }
}

void RaidChannel::apply(const View& view) {
    view_ = view;
    core::Queue<Op> held = std::move(held_);
    while (Op* op = held.pop_front()) {
        settle(*op);
    }
    core::Queue<Op> stalled = std::move(stalled_);
    while (Op* op = stalled.pop_front()) {
        advance(*op);
    }
    wake();
}

/// Everything that can go on does, and then goes down in whole batches.
void RaidChannel::work() {
    if (turn_ != reactor_.now()) {
        turn_ = reactor_.now();
        bytes_left_ = kBytesPerTurn;
    }
    do {
        again_ = false;
        try_waiting(locks_);
        try_waiting(marks_);
        try_waiting(logs_);
    } while (begin_requests() || again_);
    legs_.push();
    plan_next_look();
}

void RaidChannel::plan_next_look() {
    const bool others_hold = !locks_.empty() || !marks_.empty() || !logs_.empty();
    if (!others_hold) {
        look_.reset();
    }
    if (look_again_.armed()) {
        return;
    }
    if (bytes_left_ == 0) {
        reactor_.arm(look_again_, reactor_.now());
    } else if (others_hold) {
        reactor_.arm(look_again_, reactor_.now() + look_.next());
    }
}

void RaidChannel::try_waiting(core::Queue<Op>& waiting) {
    core::Queue<Op> all = std::move(waiting);
    while (Op* op = all.pop_front()) {
        advance(*op);  // it puts itself back if it has to
    }
}

/// Splits requests for as long as there is what their parts need. Whether one was begun.
bool RaidChannel::begin_requests() {
    bool any = false;
    for (;;) {
        if (splitting_ == nullptr) {
            splitting_ = waiting_.pop_front();
            if (splitting_ == nullptr) {
                return any;
            }
            splitting_->push_frame(*this).scratch = {1, 0, 0, 0};  // one part: the splitting itself
            split_done_ = 0;
            split_bytes_ = std::uint64_t{splitting_->block_count} * geometry_.block_size;
            split_cursor_ = core::SegmentCursor(splitting_->data);
            split_row_ = 0;
        }
        const bool flush = splitting_->opcode == Opcode::Flush;
        if (flush ? !begin_flush() : !begin_part()) {
            return any;
        }
        any = true;
        if (flush || split_done_ == split_bytes_) {
            part_done(*std::exchange(splitting_, nullptr), Status::Ok, 0);
        }
    }
}

/// The next part of the request that is being split; false when it must wait.
bool RaidChannel::begin_part() {
    if (shared_.layout.level() == Level::Raid5 && splitting_->opcode != Opcode::Read) {
        return begin_parity_write();
    }
    return begin_plain();
}

RaidChannel::Op* RaidChannel::take_op(Kind kind) {
    Op* op = free_.pop_front();
    if (op == nullptr) {
        REMORA_COVER("raid: a request waits for a free op");
        return nullptr;
    }
    const std::span<Sub> subs = op->subs;
    *op = Op{};
    op->subs = subs;
    op->kind = kind;
    op->parent = splitting_;
    return op;
}

void RaidChannel::advance(Op& op) {
    if (!op.locked && op.lock.mask != 0 && !take_lock(op)) {
        return;
    }
    switch (op.kind) {
        case Kind::Read:
        case Kind::Linear:
        case Kind::Flush:
            CHECK(op.stage == Stage::Settle);  // they wait for nothing before they are sent
            break;
        case Kind::Mirror:
            advance_mirror(op);
            break;
        case Kind::ParityWrite:
            advance_parity(op);
            break;
        case Kind::ParityRead:
            plan_parity_read(op);
            break;
    }
}

/// Behind those of this channel that wait for any of the same rows.
bool RaidChannel::take_lock(Op& op) {
    bool behind = false;
    locks_.for_each([&](const Op& other) { behind = behind || other.lock.overlaps(op.lock); });
    if (behind || !shared_.locks.try_acquire(op.lock)) {
        REMORA_COVER("raid: a part waits for a lock");
        locks_.push_back(op);
        return false;
    }
    op.locked = true;
    return true;
}

void RaidChannel::finish(Op& op, Status status) {
    CHECK(op.pending == 0);
    if (op.locked) {
        shared_.locks.release(op.lock);
    }
    if (op.entered) {
        shared_.intent->leave(op.region);
    }
    if (!op.buffer.empty()) {
        give_buffer(op.buffer);
    }
    Request& parent = *op.parent;
    const std::uint16_t nvme_status = status == Status::Ok ? std::uint16_t{0} : op.nvme_status;
    free_.push_front(op);
    again_ = true;
    look_.reset();
    part_done(parent, status, nvme_status);
}

void RaidChannel::part_done(Request& parent, Status status, std::uint16_t nvme_status) {
    auto& scratch = parent.top_frame().scratch;
    if (status != Status::Ok && scratch[1] == 0) {
        scratch[1] = static_cast<std::uint64_t>(status);
        scratch[2] = nvme_status;
    }
    CHECK(scratch[0] > 0);
    if (--scratch[0] > 0) {
        return;
    }
    parent.status = static_cast<Status>(scratch[1]);
    parent.nvme_status = static_cast<std::uint16_t>(scratch[2]);
    parent.pop_frame();
    up_.push_back(parent);
}

/// One I/O of the present step, of bytes of `leg` counted from its data.
RaidChannel::Sub& RaidChannel::add_sub(
    Op& op, int leg, Opcode opcode, std::uint64_t at, std::size_t bytes) {
    CHECK(op.sub_count < op.subs.size());
    Sub& sub = op.subs[op.sub_count++];
    sub.op = &op;
    sub.opcode = opcode;
    sub.force_unit_access = opcode != Opcode::Read && op.parent->force_unit_access;
    sub.takes_in_place = false;
    sub.is_hole = false;
    sub.status = Status::Ok;
    sub.nvme_status = 0;
    sub.lba = (shared_.data_offset + at) / shared_.block_size;
    sub.block_count = static_cast<std::uint32_t>(bytes / shared_.block_size);
    sub.data = {};
    sub.push_frame(*this).scratch = {static_cast<std::uint64_t>(leg) | kSubMark, 0, 0, 0};
    ++op.pending;
    legs_.queue(leg, sub);
    return sub;
}

void RaidChannel::sub_back(Sub& sub, int leg) {
    Op& op = *sub.op;
    CHECK(op.pending > 0);
    --op.pending;
    if (sub.status != Status::Ok) {
        count_error(leg, sub.opcode);
        if (op.kind == Kind::Read && is_redundant(shared_.layout.level())) {
            if (is_gone(sub.status)) {
                shared_.home.report(leg, sub.status, false);
            }
            failed_reads_.push_back(sub);  // with its frame
            start_lane();
            return;
        }
        op.failed |= bit_of(leg);
        op.status = sub.status;
        op.nvme_status = sub.nvme_status;
    } else {
        op.done |= bit_of(leg);
    }
    sub.pop_frame();
    if (op.pending == 0) {
        step_done(op);
    }
}

void RaidChannel::step_done(Op& op) {
    op.sub_count = 0;
    switch (op.kind) {
        case Kind::Read:
        case Kind::Linear:
            if (op.bounced && op.kind == Kind::Read && op.failed == 0) {
                op.cursor.copy_in(op.buffer);
            }
            finish(op, op.failed == 0 ? Status::Ok : op.status);
            break;
        case Kind::ParityRead:
            parity_read_back(op);
            break;
        case Kind::ParityWrite:
            if (op.stage == Stage::Read) {
                old_rows_back(op);
                break;
            }
            [[fallthrough]];
        case Kind::Mirror:
        case Kind::Flush:
            if (is_redundant(shared_.layout.level())) {
                report_failed(op);
            }
            settle(op);
            break;
    }
}

/// A write's step is back. Nothing is acknowledged before those that missed it have left, durably
/// on those that have not: after a crash they would pass for good.
void RaidChannel::settle(Op& op) {
    switch (op.kind) {
        case Kind::Mirror:
        case Kind::Flush:
            settle_mirror(op);
            break;
        case Kind::ParityWrite:
            if (view_.frozen) {
                finish(op, Status::IoError);
            } else if (!all_failed_have_left(op)) {
                hold(op);
            } else if (op.stage == Stage::Log) {
                log_back(op);
            } else {
                finish_parity(op);
            }
            break;
        case Kind::Read:
        case Kind::Linear:
        case Kind::ParityRead:
            CHECK(false);  // they are never held
    }
}

bool RaidChannel::all_failed_have_left(const Op& op) const {
    return (op.failed & view_.legs()) == 0;
}

void RaidChannel::report_failed(const Op& op) {
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((op.failed & view_.legs() & bit_of(leg)) != 0) {
            shared_.home.report(leg, op.status, true);
        }
    }
}

/// Until the next view. If it still has them, this was not what they were reported for.
void RaidChannel::hold(Op& op) {
    held_.push_back(op);
    report_failed(op);
}

std::span<std::byte> RaidChannel::take_buffer(std::size_t bytes) {
    CHECK(bytes <= kReserveBytes);
    if (pool_ != nullptr && pool_bytes_ + pool_cost(bytes) <= pool_->capacity() / 4 &&
        !REMORA_SOMETIMES("raid: the pool has no buffer")) {
        const std::span<std::byte> buffer = pool_->allocate(bytes);
        if (!buffer.empty()) {
            pool_bytes_ += pool_cost(bytes);
            return buffer;
        }
    }
    if (reserve_used_) {
        REMORA_COVER("raid: a part waits for a buffer");
        return {};
    }
    CHECK(bytes <= reserve_bytes_);
    reserve_used_ = true;
    return {reserve_.get(), bytes};
}

void RaidChannel::give_buffer(std::span<std::byte> buffer) {
    if (buffer.data() == reserve_.get()) {
        reserve_used_ = false;
        return;
    }
    pool_bytes_ -= pool_cost(buffer.size());
    pool_->release(buffer);
}

void RaidChannel::count_error(int leg, Opcode opcode) {
    Leg& at = shared_.legs[static_cast<std::size_t>(leg)];
    auto& counter = opcode == Opcode::Read ? at.read_errors : at.write_errors;
    counter.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace remora::services::raid
