// SPDX-License-Identifier: Apache-2.0
// ChecksumCache: pages of checksums in memory, shared by all reactors: a page belongs to one set by
// its number, and a set has a few places. The whole area fits when it is small. Everything here is
// done with the set's lock held, and is memory only.
//
// What memory knows of an entry {a, b}, beyond what is below:
//
//   a == b                          what is there; or never written; or lost
//   a != b, locked                  a write is under way: either
//   a != b, second, undurable       b is there; a crash of the device below may bring a back
//   a != b, undurable               a write has failed: either
//   a != b                          found so, after a crash: either
//
// A block may be written anew only when its entry is one value: an entry has no room for a third.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/intrusive_list.h"
#include "services/integrity/entry_bits.h"
#include "services/integrity/integrity_format.h"
#include "services/integrity/integrity_slot.h"
#include "services/integrity/lock_word.h"

namespace remora::services::integrity {

class PageSet;
using SlotQueue = core::Queue<Slot>;

/// What a read has to do about a block.
enum class BlockKind : std::uint8_t {
    NeverWritten,  ///< Zeros; what lies below is not looked at.
    Doubtful,      ///< Zeros or what lies below, of which nothing must be seen if it is zeros.
    Written,
};

/// A place for a page. Its queue hook is of the channel that is to write it.
class CachedPage : public core::QueueHook<CachedPage> {
  public:
    enum class State : std::uint8_t { Empty, Loading, Ready };

    // Reads.
    [[nodiscard]] BlockKind kind(std::uint32_t entry) const;
    /// How many blocks from the range's first on are of its kind.
    [[nodiscard]] std::uint32_t run_of_kind(EntryRange range) const;
    /// Whether bytes with that checksum may be given away. False is no proof of damage, unless the
    /// reader has the block locked.
    [[nodiscard]] bool allows(std::uint32_t entry, std::uint32_t checksum) const;

    // Locks of blocks.
    /// In the order of coming: not past one that waits for any of the same blocks.
    bool try_lock(EntryRange range);
    /// Unlocks, and moves those whose wait is over to `woken`.
    void unlock(EntryRange range, SlotQueue& woken);
    /// Moves whoever needs no lock, or now has it, from `waiting` to `woken`.
    void grant(SlotQueue& woken);

    // Entries.
    void mark_unsettled();
    void change(std::uint32_t entry, Checksums to);
    void note_written(EntryRange range, bool durable, std::uint64_t flush_needed);
    void note_failed(EntryRange range, bool undurable, std::uint64_t flush_needed);
    void forget_state(EntryRange range);
    /// The range is durable: its entries become the one value.
    void settle(EntryRange range);
    /// The same for the page, if a flush has covered all of it.
    void settle_if_covered(const FlushCount& flushes);

    std::uint64_t number = 0;
    PageSet* set = nullptr;
    std::span<Checksums> entries;
    State state = State::Empty;
    std::uint32_t pins = 0;  ///< Slots that use it; it stays as long.
    std::uint64_t used = 0;  ///< When, by the set's clock.
    bool queued = false;     ///< Some channel is to write it.
    bool in_flight = false;  ///< It is being written.
    bool stale = false;      ///< Memory has what was not written below.
    bool unsettled = false;  ///< It has to be seen by settling: stale, or undurable entries.
    bool touched = false;    ///< Written to since it was seen last.
    EntryBits locked;
    EntryBits undurable;
    EntryBits second;
    std::uint64_t flush_needed = 0;  ///< Of all that is undurable.
    SlotQueue waiting;               ///< For the page to be loaded, or for blocks.
    SlotQueue committing;            ///< For a write of it that has not begun.
    SlotQueue flying;                ///< For the one that has.
};

class PageSet {
  public:
    /// The page with that number, loaded or being loaded; null if there is none.
    CachedPage* find(std::uint64_t number);
    /// Takes a pin off; when it was the last, those who wait for a place are woken.
    void unpin(CachedPage& page, SlotQueue& woken);

    LockWord lock;
    bool unsettled = false;  ///< Some page may be.
    std::uint64_t clock = 0;
    std::span<CachedPage> pages;
    SlotQueue waiting;  ///< For any place.
};

class ChecksumCache {
  public:
    static constexpr std::size_t kWays = 8;

    /// Takes `bytes` at most (two pages at least), in pages of 4 KiB. Null when there is no memory.
    static std::unique_ptr<ChecksumCache> create(const Layout& layout, std::size_t bytes);

    PageSet& set_of(std::uint64_t page) { return sets_[page % sets_.size()]; }
    std::span<PageSet> sets() { return sets_; }

  private:
    struct Free {
        void operator()(Checksums* entries) const;
    };
    ChecksumCache(const Layout& layout, std::size_t places, Checksums* entries);

    std::unique_ptr<Checksums, Free> entries_;
    std::vector<CachedPage> pages_;
    std::vector<PageSet> sets_;
};

}  // namespace remora::services::integrity
