// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: the parts of a request: how one begins, gets its page, its blocks and a buffer,
// and how it ends.
#include <algorithm>
#include <bit>
#include <utility>

#include "core/check.h"
#include "core/probe.h"
#include "services/integrity/integrity_channel.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

/// What a buffer of `bytes` takes from the pool.
std::size_t pool_cost(std::size_t bytes) {
    return std::bit_ceil(std::max(bytes, memory::BufferPool::kMinBytes));
}

Opcode opcode_of(Work work) {
    switch (work) {
        case Work::Read:
        case Work::Scrub:
            return Opcode::Read;
        case Work::Write:
            return Opcode::Write;
        case Work::Discard:
            return Opcode::Discard;
        case Work::WriteZeroes:
            break;
    }
    return Opcode::WriteZeroes;
}

}  // namespace

IntegrityChannel::Progress IntegrityChannel::begin_part(Slot& slot) {
    const Layout& layout = shared_.layout;
    const std::uint64_t lba = slot.lba + slot.done;
    slot.page_number = lba / layout.page_entries();
    slot.entry = static_cast<std::uint32_t>(lba % layout.page_entries());
    slot.blocks = std::min(slot.block_count - slot.done, layout.page_entries() - slot.entry);
    slot.flush_needed = 0;
    slot.summed = false;
    if (slot.work == Work::WriteZeroes || slot.work == Work::Discard) {
        // Nothing is copied; but a turn has an end, however long the range.
        if (!spend(kBytesPerTurn / 32)) {
            return Progress::Later;
        }
        slot.stage = Stage::Claim;
        return Progress::Next;
    }
    slot.blocks = std::min(slot.blocks, Slot::kPartBlocks);
    if (slot.locks()) {
        const std::size_t left = std::size_t{slot.block_count - slot.done} * block_size_;
        if (slot.buffer.empty() &&
            !take_buffer(slot, std::min(left, Slot::kPartBlocks * block_size_))) {
            REMORA_COVER("integrity: a request waits for a buffer");
            waiting_buffer_.push_back(slot);
            return Progress::Waits;
        }
        slot.blocks =
            std::min(slot.blocks, static_cast<std::uint32_t>(slot.buffer.size() / block_size_));
    }
    if (slot.work == Work::Write) {
        if (!spend(slot.blocks * block_size_)) {
            return Progress::Later;
        }
        copy_in(slot);
    }
    slot.stage = Stage::Claim;
    return Progress::Next;
}

/// Gets the page, and the blocks if it locks them; then goes on with both.
IntegrityChannel::Progress IntegrityChannel::claim(Slot& slot) {
    if (slot.status != Status::Ok) {
        slot.stage = Stage::Release;
        return Progress::Next;
    }
    PageSet& set = shared_.cache->set_of(slot.page_number);
    const Hold hold(set.lock);
    if (!hold || REMORA_SOMETIMES("integrity: a set is looked into by another reactor")) {
        return Progress::Later;
    }
    if (slot.page == nullptr) {
        slot.flush_needed = 0;  // it was for a place, not for its blocks
        CachedPage* page = set.find(slot.page_number);
        if (page == nullptr) {
            return obtain(set, slot);
        }
        ++page->pins;
        slot.page = page;
    }
    CachedPage& page = *slot.page;
    page.used = ++set.clock;
    if (page.state == CachedPage::State::Loading) {
        page.waiting.push_back(slot);
        return Progress::Waits;
    }
    if (slot.locks() && !slot.holds) {
        if (!page.try_lock(slot.range())) {
            REMORA_COVER("integrity: a request waits for another one's blocks");
            page.waiting.push_back(slot);
            return Progress::Waits;
        }
        slot.holds = true;
    }
    if (slot.reads()) {
        return look(slot);
    }
    return slot.work == Work::Write ? prepare(slot) : prepare_zeroes(slot);
}

IntegrityChannel::Progress IntegrityChannel::release(Slot& slot) {
    if (slot.page != nullptr) {
        const Hold hold(slot.page->set->lock);
        if (!hold) {
            return Progress::Later;
        }
        release_page(slot);
    }
    if (slot.status == Status::Ok && slot.done < slot.block_count) {
        slot.stage = Stage::Begin;
        return Progress::Next;
    }
    finish(slot);
    return Progress::Waits;
}

/// The set's lock is held.
void IntegrityChannel::release_page(Slot& slot) {
    if (slot.page == nullptr) {
        return;
    }
    if (std::exchange(slot.holds, false)) {
        slot.page->unlock(slot.range(), woken_);
    }
    slot.page->set->unpin(*slot.page, woken_);
    slot.page = nullptr;
}

/// The request goes up as it came.
void IntegrityChannel::finish(Slot& slot) {
    Request& request = *std::exchange(slot.request, nullptr);
    request.opcode = opcode_of(slot.work);
    request.takes_in_place = slot.takes_in_place;
    request.data = slot.data;
    request.lba = slot.lba;
    request.block_count = slot.block_count;
    request.status = slot.status;
    request.nvme_status = slot.nvme_status;
    request.pop_frame();
    give_buffer(slot);
    free_.push_back(slot);
    up_.push_back(request);
}

IntegrityChannel::Progress IntegrityChannel::wait_for_flush(Slot& slot, std::uint64_t needed) {
    REMORA_COVER("integrity: blocks are made durable before they are written again");
    slot.flush_needed = needed;
    waiting_flush_.push_back(slot);
    flush_below();
    return Progress::Waits;
}

/// For `bytes`, or less of the reserve.
bool IntegrityChannel::take_buffer(Slot& slot, std::size_t bytes) {
    const std::size_t wanted = std::min(bytes, memory::BufferPool::kMaxBytes);
    if (pool_ != nullptr && pool_bytes_ + pool_cost(wanted) <= pool_->capacity() / 4 &&
        !REMORA_SOMETIMES("integrity: the pool has no buffer")) {
        slot.buffer = pool_->allocate(wanted);
        if (!slot.buffer.empty()) {
            pool_bytes_ += pool_cost(wanted);
            return true;
        }
    }
    if (reserve_used_) {
        return false;
    }
    reserve_used_ = true;
    slot.buffer = {memory_.get(), std::min(bytes, kReserveBytes)};
    return true;
}

void IntegrityChannel::give_buffer(Slot& slot) {
    const std::span<std::byte> buffer = std::exchange(slot.buffer, {});
    if (buffer.empty()) {
        return;
    }
    if (buffer.data() == memory_.get()) {
        reserve_used_ = false;
    } else {
        pool_bytes_ -= pool_cost(buffer.size());
        pool_->release(buffer);
    }
    if (Slot* next = waiting_buffer_.pop_front(); next != nullptr) {
        ready_.push_back(*next);
    }
}

}  // namespace remora::services::integrity
