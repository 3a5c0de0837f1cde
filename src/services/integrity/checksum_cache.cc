// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/checksum_cache.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/check.h"

namespace remora::services::integrity {

BlockKind CachedPage::kind(std::uint32_t entry) const {
    const Checksums& at = entries[entry];
    if (at.a != kNeverWritten || second.test(entry)) {
        return BlockKind::Written;
    }
    return at.b == kNeverWritten ? BlockKind::NeverWritten : BlockKind::Doubtful;
}

std::uint32_t CachedPage::run_of_kind(EntryRange range) const {
    const BlockKind first = kind(range.first);
    std::uint32_t count = 1;
    while (count < range.count && kind(range.first + count) == first) {
        ++count;
    }
    return count;
}

bool CachedPage::allows(std::uint32_t entry, std::uint32_t checksum) const {
    const Checksums& at = entries[entry];
    return checksum == at.b || (checksum == at.a && !second.test(entry));
}

bool CachedPage::try_lock(EntryRange range) {
    EntryBits taken = locked;
    waiting.for_each([&taken](const Slot& slot) {
        if (slot.locks()) {
            taken.set(slot.range());
        }
    });
    if (taken.any(range)) {
        return false;
    }
    locked.set(range);
    return true;
}

void CachedPage::unlock(EntryRange range, SlotQueue& woken) {
    locked.clear(range);
    grant(woken);
}

void CachedPage::grant(SlotQueue& woken) {
    if (waiting.empty()) {
        return;
    }
    EntryBits taken = locked;
    SlotQueue before = std::move(waiting);
    while (Slot* slot = before.pop_front()) {
        if (slot->locks() && taken.any(slot->range())) {
            waiting.push_back(*slot);
        } else {
            if (slot->locks()) {
                locked.set(slot->range());
                slot->holds = true;
            }
            woken.push_back(*slot);
        }
        if (slot->locks()) {
            taken.set(slot->range());
        }
    }
}

void CachedPage::mark_unsettled() {
    unsettled = true;
    set->unsettled = true;
}

void CachedPage::change(std::uint32_t entry, Checksums to) {
    entries[entry] = to;
    stale = true;
    mark_unsettled();
}

void CachedPage::note_written(EntryRange range, bool durable, std::uint64_t needed) {
    touched = true;
    if (durable) {
        for (std::uint32_t i = range.first; i < range.end(); ++i) {
            change(i, {entries[i].b, entries[i].b});
        }
        return;
    }
    undurable.set(range);
    second.set(range);
    flush_needed = std::max(flush_needed, needed);
    mark_unsettled();
}

void CachedPage::note_failed(EntryRange range, bool is_undurable, std::uint64_t needed) {
    if (is_undurable) {
        undurable.set(range);
        flush_needed = std::max(flush_needed, needed);
        mark_unsettled();
    }
}

void CachedPage::forget_state(EntryRange range) {
    undurable.clear(range);
    second.clear(range);
}

void CachedPage::settle(EntryRange range) {
    if (!undurable.any(range)) {
        return;
    }
    for (std::uint32_t i = range.first; i < range.end(); ++i) {
        if (undurable.test(i) && second.test(i)) {
            change(i, {entries[i].b, entries[i].b});
        }
    }
    forget_state(range);
}

void CachedPage::settle_if_covered(const FlushCount& flushes) {
    if (undurable.any() && flushes.covers(flush_needed)) {
        settle({0, static_cast<std::uint32_t>(entries.size())});
    }
}

CachedPage* PageSet::find(std::uint64_t number) {
    for (CachedPage& page : pages) {
        if (page.state != CachedPage::State::Empty && page.number == number) {
            return &page;
        }
    }
    return nullptr;
}

void PageSet::unpin(CachedPage& page, SlotQueue& woken) {
    CHECK(page.pins > 0);
    if (--page.pins == 0) {
        woken.append(waiting);
    }
}

std::unique_ptr<ChecksumCache> ChecksumCache::create(const Layout& layout, std::size_t bytes) {
    const std::size_t most = std::max<std::size_t>(bytes / kPageBytes, 2);
    const bool all = layout.page_count <= most;
    std::size_t places = all ? static_cast<std::size_t>(layout.page_count) : most;
    if (places > kWays) {  // whole sets
        places = (places + (all ? kWays - 1 : 0)) / kWays * kWays;
    }
    // Fresh zeros, which cost nothing until they are touched.
    auto* entries =
        static_cast<Checksums*>(std::calloc(places, layout.page_entries() * sizeof(Checksums)));
    if (entries == nullptr) {
        return nullptr;
    }
    return std::unique_ptr<ChecksumCache>(new ChecksumCache(layout, places, entries));
}

ChecksumCache::ChecksumCache(const Layout& layout, std::size_t places, Checksums* entries)
    : entries_(entries), pages_(places), sets_((places + kWays - 1) / kWays) {
    const std::size_t each = layout.page_entries();
    for (std::size_t i = 0; i < places; ++i) {
        pages_[i].entries = {entries + i * each, each};
        pages_[i].set = &sets_[i / kWays];
    }
    for (std::size_t i = 0; i < sets_.size(); ++i) {
        sets_[i].pages = std::span(pages_).subspan(i * kWays, std::min(kWays, places - i * kWays));
    }
}

void ChecksumCache::Free::operator()(Checksums* entries) const {
    std::free(entries);
}

}  // namespace remora::services::integrity
