// SPDX-License-Identifier: Apache-2.0
// RaidChannel: RAID 5. A write is cut into rectangles of rows and chunks of one stripe:
//
//   copy the data ─► lock the rows ─► read what is missing ─► add up the parity
//        ─► log entry on the parity's member, durable ─► data and parity ─► finish
//
// The log closes the write hole: until data and parity are both there, the entry has both.
//
// A write's buffer:  | header 4 KiB | new parity | new data, a row per chunk | old rows |
//                    └───────── the log entry, as it is written ─────────────┘
#include <algorithm>
#include <array>
#include <bit>

#include "core/parity.h"
#include "core/probe.h"
#include "services/raid/raid_channel.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using block::Opcode;
using block::Status;

namespace {

constexpr int kMostMends = 3;
constexpr std::uint64_t kRow = RangeLocks::kRowBytes;
/// When so many log entries are open, those that are finished should be settled.
constexpr std::uint64_t kSettleAt = LogRing::kWindow / 2;

/// The most rows of a band that a log entry, and a buffer, has room for.
std::uint32_t most_rows(const RaidLayout::Band& band, std::size_t data_chunks) {
    const std::size_t widest =
        std::max<std::size_t>(band.chunk_count + 1, data_chunks - band.chunk_count);
    return static_cast<std::uint32_t>(kLogPayloadBytes / widest / kRow * kRow);
}
static_assert(kLogPayloadBytes / kMaxMembers >= kRow);
static_assert(kMetaBytes + 2 * kLogPayloadBytes <= RaidChannel::kReserveBytes);

}  // namespace

/// Row `index` of the buffer: 0 is the new parity, then come the new data and the old rows.
std::span<std::byte> RaidChannel::row_of(const Op& op, std::size_t index) const {
    return op.buffer.subspan(kMetaBytes + index * op.band.row_bytes, op.band.row_bytes);
}

bool RaidChannel::begin_parity_write() {
    const std::uint64_t stripe_bytes = shared_.layout.stripe_bytes();
    const std::uint64_t at = splitting_->lba * shared_.block_size + split_done_;
    const std::uint64_t begin = at % stripe_bytes;
    const std::uint64_t end = std::min(begin + split_bytes_ - split_done_, stripe_bytes);
    auto band = shared_.layout.find_band(begin, end, split_row_);
    if (band.row_bytes == 0) {
        split_done_ += end - begin;
        split_cursor_.advance(splitting_->data.empty() ? 0 : static_cast<std::size_t>(end - begin));
        split_row_ = 0;
        return true;
    }
    if (bytes_left_ == 0) {
        REMORA_COVER("raid: parity is computed in the next turn");
        return false;
    }
    // Pieces of about the same size, that end where a row of the locks ends.
    const std::uint32_t most = most_rows(band, shared_.layout.data_chunks());
    if (band.row_bytes > most) {
        const std::uint32_t pieces = (band.row_bytes + most - 1) / most;
        const auto each = (band.row_bytes / pieces + kRow - 1) / kRow * kRow;
        band.row_bytes =
            static_cast<std::uint32_t>(std::min<std::uint64_t>(each, most) - band.row_begin % kRow);
    }
    Op* op = take_op(Kind::ParityWrite);
    if (op == nullptr) {
        return false;
    }
    const std::size_t data_chunks = shared_.layout.data_chunks();
    const std::size_t old_rows =
        band.chunk_count == data_chunks
            ? 0
            : std::max<std::size_t>(band.chunk_count + 1, data_chunks - band.chunk_count);
    op->buffer =
        take_buffer(kMetaBytes + band.row_bytes * (std::size_t{band.chunk_count} + 1 + old_rows));
    if (op->buffer.empty()) {
        free_.push_front(*op);
        return false;
    }
    op->band = band;
    op->stripe = at / stripe_bytes;
    op->lock = RangeLocks::of(op->stripe, band.row_begin, band.row_bytes);
    fill_rows(*op, begin);
    split_row_ = band.row_begin + band.row_bytes;
    ++splitting_->top_frame().scratch[0];
    advance(*op);
    return true;
}

/// Copies the band's data, once: what is added up must be what is written, also when its owner
/// changes it meanwhile. `begin`: where the cursor is in the stripe.
void RaidChannel::fill_rows(Op& op, std::uint64_t begin) {
    const std::size_t bytes = std::size_t{op.band.row_bytes} * op.band.chunk_count;
    bytes_left_ -= std::min(bytes_left_, bytes);
    core::SegmentCursor cursor = split_cursor_;
    std::uint64_t at = begin;
    for (std::size_t i = 0; i < op.band.chunk_count; ++i) {
        const std::span<std::byte> row = row_of(op, 1 + i);
        if (splitting_->opcode != Opcode::Write) {
            std::ranges::fill(row, std::byte{0});  // write-zeroes
            continue;
        }
        const std::uint64_t wanted =
            (op.band.first_chunk + i) * shared_.layout.chunk_bytes() + op.band.row_begin;
        cursor.advance(static_cast<std::size_t>(wanted - at));
        CHECK(cursor.copy_out(row) == row.size());
        at = wanted + row.size();
    }
}

void RaidChannel::advance_parity(Op& op) {
    if (op.stage == Stage::Lock || op.stage == Stage::Plan) {
        plan_parity(op);
    } else if (op.stage == Stage::Log) {
        log_parity(op);
    } else {
        CHECK(false);  // in all other stages it waits for its subs
    }
}

/// Under the lock: what is there, and how to get the new parity.
void RaidChannel::plan_parity(Op& op) {
    op.stage = Stage::Plan;
    if (view_.frozen) {
        finish(op, Status::IoError);
        return;
    }
    if (view_.suspects != 0) {
        REMORA_COVER("raid: a write waits for a member to leave");
        stalled_.push_back(op);
        return;
    }
    const RaidLayout& layout = shared_.layout;
    const std::uint64_t at = row_offset(op);
    const std::size_t touched_end = op.band.first_chunk + op.band.chunk_count;
    bool touched_missing = false;
    bool other_missing = false;
    for (std::size_t chunk = 0; chunk < layout.data_chunks(); ++chunk) {
        if (shared_.readable(view_, layout.data_slot(op.stripe, chunk), at) == kNoLeg) {
            const bool touched = chunk >= op.band.first_chunk && chunk < touched_end;
            (touched ? touched_missing : other_missing) = true;
        }
    }
    if (shared_.readable(view_, layout.parity_slot(op.stripe), at) == kNoLeg) {
        if (touched_missing) {
            finish(op, Status::IoError);
        } else {
            write_parity(op);  // no parity: nothing that could disagree
        }
        return;
    }
    const std::size_t untouched = layout.data_chunks() - op.band.chunk_count;
    if (untouched == 0) {
        op.by_difference = false;
        compute_parity(op);
        return;
    }
    const bool never_synced = at >= shared_.synced_bytes.load(std::memory_order_acquire);
    op.by_difference = other_missing ||
                       (!touched_missing && !never_synced && op.band.chunk_count + 1U < untouched);
    read_old(op);
}

/// By difference: the old parity and the old data of the chunks written. Else: all other data.
void RaidChannel::read_old(Op& op) {
    const RaidLayout& layout = shared_.layout;
    const std::uint64_t at = row_offset(op);
    const std::size_t touched_end = op.band.first_chunk + op.band.chunk_count;
    std::size_t row = 1 + op.band.chunk_count;
    op.stage = Stage::Read;
    op.done = 0;
    op.failed = 0;
    const auto read = [&](std::size_t slot) {
        const std::span<std::byte> into = row_of(op, row++);
        const int leg = shared_.readable(view_, slot, at);
        Sub& sub = add_sub(op, leg, Opcode::Read, at, into.size());
        sub.segment = {into.data(), into.size()};
        sub.data = std::span(&sub.segment, 1);
    };
    if (op.by_difference) {
        read(layout.parity_slot(op.stripe));
    }
    for (std::size_t chunk = 0; chunk < layout.data_chunks(); ++chunk) {
        const bool touched = chunk >= op.band.first_chunk && chunk < touched_end;
        if (touched == op.by_difference) {
            read(layout.data_slot(op.stripe, chunk));
        }
    }
}

void RaidChannel::old_rows_back(Op& op) {
    if (op.failed == 0) {
        compute_parity(op);
        return;
    }
    op.bad_leg = std::countr_zero(op.failed);
    op.stage = Stage::Plan;
    if (!view_.has(op.bad_leg) || view_.is_suspect(op.bad_leg)) {
        plan_parity(op);  // it is on its way out, and not needed
        return;
    }
    bool degraded = false;
    for (std::size_t slot = 0; slot < shared_.layout.slots(); ++slot) {
        degraded = degraded || shared_.readable(view_, slot, row_offset(op)) == kNoLeg;
    }
    if (degraded || view_.frozen) {
        finish(op, op.status);  // nothing has been written
        return;
    }
    if (is_gone(op.status) || ++op.tries > kMostMends) {
        shared_.home.report(op.bad_leg, op.status, false);
        stalled_.push_back(op);
        return;
    }
    shared_.locks.release(op.lock);
    op.locked = false;
    broken_.push_back(op);
    start_lane();
}

void RaidChannel::compute_parity(Op& op) {
    std::array<const std::byte*, core::kMaxParitySources> rows{};
    const std::size_t data_rows = op.band.chunk_count;
    const std::size_t untouched = shared_.layout.data_chunks() - data_rows;
    const std::size_t old_rows = op.by_difference ? data_rows + 1 : untouched;
    std::size_t count = 0;
    for (; count < data_rows + old_rows; ++count) {
        rows[count] = row_of(op, 1 + count).data();
    }
    core::xor_of(std::span(rows).first(count), row_of(op, 0).data(), op.band.row_bytes);
    op.stage = Stage::Log;
    log_parity(op);
}

void RaidChannel::log_parity(Op& op) {
    const std::size_t slot = shared_.layout.parity_slot(op.stripe);
    const LegMask legs = shared_.writable(view_, slot, row_offset(op));
    if (view_.frozen || legs == 0) {
        plan_parity(op);  // the parity's member has left meanwhile
        return;
    }
    LogRing& ring = *shared_.rings[slot];
    const bool got = ring.begin(op.sequence);
    if (shared_.volatile_cache && ring.open() >= kSettleAt) {
        shared_.home.want_settled();
    }
    if (!got) {
        REMORA_COVER("raid: a write waits for a place in the log");
        logs_.push_back(op);
        return;
    }
    const std::size_t bytes =
        kMetaBytes + op.band.row_bytes * (std::size_t{op.band.chunk_count} + 1);
    encode({.array = shared_.array,
            .epoch = shared_.log_epoch,
            .sequence = op.sequence,
            .stripe = op.stripe,
            .row_begin = op.band.row_begin,
            .row_bytes = op.band.row_bytes,
            .first_chunk = op.band.first_chunk,
            .chunk_count = op.band.chunk_count},
           op.buffer.first(bytes));
    op.logged = true;
    op.done = 0;
    op.failed = 0;
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((legs & bit_of(leg)) != 0) {
            Sub& sub = add_sub(op, leg, Opcode::Write, 0, bytes);
            sub.lba = (kLogAt + op.sequence % LogRing::kSlots * kLogSlotBytes) / shared_.block_size;
            sub.force_unit_access = true;
            sub.segment = {op.buffer.data(), bytes};
            sub.data = std::span(&sub.segment, 1);
        }
    }
}

/// Those that do not have the entry have left.
void RaidChannel::log_back(Op& op) {
    const std::size_t slot = shared_.layout.parity_slot(op.stripe);
    if ((shared_.writable(view_, slot, row_offset(op)) & ~op.done) == 0 &&
        (op.done & view_.legs()) != 0) {
        write_parity(op);
        return;
    }
    REMORA_COVER("raid: the log's member has left");
    shared_.rings[slot]->finish(op.sequence);
    op.logged = false;
    plan_parity(op);
}

/// Data, and the parity where there is one and its entry is durable.
void RaidChannel::write_parity(Op& op) {
    const RaidLayout& layout = shared_.layout;
    const std::uint64_t at = row_offset(op);
    op.stage = Stage::Write;
    op.done = 0;
    op.failed = 0;
    const auto write = [&](std::size_t slot, std::span<std::byte> row) {
        const LegMask legs = shared_.writable(view_, slot, at);
        for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
            if ((legs & bit_of(leg)) != 0) {
                Sub& sub = add_sub(op, leg, Opcode::Write, at, row.size());
                sub.segment = {row.data(), row.size()};
                sub.data = std::span(&sub.segment, 1);
            }
        }
    };
    for (std::size_t i = 0; i < op.band.chunk_count; ++i) {
        write(layout.data_slot(op.stripe, op.band.first_chunk + i), row_of(op, 1 + i));
    }
    if (op.logged) {
        write(layout.parity_slot(op.stripe), row_of(op, 0));
    }
    if (op.pending == 0) {
        finish(op, Status::IoError);
    }
}

void RaidChannel::finish_parity(Op& op) {
    if (op.logged) {
        LogRing& ring = *shared_.rings[shared_.layout.parity_slot(op.stripe)];
        ring.finish(op.sequence);
        if (!shared_.volatile_cache) {
            ring.settle(ring.finished());
        }
    }
    finish(op, Status::Ok);
}

// Reads of rows whose member is missing.

bool RaidChannel::begin_parity_read(const RaidLayout::Run& run) {
    const std::size_t slots = shared_.layout.slots();
    const std::uint64_t most = kReserveBytes / slots / kRow * kRow;
    const std::uint64_t bytes = std::min(run.bytes, most - run.offset % kRow);
    Op* op = take_op(Kind::ParityRead);
    if (op == nullptr) {
        return false;
    }
    op->buffer = take_buffer(static_cast<std::size_t>(bytes) * slots);
    if (op->buffer.empty()) {
        free_.push_front(*op);
        return false;
    }
    op->slot = run.slot;
    op->offset = run.offset;
    op->bytes = bytes;
    op->cursor = split_cursor_;
    const std::uint64_t chunk = shared_.layout.chunk_bytes();
    op->lock = RangeLocks::of(run.offset / chunk, run.offset % chunk, bytes);
    split_cursor_.advance(static_cast<std::size_t>(bytes));
    split_done_ += bytes;
    ++splitting_->top_frame().scratch[0];
    advance(*op);
    return true;
}

void RaidChannel::plan_parity_read(Op& op) {
    const auto bytes = static_cast<std::size_t>(op.bytes);
    op.stage = Stage::Read;
    op.done = 0;
    op.failed = 0;
    std::array<int, kMaxMembers> legs{};
    std::size_t ways = 0;
    for (std::size_t slot = 0; slot < shared_.layout.slots(); ++slot) {
        const int leg = shared_.readable(view_, slot, op.offset);
        legs[slot] = leg != kNoLeg && (op.avoid & bit_of(leg)) == 0 ? leg : kNoLeg;
        ways += slot != op.slot && legs[slot] != kNoLeg ? 1U : 0U;
    }
    op.directly = legs[op.slot] != kNoLeg;  // it has come meanwhile
    if (view_.frozen || (!op.directly && ways + 1 < shared_.layout.slots())) {
        finish(op, op.status == Status::Ok ? Status::IoError : op.status);
        return;
    }
    std::size_t row = op.directly ? 0 : 1;
    for (std::size_t slot = 0; slot < shared_.layout.slots(); ++slot) {
        if ((slot == op.slot) == op.directly) {
            const auto into = op.buffer.subspan(bytes * row++, bytes);
            Sub& sub = add_sub(op, legs[slot], Opcode::Read, op.offset, bytes);
            sub.segment = {into.data(), into.size()};
            sub.data = std::span(&sub.segment, 1);
        }
    }
}

void RaidChannel::parity_read_back(Op& op) {
    const auto bytes = static_cast<std::size_t>(op.bytes);
    if (op.failed != 0) {
        if (is_gone(op.status)) {
            shared_.home.report(std::countr_zero(op.failed), op.status, false);
        }
        op.avoid |= op.failed;
        plan_parity_read(op);
        return;
    }
    if (!op.directly) {
        std::array<const std::byte*, kMaxMembers> rows{};
        const std::size_t count = shared_.layout.data_chunks();
        for (std::size_t i = 0; i < count; ++i) {
            rows[i] = op.buffer.subspan(bytes * (i + 1), bytes).data();
        }
        core::xor_of(std::span(rows).first(count), op.buffer.data(), bytes);
    }
    op.cursor.copy_in(op.buffer.first(bytes));
    finish(op, Status::Ok);
}

}  // namespace remora::services::raid
