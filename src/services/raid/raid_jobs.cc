// SPDX-License-Identifier: Apache-2.0
// RaidHome: what goes on in the background, one at a time and at the rate allowed: resync and
// rebuild, and scrub, which raid_scrub.cc has.
#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/probe.h"
#include "reactor/call.h"
#include "services/raid/look_again.h"
#include "services/raid/raid_home.h"
#include "services/raid/recovery.h"

namespace remora::services::raid {

using core::Nanos;
using reactor::Task;

namespace {

constexpr std::size_t kRoomBytes = std::size_t{2} * kMaxChunkBytes;
constexpr std::uint64_t kCheckpointBytes = 64 * core::kMiB;

}  // namespace

Task<> RaidHome::run_jobs() {
    while (!stopping_) {
        job_signal_.reset();
        if (!view_.frozen && needs_resync()) {
            if (shared_->intent != nullptr) {
                co_await resync_mirrors();
            } else {
                co_await resync_parity();
            }
        } else if (!view_.frozen && incoming_leg() != kNoLeg) {
            co_await rebuild();
        } else if (!view_.frozen && spares_ != 0 && is_degraded()) {
            co_await take_spare();
        } else if (!view_.frozen && scrub_wanted_ && !is_degraded()) {
            co_await scrub();
        } else {
            scrub_wanted_ = false;
            co_await job_signal_.wait_until(reactor::kNever);
        }
        job_kind_.store(0);
    }
}

void RaidHome::begin_job(Progress::Kind kind, std::uint64_t done, std::uint64_t total) {
    job_done_.store(done);
    job_total_.store(total);
    job_rate_.store(0);
    job_kind_.store(static_cast<std::uint8_t>(kind));
    paced_ = home_.now();
    show_status();
}

/// After `bytes` of each member: waits as long as the rate wants.
Task<> RaidHome::pace(std::uint64_t bytes) {
    job_done_.fetch_add(bytes);
    const std::uint64_t limit = rate_limit_.load();
    if (limit > 0) {
        paced_ = std::max(paced_, home_.now() - std::chrono::milliseconds(1)) +
                 Nanos(static_cast<std::int64_t>(bytes * 1'000'000'000 / limit));
    } else {
        paced_ = home_.now();
    }
    job_rate_.store(limit);
    if (paced_ > home_.now() && !stopping_) {
        co_await job_signal_.wait_until(paced_);
    }
}

Task<> RaidHome::lock(RangeLock wanted) {
    return wait_for_lock(shared_->locks, wanted);
}

// Resync: mirrors agree in every region that was marked, parities are computed once.

bool RaidHome::needs_resync() const {
    if (shared_->intent != nullptr) {
        for (std::size_t region = 0; region < shared_->intent->size(); ++region) {
            if (shared_->intent->is_unsynced(region)) {
                return true;
            }
        }
        return false;
    }
    return options_.level == Level::Raid5 && !is_degraded() &&
           shared_->synced_bytes.load() < shared_->layout.slot_bytes(0);
}

Task<> RaidHome::resync_mirrors() {
    std::uint64_t regions = 0;
    for (std::size_t region = 0; region < shared_->intent->size(); ++region) {
        regions += shared_->intent->is_unsynced(region) ? 1U : 0U;
    }
    begin_job(Progress::Kind::Resync, 0, regions * shared_->region_bytes);
    for (std::size_t region = 0; region < shared_->intent->size(); ++region) {
        if (shared_->intent->is_unsynced(region)) {
            co_await resync_region(region);
            if (stopping_ || view_.frozen) {
                co_return;
            }
            shared_->intent->set_synced(region);
        }
    }
    co_await flush_all();  // from now on each copy may be the one that is left
    show_status();
}

Task<> RaidHome::resync_region(std::size_t region) {
    const RaidLayout& layout = shared_->layout;
    const std::size_t set = region / shared_->regions_per_set;
    const std::uint64_t begin = region % shared_->regions_per_set * shared_->region_bytes;
    const std::uint64_t end =
        std::min(begin + shared_->region_bytes, layout.slot_bytes(layout.first_slot(set)));
    for (std::uint64_t at = begin; at < end && !stopping_ && !view_.frozen;) {
        const auto bytes = static_cast<std::size_t>(std::min(RangeLocks::kSpanBytes, end - at));
        const RangeLock place = RaidShared::mirror_lock(set, at, bytes);
        co_await lock(place);
        const bool whole = co_await copy_primary(set, at, bytes, false);
        // Where the first copy cannot be read, and only there, another one takes its part.
        for (std::size_t row = 0; !whole && row < bytes; row += RangeLocks::kRowBytes) {
            co_await copy_primary(set, at + row,
                                  std::min<std::size_t>(RangeLocks::kRowBytes, bytes - row), true);
        }
        shared_->locks.release(place);
        at += bytes;
        co_await pace(bytes);
    }
}

/// Under the lock: makes the copies of a set as the first one is; false when that cannot be read.
Task<bool> RaidHome::copy_primary(std::size_t set,
                                  std::uint64_t at,
                                  std::size_t bytes,
                                  bool or_another) {
    const RaidLayout& layout = shared_->layout;
    const std::size_t first = layout.first_slot(set);
    const std::span<std::byte> room(job_room_.get(), bytes);
    LegMask targets = 0;
    int primary = kNoLeg;
    for (std::size_t slot = first; slot < first + layout.slots_per_set(); ++slot) {
        const int current = view_.slots[slot].current;
        if (primary == kNoLeg && current != kNoLeg && !view_.is_suspect(current)) {
            primary = current;
        }
        targets |= shared_->writable(view_, slot, at) & ~view_.suspects;
    }
    if (primary == kNoLeg || targets == bit_of(primary)) {
        co_return true;  // there is nothing to agree with
    }
    IoGroup group(legs_, geometry_.block_size);
    group.read(primary, shared_->data_offset + at, room);
    co_await group.wait();
    targets &= ~(group.failed() == 0 ? bit_of(primary) : 0);
    if (group.failed() != 0) {
        Recovery recovery(*shared_, legs_, view_);
        if (!or_another ||
            co_await recovery.read(first, at, bytes, room, bit_of(primary)) != block::Status::Ok) {
            co_return false;
        }
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((targets & view_.legs() & ~view_.suspects & bit_of(leg)) != 0) {
            group.write(leg, shared_->data_offset + at, room, false);
        }
    }
    co_await group.wait();
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((group.failed() & bit_of(leg)) != 0) {
            report(leg, group.status(leg), true);
        }
    }
    co_return true;
}

Task<> RaidHome::resync_parity() {
    const RaidLayout& layout = shared_->layout;
    const std::uint64_t total = layout.slot_bytes(0);
    const std::uint64_t chunk = layout.chunk_bytes();
    begin_job(Progress::Kind::Resync, shared_->synced_bytes.load(), total);
    std::uint64_t since = 0;
    for (std::uint64_t at = shared_->synced_bytes.load(); at < total && !stopping_; at += chunk) {
        const std::uint64_t stripe = at / chunk;
        const std::size_t slot = layout.parity_slot(stripe);
        const RangeLock place = shared_->stripe_lock(stripe);
        co_await lock(place);
        Recovery recovery(*shared_, legs_, view_);
        const std::size_t most = recovery.most_in(kRoomBytes);
        bool good = !view_.frozen && !is_degraded();
        for (std::uint64_t row = 0; row < chunk && good;) {
            const auto bytes = static_cast<std::size_t>(std::min<std::uint64_t>(most, chunk - row));
            const std::span<std::byte> room(job_room_.get(), kRoomBytes);
            good = co_await recovery.read(slot, at + row, bytes, room, 0) == block::Status::Ok;
            const LegMask legs = shared_->writable(view_, slot, at + row);
            IoGroup group(legs_, geometry_.block_size);
            for (int leg = 0; good && leg < static_cast<int>(kMaxLegs); ++leg) {
                if ((legs & bit_of(leg)) != 0) {
                    group.write(leg, shared_->data_offset + at + row, room.first(bytes), false);
                }
            }
            co_await group.wait();
            for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
                if ((group.failed() & bit_of(leg)) != 0) {
                    report(leg, group.status(leg), true);
                    good = false;
                }
            }
            row += bytes;
        }
        if (good) {
            shared_->synced_bytes.store(at + chunk, std::memory_order_release);
        }
        shared_->locks.release(place);
        if (!good) {
            // Later: once the member that is in the way has left, and another taken its place.
            co_await job_signal_.wait_until(home_.now() + std::chrono::seconds(1));
            co_return;
        }
        co_await pace(chunk);
        since += chunk;
        if (since >= kCheckpointBytes) {
            since = 0;
            co_await checkpoint();
        }
    }
    co_await checkpoint();
}

/// Writes down how far resync and rebuild are, when what they wrote is durable.
Task<> RaidHome::checkpoint() {
    const std::uint64_t synced = shared_->synced_bytes.load();
    const std::uint64_t rebuilt = shared_->rebuilt_bytes.load();
    const int incoming = incoming_leg();
    co_await flush_all();
    co_await changes_.enter();
    if (!view_.frozen) {
        table_.synced_bytes = synced;
        table_.rebuilt_bytes = incoming != kNoLeg && incoming == incoming_leg() ? rebuilt : 0;
        const bool durable = co_await persist();
        if (durable) {
            let_go_of_suspects();
        }
        co_await publish();
    }
    changes_.leave();
}

// Rebuild.

Task<> RaidHome::take_spare() {
    co_await changes_.enter();
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((spares_ & bit_of(leg)) == 0 || incoming_leg() != kNoLeg || view_.frozen) {
            continue;
        }
        for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
            if (view_.slots[slot].current == kNoLeg) {
                co_await begin_rebuild(slot, leg);
                break;
            }
        }
    }
    changes_.leave();
    co_await write_bitmap();
}

Task<> RaidHome::rebuild() {
    const std::size_t slot = incoming_slot();
    const int leg = incoming_leg();
    const RaidLayout& layout = shared_->layout;
    const bool parity = layout.level() == Level::Raid5;
    const std::uint64_t total = layout.slot_bytes(slot);
    const std::uint64_t unit = parity ? layout.chunk_bytes() : RangeLocks::kSpanBytes;
    const bool from_the_others =
        view_.slots[slot].current == kNoLeg && shared_->rebuilt_bytes.load() == 0;
    begin_job(Progress::Kind::Rebuild, shared_->rebuilt_bytes.load(), total);
    std::uint64_t since = 0;
    for (std::uint64_t at = shared_->rebuilt_bytes.load(); at < total;) {
        const auto bytes = static_cast<std::size_t>(std::min(unit, total - at));
        const RangeLock place = parity ? shared_->stripe_lock(at / unit)
                                       : RaidShared::mirror_lock(layout.set_of(slot), at, bytes);
        co_await lock(place);
        const bool good = co_await rebuild_piece(slot, leg, at, bytes);
        if (good) {
            shared_->rebuilt_bytes.store(at + bytes, std::memory_order_release);
        }
        shared_->locks.release(place);
        if (stopping_ || view_.frozen || view_.slots[slot].incoming != leg ||
            view_.is_suspect(leg)) {
            co_return;
        }
        if (!good) {
            REMORA_COVER("raid: a rebuild finds what cannot be read");
            co_await changes_.enter();
            if (view_.slots[slot].incoming == leg && !view_.frozen) {
                co_await remove_leg(leg,
                                    "its data cannot be rebuilt: the others cannot be read at " +
                                        std::to_string(at));
                co_await publish();
            }
            changes_.leave();
            co_return;
        }
        at += bytes;
        co_await pace(bytes);
        since += bytes;
        if (since >= kCheckpointBytes) {
            since = 0;
            co_await checkpoint();
        }
    }
    if (parity && from_the_others) {
        shared_->synced_bytes.store(total);  // it was made so that every parity is right
    }
    co_await flush_all();
    co_await finish_rebuild(slot, leg);
}

/// Under the lock of all of it.
Task<bool> RaidHome::rebuild_piece(std::size_t slot, int leg, std::uint64_t at, std::size_t bytes) {
    Recovery recovery(*shared_, legs_, view_);
    const std::size_t most = recovery.most_in(kRoomBytes);
    for (std::size_t done = 0; done < bytes;) {
        const std::size_t step = std::min(most, bytes - done);
        const std::span<std::byte> room(job_room_.get(), kRoomBytes);
        const std::uint64_t from = at + done;
        const int current = view_.slots[slot].current;
        bool good = false;
        if (current != kNoLeg && !view_.is_suspect(current)) {
            IoGroup group(legs_, geometry_.block_size);
            group.read(current, shared_->data_offset + from, room.first(step));
            co_await group.wait();
            good = group.failed() == 0;
        }
        if (!good) {
            const LegMask avoid = current != kNoLeg ? bit_of(current) : 0;
            good = co_await recovery.read(slot, from, step, room, avoid) == block::Status::Ok;
        }
        if (!good || view_.slots[slot].incoming != leg || view_.is_suspect(leg)) {
            co_return false;
        }
        IoGroup group(legs_, geometry_.block_size);
        group.write(leg, shared_->data_offset + from, room.first(step), false);
        co_await group.wait();
        if (group.failed() != 0) {
            shared_->legs[static_cast<std::size_t>(leg)].write_errors.fetch_add(1);
            co_await handle_report(leg, group.status(leg), true);
            co_return false;
        }
        done += step;
    }
    co_return true;
}

/// The incoming member has everything: it takes the slot, and the one before it leaves.
Task<> RaidHome::finish_rebuild(std::size_t slot, int leg) {
    co_await changes_.enter();
    if (view_.slots[slot].incoming == leg && !view_.is_suspect(leg) && !view_.frozen) {
        const SlotRecord old = table_.slots[slot];
        const SlotView both = view_.slots[slot];
        if (both.current != kNoLeg) {
            view_.suspects |= bit_of(both.current);
            co_await publish();
        }
        SlotRecord& record = table_.slots[slot];
        record.current = std::exchange(record.incoming, {});
        record.name = std::exchange(record.incoming_name, {});
        table_.rebuilt_bytes = 0;
        table_.synced_bytes = shared_->synced_bytes.load();
        bool durable = co_await persist();
        if (durable && !view_.is_suspect(leg)) {
            log::info("raid rebuild done", log::kv("volume", options_.name),
                      log::kv("member", record.name));
            if (both.current != kNoLeg) {
                view_.suspects &= ~bit_of(both.current);
                close_later(both.current, true);
            } else if (notes_[slot].member.state == MemberState::Failed) {
                refused_.push_back(notes_[slot]);
            }
            view_.slots[slot] = {.current = leg, .incoming = kNoLeg};
        } else if (durable && both.current != kNoLeg) {
            // It could not take its own superblock; the one before has missed nothing.
            record.name = old.name;
            record.current = old.current;
            view_.suspects &= ~bit_of(both.current);
            durable = co_await persist();
        }
        if (durable) {
            let_go_of_suspects();
        }
        co_await publish();
    }
    changes_.leave();
}

}  // namespace remora::services::raid
