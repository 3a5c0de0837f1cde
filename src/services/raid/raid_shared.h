// SPDX-License-Identifier: Apache-2.0
// RaidShared: what all reactors know of one array. A leg is a member device in use; the view says
// which legs are in which slots. The home reactor makes views, each channel has a copy; the rest is
// fixed, or atomic.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/uuid.h"
#include "services/raid/intent.h"
#include "services/raid/parity_log.h"
#include "services/raid/raid_format.h"
#include "services/raid/raid_layout.h"
#include "services/raid/range_locks.h"

namespace remora::services::raid {

/// Slots, one that is rebuilt, spares, and some whose last I/O has not come back yet.
constexpr std::size_t kMaxLegs = 32;
using LegMask = std::uint32_t;
constexpr LegMask bit_of(int leg) {
    return LegMask{1} << static_cast<unsigned>(leg);
}

constexpr int kNoLeg = -1;
struct SlotView {
    int current = kNoLeg;   ///< Has all of the slot's data.
    int incoming = kNoLeg;  ///< Is being made to have it. One in all the array.
};

/// A state of the array. Value type.
struct View {
    std::uint64_t version = 0;
    bool frozen = false;  ///< More is lost than the level can lose: every request fails.
    /// Not to be read from any more: they are about to leave, and somebody may have written past
    /// them the moment that they have.
    LegMask suspects = 0;
    std::array<SlotView, kMaxMembers> slots{};

    [[nodiscard]] bool is_suspect(int leg) const { return (suspects & bit_of(leg)) != 0; }
    /// The slot that `leg` is in; false when it has left.
    [[nodiscard]] bool has(int leg) const {
        for (const SlotView& slot : slots) {
            if (slot.current == leg || slot.incoming == leg) {
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] LegMask legs() const {
        LegMask mask = 0;
        for (const SlotView& slot : slots) {
            mask |= slot.current != kNoLeg ? bit_of(slot.current) : 0;
            mask |= slot.incoming != kNoLeg ? bit_of(slot.incoming) : 0;
        }
        return mask;
    }
};

struct Leg {
    block::Device* device = nullptr;
    std::string name;
    core::Uuid id;
    std::atomic<bool> reported = false;  ///< Its failure is with the home reactor.
    std::atomic<std::uint64_t> read_errors{0};
    std::atomic<std::uint64_t> write_errors{0};
    std::atomic<std::uint64_t> repaired_blocks{0};
};

/// What a channel asks of the home reactor. Any of the array's reactors; returns at once.
class RaidHomeCalls {
  public:
    /// `leg` did not do what it was told. Ends in a new view in any case: without the leg, frozen,
    /// or with it, if it is the last to have something.
    virtual void report(int leg, block::Status status, bool wrote) = 0;
    virtual void want_mark(std::size_t region) = 0;
    virtual void want_settled() = 0;

  protected:
    ~RaidHomeCalls() = default;
};

class RaidShared {
  public:
    RaidShared(RaidHomeCalls& calls,
               RaidLayout array_layout,
               const core::Uuid& uuid,
               std::uint32_t block_bytes);

    RaidHomeCalls& home;
    const RaidLayout layout;
    const core::Uuid array;
    const std::uint32_t block_size;
    const std::uint64_t data_offset;
    bool volatile_cache = false;  ///< Of any member there ever was.

    RangeLocks locks;
    std::uint64_t region_bytes = 0;  ///< Of a set's bytes.
    std::size_t regions_per_set = 0;
    std::unique_ptr<WriteIntent> intent;          ///< Mirrors.
    std::vector<std::unique_ptr<LogRing>> rings;  ///< RAID 5: of each slot.
    std::uint64_t log_epoch = 0;                  ///< Fixed before the first channel.
    std::array<Leg, kMaxLegs> legs;

    /// How far the incoming leg is right (RAID 5: what is behind is written as if it were missing).
    /// Moves on while the stripe that it passes is locked.
    std::atomic<std::uint64_t> rebuilt_bytes{0};
    /// RAID 5: the parity behind this has never been computed.
    std::atomic<std::uint64_t> synced_bytes{0};

    [[nodiscard]] std::size_t region_of(std::size_t set, std::uint64_t offset) const {
        return set * regions_per_set + static_cast<std::size_t>(offset / region_bytes);
    }
    /// Mirrors: the range does not cross a multiple of RangeLocks::kSpanBytes.
    [[nodiscard]] static RangeLock mirror_lock(std::size_t set,
                                               std::uint64_t offset,
                                               std::uint64_t bytes) {
        const std::uint64_t span = offset / RangeLocks::kSpanBytes;
        return RangeLocks::of((std::uint64_t{set} << 48U) + span, offset % RangeLocks::kSpanBytes,
                              bytes);
    }
    [[nodiscard]] RangeLock stripe_lock(std::uint64_t stripe) const {
        return RangeLocks::of(stripe, 0, layout.chunk_bytes());
    }
    /// The leg of `slot` that bytes at `offset` can be read from, under their lock; kNoLeg: they
    /// must be had from the others.
    [[nodiscard]] int readable(const View& view, std::size_t slot, std::uint64_t offset) const {
        const SlotView& at = view.slots[slot];
        if (at.current != kNoLeg && !view.is_suspect(at.current)) {
            return at.current;
        }
        return at.incoming != kNoLeg && !view.is_suspect(at.incoming) && is_rebuilt(offset)
                   ? at.incoming
                   : kNoLeg;
    }
    /// Everything that must get what is written to `slot` at `offset`, under its lock.
    [[nodiscard]] LegMask writable(const View& view, std::size_t slot, std::uint64_t offset) const {
        const SlotView& at = view.slots[slot];
        LegMask mask = at.current != kNoLeg ? bit_of(at.current) : 0;
        if (at.incoming != kNoLeg && (is_mirrored(layout.level()) || is_rebuilt(offset))) {
            mask |= bit_of(at.incoming);
        }
        return mask;
    }

  private:
    [[nodiscard]] bool is_rebuilt(std::uint64_t offset) const {
        return offset < rebuilt_bytes.load(std::memory_order_acquire);
    }
};

}  // namespace remora::services::raid
