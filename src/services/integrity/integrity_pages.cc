// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: what it reads and writes of its own: pages, and blocks that it has to know
// before they are overwritten.
#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/probe.h"
#include "services/integrity/integrity_channel.h"

namespace remora::services::integrity {

namespace {

using block::Opcode;
using block::Status;

/// Of two pages the one to be evicted first.
CachedPage* older(CachedPage* one, CachedPage& other) {
    return one == nullptr || other.used < one->used ? &other : one;
}

struct Victims {
    CachedPage* clean = nullptr;
    CachedPage* stale = nullptr;      // to be written first
    CachedPage* undurable = nullptr;  // to be flushed first: below nobody knows what is to be known
};

Victims choose_victims(PageSet& set, const FlushCount& flushes) {
    Victims victims;
    for (CachedPage& page : set.pages) {
        if (page.pins > 0 || page.queued || page.in_flight) {
            continue;
        }
        page.settle_if_covered(flushes);
        if (page.undurable.any()) {
            victims.undurable = older(victims.undurable, page);
        } else if (page.stale) {
            victims.stale = older(victims.stale, page);
        } else if (victims.clean == nullptr || victims.clean->state != CachedPage::State::Empty) {
            victims.clean =
                page.state == CachedPage::State::Empty ? &page : older(victims.clean, page);
        }
    }
    return victims;
}

}  // namespace

/// The slot's page is in no place: gets one for it, and loads it. The lock is held.
IntegrityChannel::Progress IntegrityChannel::obtain(PageSet& set, Slot& slot) {
    const Victims victims = choose_victims(set, shared_.flushes);
    if (victims.clean != nullptr) {
        PageIo* io = take_page_io();
        if (io == nullptr) {
            REMORA_COVER("integrity: a page waits to be loaded");
            waiting_page_io_.push_back(slot);
            return Progress::Waits;
        }
        CachedPage& page = *victims.clean;
        page.number = slot.page_number;
        page.state = CachedPage::State::Loading;
        page.pins = 1;
        page.used = ++set.clock;
        page.unsettled = false;
        page.touched = false;
        slot.page = &page;
        page.waiting.push_back(slot);
        io->kind = PageIo::Kind::Load;
        io->page = &page;
        io->again = false;
        submit_own(*io, Opcode::Read, shared_.layout.page_block(page.number),
                   shared_.layout.blocks_per_page());
        return Progress::Waits;
    }
    if (victims.stale != nullptr) {
        REMORA_COVER("integrity: a page is written to make room");
        ++victims.stale->pins;
        slot.stage = Stage::Evict;
        slot.durable = false;
        want_write(*victims.stale, slot);
        return Progress::Waits;
    }
    if (victims.undurable != nullptr) {
        REMORA_COVER("integrity: a page is made durable to make room");
        return wait_for_flush(slot, victims.undurable->flush_needed);
    }
    REMORA_COVER("integrity: all places of a set are in use");
    set.waiting.push_back(slot);
    return Progress::Waits;
}

IntegrityChannel::Progress IntegrityChannel::evicted(Slot& slot) {
    if (slot.leads) {
        return lead_write(slot) ? Progress::Waits : Progress::Later;
    }
    const Hold hold(slot.writing->set->lock);
    if (!hold) {
        return Progress::Later;
    }
    slot.writing->set->unpin(*slot.writing, woken_);
    slot.writing = nullptr;
    slot.stage = Stage::Claim;
    return Progress::Next;
}

// I/O of our own.

IntegrityChannel::PageIo* IntegrityChannel::take_page_io() {
    return free_page_ios_.pop_front();
}

void IntegrityChannel::give_page_io(PageIo& io) {
    free_page_ios_.push_back(io);
    if (Slot* slot = waiting_page_io_.pop_front(); slot != nullptr) {
        ready_.push_back(*slot);
    }
}

void IntegrityChannel::submit_own(PageIo& io,
                                  Opcode opcode,
                                  std::uint64_t lba,
                                  std::uint32_t blocks) {
    io.segment = {io.buffer.data(), blocks * block_size_};
    io.request.opcode = opcode;
    io.request.force_unit_access = false;
    io.request.status = Status::Ok;
    io.request.nvme_status = 0;
    io.request.lba = lba;
    io.request.block_count = blocks;
    io.request.data = std::span(&io.segment, 1);
    io.request.push_frame(own_).scratch[0] = reinterpret_cast<std::uintptr_t>(&io);
    down_.push_back(io.request);
}

/// False when a lock was taken: to be called again.
bool IntegrityChannel::page_io_done(PageIo& io) {
    bool done = false;
    switch (io.kind) {
        case PageIo::Kind::Load:
            done = loaded(io);
            break;
        case PageIo::Kind::Write:
            done = written(io);
            break;
        case PageIo::Kind::Look:
            done = looked(io);
            break;
    }
    wake();
    return done;
}

/// A page that is damaged is read twice: it may have been so on its way only. Then the entries of
/// its damaged leaves are lost.
bool IntegrityChannel::loaded(PageIo& io) {
    CachedPage& page = *io.page;
    const Hold hold(page.set->lock);
    if (!hold) {
        return false;
    }
    const bool failed = io.request.status != Status::Ok;
    if (!failed) {
        const std::uint32_t damaged = decode_page(
            shared_.layout, shared_.salt, page.number,
            std::span<const std::byte, kPageBytes>(io.buffer.data(), kPageBytes), page.entries);
        if (damaged > 0 && !io.again) {
            io.again = true;
            submit_own(io, Opcode::Read, io.request.lba, io.request.block_count);
            return true;
        }
        if (damaged > 0) {
            const std::uint64_t entries = shared_.layout.page_entries();
            shared_.mismatches.lost(shared_.options.name, page.number * entries,
                                    std::uint64_t{damaged} * shared_.layout.leaf_entries(),
                                    reactor_.now());
        }
        page.state = CachedPage::State::Ready;
        page.grant(woken_);
    } else {
        page.waiting.for_each([&io](Slot& slot) {
            slot.status = io.request.status;
            slot.nvme_status = io.request.nvme_status;
            slot.page = nullptr;
        });
        woken_.append(page.waiting);
        page.state = CachedPage::State::Empty;
        page.pins = 1;
        page.set->unpin(page, woken_);
    }
    give_page_io(io);
    return true;
}

/// Puts the slot among those that wait for a write of the page. The lock is held.
void IntegrityChannel::want_write(CachedPage& page, Slot& slot) {
    slot.writing = &page;
    page.committing.push_back(slot);
    if (!page.queued && !page.in_flight) {
        page.queued = true;
        page_writes_.push_back(page);
    }
}

/// What another channel has left to this one. False when the lock is taken.
bool IntegrityChannel::lead_write(Slot& slot) {
    CachedPage& page = *slot.writing;
    const Hold hold(page.set->lock);
    if (!hold) {
        return false;
    }
    slot.leads = false;
    page.committing.push_back(slot);
    page_writes_.push_back(page);
    return true;
}

/// Begins to write pages, as they are now, for all that wait for it.
void IntegrityChannel::write_pages() {
    while (!page_writes_.empty() && !free_page_ios_.empty()) {
        CachedPage& page = *page_writes_.front();
        const Hold hold(page.set->lock);
        if (!hold) {
            go_on_next_turn();
            return;
        }
        page_writes_.pop_front();
        page.queued = false;
        page.in_flight = true;
        page.stale = false;
        page.flying = std::move(page.committing);
        bool durable = false;
        page.flying.for_each([&durable](const Slot& slot) { durable |= slot.durable; });
        PageIo& io = *take_page_io();
        io.kind = PageIo::Kind::Write;
        io.page = &page;
        encode_page(shared_.layout, shared_.salt, page.number, page.entries,
                    std::span<std::byte, kPageBytes>(io.buffer.data(), kPageBytes));
        submit_own(io, Opcode::Write, shared_.layout.page_block(page.number),
                   shared_.layout.blocks_per_page());
        io.request.force_unit_access = durable && volatile_below_;
    }
}

bool IntegrityChannel::written(PageIo& io) {
    CachedPage& page = *io.page;
    const Hold hold(page.set->lock);
    if (!hold) {
        return false;
    }
    page.in_flight = false;
    if (io.request.status != Status::Ok) {
        page.stale = true;
        page.mark_unsettled();
        page.flying.for_each([&io](Slot& slot) {
            slot.status = io.request.status;
            slot.nvme_status = io.request.nvme_status;
        });
    } else if (!page.stale && !page.undurable.any()) {
        page.unsettled = false;
    }
    woken_.append(page.flying);
    // Who waits for the next write begins it: this channel may have nothing more to do, and end.
    if (Slot* next = page.committing.pop_front(); next != nullptr) {
        next->leads = true;
        page.queued = true;
        woken_.push_back(*next);
    }
    if (page.pins == 0) {
        woken_.append(page.set->waiting);
    }
    give_page_io(io);
    return true;
}

/// Which of two values is there, before the block is overwritten. The lock is held, the blocks are
/// the slot's own, and what is there is durable.
IntegrityChannel::Progress IntegrityChannel::look_at_block(Slot& slot, std::uint32_t entry) {
    PageIo* io = take_page_io();
    if (io == nullptr) {
        waiting_page_io_.push_back(slot);
        return Progress::Waits;
    }
    REMORA_COVER("integrity: a block is looked at before it is overwritten, after a crash");
    io->kind = PageIo::Kind::Look;
    io->page = slot.page;
    io->slot = &slot;
    io->entry = entry;
    const std::uint64_t lba = slot.lba + slot.done + (entry - slot.entry);
    submit_own(*io, Opcode::Read, shared_.layout.data_start + lba, 1);
    return Progress::Waits;
}

/// What matches neither stays bad, should the write be lost in a crash. What cannot be read is not
/// overwritten: nobody could say afterwards what is there.
bool IntegrityChannel::looked(PageIo& io) {
    CachedPage& page = *io.page;
    const Hold hold(page.set->lock);
    if (!hold) {
        return false;
    }
    if (io.request.status != Status::Ok) {
        io.slot->status = io.request.status;
        io.slot->nvme_status = io.request.nvme_status;
    } else {
        const std::uint64_t lba = io.request.lba - shared_.layout.data_start;
        const Checksums at = page.entries[io.entry];
        const std::uint32_t sum = shared_.salt.block(lba, io.buffer.first(block_size_));
        const std::uint32_t found = sum == at.b ? at.b : at.a;
        page.change(io.entry, {found, found});
    }
    ready_.push_back(*io.slot);
    give_page_io(io);
    return true;
}

}  // namespace remora::services::integrity
