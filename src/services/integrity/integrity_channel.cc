// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/integrity_channel.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/check.h"
#include "core/probe.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Request;
using block::RequestBatch;
using block::Status;

constexpr std::size_t kAlignment = 4096;  // of direct I/O, as the pool's buffers have it

void release_memory(std::byte* memory) {
    std::free(memory);
}

Work work_of(Opcode opcode) {
    switch (opcode) {
        case Opcode::Read:
            return Work::Read;
        case Opcode::Write:
            return Work::Write;
        case Opcode::Discard:
            return Work::Discard;
        case Opcode::WriteZeroes:
        case Opcode::Flush:
            break;
    }
    CHECK(opcode == Opcode::WriteZeroes);
    return Work::WriteZeroes;
}

// A request without a slot: what is to become of it.
constexpr std::uint64_t kScrubs = 1;

}  // namespace

void Slot::run() {
    channel.resume(*this);
}

core::Result<std::unique_ptr<IntegrityChannel>> IntegrityChannel::create(IntegrityShared& shared) {
    auto lower = shared.lower.open_channel();
    if (!lower) {
        return std::unexpected(lower.error());
    }
    constexpr std::size_t kBytes = kReserveBytes + kPageIos * kPageBytes;
    Memory memory(static_cast<std::byte*>(std::aligned_alloc(kAlignment, kBytes)), release_memory);
    if (memory == nullptr) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "no memory for the checksums of volume '" + shared.options.name + "'");
    }
    return std::unique_ptr<IntegrityChannel>(
        new IntegrityChannel(shared, std::move(*lower), std::move(memory)));
}

IntegrityChannel::IntegrityChannel(IntegrityShared& shared,
                                   std::unique_ptr<block::Channel> lower,
                                   Memory memory)
    : shared_(shared),
      lower_(std::move(lower)),
      pool_(shared.pool_here()),
      geometry_(shared.geometry()),
      block_size_(geometry_.block_size),
      volatile_below_(geometry_.volatile_cache),
      reactor_(reactor::Reactor::current()),
      own_(*this),
      memory_(std::move(memory)),
      next_turn_(*this),
      deferred_(reactor_) {
    for (std::size_t i = 0; i < kSlots; ++i) {
        free_.push_back(*slots_.emplace_back(std::make_unique<Slot>(*this)));
    }
    for (std::size_t i = 0; i < kPageIos; ++i) {
        PageIo& io = *page_ios_.emplace_back(std::make_unique<PageIo>());
        io.buffer = {memory_.get() + kReserveBytes + i * kPageBytes, kPageBytes};
        free_page_ios_.push_back(io);
    }
}

IntegrityChannel::~IntegrityChannel() {
    CHECK_ON_REACTOR(reactor_);
    CHECK(free_.size() == kSlots && waiting_.empty() && up_.empty());
    CHECK(quiet() && pool_bytes_ == 0 && !reserve_used_);
    core::ListHook<Runnable>::unlink();
    while (free_.pop_front() != nullptr) {
    }
    while (free_page_ios_.pop_front() != nullptr) {
    }
}

// The order of things.

void IntegrityChannel::submit(RequestBatch& batch) {
    begin_turn();
    while (Request* request = batch.pop_front()) {
        if (const Status status = block::validate(*request, geometry_); status != Status::Ok) {
            deferred_.push(*request, status);
        } else if (request->opcode == Opcode::Flush) {
            request->push_frame(*this).scratch[0] = shared_.flushes.begin();
            down_.push_back(*request);
        } else {
            request->push_frame(*this).scratch[1] = 0;
            waiting_.push_back(*request);
        }
    }
    work();
    hand_up(true);
}

void IntegrityChannel::submit_scrub(ScrubRequest& request) {
    begin_turn();
    CHECK(request.opcode == Opcode::Read && request.data.empty());
    request.push_frame(*this).scratch[1] = kScrubs;
    waiting_.push_back(request);
    work();
    hand_up(true);
}

void IntegrityChannel::complete(RequestBatch& batch) {
    begin_turn();
    while (Request* request = batch.pop_front()) {
        if (request->opcode == Opcode::Flush) {
            if (request->status == Status::Ok) {
                shared_.flushes.succeeded(request->top_frame().scratch[0]);
            }
            request->pop_frame();
            up_.push_back(*request);
        } else {
            ready_.push_back(*reinterpret_cast<Slot*>(request->top_frame().scratch[0]));
        }
    }
    work();
    hand_up(false);
}

void IntegrityChannel::complete_own(RequestBatch& batch) {
    begin_turn();
    while (Request* request = batch.pop_front()) {
        const auto scratch = request->top_frame().scratch[0];
        request->pop_frame();
        if (request == &flush_) {
            flush_done();
            continue;
        }
        PageIo& io = *reinterpret_cast<PageIo*>(scratch);
        if (!page_io_done(io)) {
            later_page_ios_.push_back(io);
            go_on_next_turn();
        }
    }
    work();
    hand_up(false);
}

void IntegrityChannel::on_timer(reactor::Timer& /*timer*/) {
    turn_ = core::kNever;  // a new turn, also where the clock stands still
    begin_turn();
    ready_.append(later_);
    core::Queue<PageIo> again = std::move(later_page_ios_);
    while (PageIo* io = again.pop_front()) {
        if (!page_io_done(*io)) {
            later_page_ios_.push_back(*io);
            go_on_next_turn();
        }
    }
    work();
    hand_up(false);
}

void IntegrityChannel::resume(Slot& slot) {
    ready_.push_back(slot);
    if (!core::ListHook<Runnable>::linked()) {
        reactor_.run_soon(*this);
    }
}

void IntegrityChannel::run() {
    begin_turn();
    work();
    hand_up(false);
}

void IntegrityChannel::begin_turn() {
    if (turn_ != reactor_.now()) {
        turn_ = reactor_.now();
        bytes_left_ = kBytesPerTurn;
    }
}

void IntegrityChannel::go_on_next_turn() {
    if (!next_turn_.armed()) {
        reactor_.arm(next_turn_, reactor_.now());
    }
}

/// False when the turn's share is used up; what begins before that may go past it.
bool IntegrityChannel::spend(std::size_t bytes) {
    if (bytes_left_ == 0) {
        return false;
    }
    bytes_left_ -= std::min(bytes_left_, bytes);
    return true;
}

void IntegrityChannel::work() {
    wake();
    write_pages();  // before anybody who is ready takes what they need
    admit();
    while (Slot* slot = ready_.pop_front()) {
        advance(*slot);
        admit();
    }
    write_pages();
    if (!down_.empty()) {
        RequestBatch down = std::move(down_);
        lower_->submit(down);
    }
    if (quiet_signal_ != nullptr && quiet()) {
        quiet_signal_->notify();
    }
}

/// The last thing done: whoever gets its last request back may end this channel.
void IntegrityChannel::hand_up(bool within_submit) {
    if (up_.empty()) {
        return;
    }
    RequestBatch up = std::move(up_);
    if (!within_submit) {
        block::complete_batch(up);
        return;
    }
    while (Request* request = up.pop_front()) {
        deferred_.push(*request, request->status);
    }
}

void IntegrityChannel::admit() {
    while (!waiting_.empty() && !free_.empty()) {
        Request& request = *waiting_.pop_front();
        Slot& slot = *free_.pop_front();
        slot.request = &request;
        slot.work =
            request.top_frame().scratch[1] == kScrubs ? Work::Scrub : work_of(request.opcode);
        slot.takes_in_place = request.takes_in_place;
        slot.data = request.data;
        slot.lba = request.lba;
        slot.block_count = request.block_count;
        slot.done = 0;
        slot.status = Status::Ok;
        slot.nvme_status = 0;
        slot.position = core::SegmentCursor(request.data);
        slot.stage = Stage::Begin;
        slot.exact = slot.work == Work::Scrub;
        request.top_frame().scratch[0] = reinterpret_cast<std::uintptr_t>(&slot);
        ready_.push_back(slot);
    }
}

void IntegrityChannel::advance(Slot& slot) {
    for (;;) {
        const Progress progress = step(slot);
        wake();
        if (progress == Progress::Waits) {
            return;
        }
        if (progress == Progress::Later) {
            REMORA_COVER("integrity: a request goes on in the next turn");
            later_.push_back(slot);
            go_on_next_turn();
            return;
        }
    }
}

IntegrityChannel::Progress IntegrityChannel::step(Slot& slot) {
    switch (slot.stage) {
        case Stage::Begin:
            return begin_part(slot);
        case Stage::Claim:
            return claim(slot);
        case Stage::Evict:
            return evicted(slot);
        case Stage::Zero:
            return zero(slot);
        case Stage::Commit:
            return commit(slot);
        case Stage::Check:
            return check(slot);
        case Stage::Note:
            return note(slot);
        case Stage::Release:
            return release(slot);
    }
    CHECK(false);
}

/// Sends on those whose wait is over. No lock is held.
void IntegrityChannel::wake() {
    while (Slot* slot = woken_.pop_front()) {
        if (&slot->channel == this) {
            ready_.push_back(*slot);
        } else if (slot->channel.reactor_.is_current()) {
            slot->channel.resume(*slot);
        } else {
            slot->channel.reactor_.post(*slot);
        }
    }
}

}  // namespace remora::services::integrity
