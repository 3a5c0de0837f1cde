// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: flushes of its own, and the settling of pages that nobody writes to any more.
#include <utility>

#include "core/check.h"
#include "services/integrity/integrity_channel.h"

namespace remora::services::integrity {

using block::Opcode;
using block::Status;

// Flushes.

void IntegrityChannel::flush_below() {
    if (flushing_) {
        return;
    }
    flushing_ = true;
    flush_.opcode = Opcode::Flush;
    flush_.status = Status::Ok;
    flush_.nvme_status = 0;
    flush_.push_frame(own_);
    flush_number_ = shared_.flushes.begin();
    down_.push_back(flush_);
}

void IntegrityChannel::flush_done() {
    flushing_ = false;
    if (flush_.status == Status::Ok) {
        shared_.flushes.succeeded(flush_number_);
    }
    SlotQueue waiting = std::move(waiting_flush_);
    while (Slot* slot = waiting.pop_front()) {
        if (slot->flush_needed > flush_number_ && !shared_.flushes.covers(slot->flush_needed)) {
            waiting_flush_.push_back(*slot);
            continue;
        }
        if (flush_.status != Status::Ok) {
            slot->status = flush_.status;
            slot->nvme_status = flush_.nvme_status;
        }
        ready_.push_back(*slot);
    }
    if (!waiting_flush_.empty()) {
        flush_below();
    }
}

// Settling.

bool IntegrityChannel::quiet() const {
    return free_page_ios_.size() == kPageIos && page_writes_.empty() && !flushing_;
}

IntegrityChannel::Unsettled IntegrityChannel::settle(Settle which) {
    begin_turn();
    Unsettled found;
    for (PageSet& set : shared_.cache->sets()) {
        const Hold hold(set.lock);
        if (hold) {
            settle_set(set, which, found);
        } else {
            found.any = true;
        }
    }
    if (found.needs_flush) {
        flush_below();
    }
    work();
    hand_up(false);
    return found;
}

void IntegrityChannel::flush() {
    flush_below();
    work();
    hand_up(false);
}

void IntegrityChannel::settle_set(PageSet& set, Settle which, Unsettled& found) {
    if (!std::exchange(set.unsettled, false)) {
        return;
    }
    for (CachedPage& page : set.pages) {
        if (!page.unsettled || page.state != CachedPage::State::Ready) {
            continue;
        }
        set.unsettled = true;
        found.any = true;
        if (std::exchange(page.touched, false) && which == Settle::Idle) {
            continue;
        }
        page.settle_if_covered(shared_.flushes);
        found.needs_flush |= page.undurable.any();
        if (!page.stale) {
            page.unsettled = page.undurable.any();
        } else if (!page.queued && !page.in_flight) {
            page.queued = true;
            page_writes_.push_back(page);
        }
    }
}

}  // namespace remora::services::integrity
