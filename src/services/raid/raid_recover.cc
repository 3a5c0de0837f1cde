// SPDX-License-Identifier: Apache-2.0
// RaidHome: what a crash may have left half done, when the array is put together again.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/probe.h"
#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::ErrorKind;
using core::Result;
using reactor::Task;

namespace {

struct Found {
    LogEntry entry;
    std::vector<std::byte> payload;
};

}  // namespace

/// Mirrors: what was marked on any member may differ between them.
Task<Result<void>> RaidHome::load_bitmaps() {
    if (shared_->intent == nullptr) {
        co_return Result<void>();
    }
    std::size_t count = 0;
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((view_.legs() & bit_of(leg)) == 0) {
            continue;
        }
        IoGroup group(legs_, geometry_.block_size);
        const std::span<std::byte> room(bitmap_room_.get(), kMetaBytes);
        group.read(leg, kBitmapAt, room);
        co_await group.wait();
        std::optional<Bitmap> found;
        if (group.failed() == 0) {
            found = decode_bitmap(room, options_.uuid, shared_->region_bytes, marked_.size());
        }
        for (std::size_t region = 0; region < marked_.size(); ++region) {
            marked_[region] = marked_[region] || !found || found->marked[region];
        }
    }
    for (std::size_t region = 0; region < marked_.size(); ++region) {
        if (marked_[region]) {
            shared_->intent->set_unsynced(region);
            ++count;
        }
    }
    if (count > 0) {
        log::info("raid regions to be compared after an unclean end",
                  log::kv("volume", options_.name), log::kv("regions", count));
    }
    co_return Result<void>();
}

/// RAID 5: does what the log's entries say, in order, and makes it durable. The caller ends the
/// epoch after that, so that they are never done again.
Task<Result<void>> RaidHome::replay_logs() {
    const RaidLayout& layout = shared_->layout;
    std::uint64_t replayed = 0;
    for (std::size_t slot = 0; slot < layout.slots(); ++slot) {
        std::map<std::uint64_t, Found> entries;
        for (const int leg : {view_.slots[slot].current, view_.slots[slot].incoming}) {
            for (std::uint64_t i = 0; leg != kNoLeg && i < LogRing::kSlots; ++i) {
                const std::span<std::byte> room(job_room_.get(), kLogSlotBytes);
                const std::uint64_t from = kLogAt + i * kLogSlotBytes;
                IoGroup group(legs_, geometry_.block_size);
                group.read(leg, from, room.first(kMetaBytes));
                co_await group.wait();
                if (group.failed() == 0) {
                    if (!may_be_log_entry(room, options_.uuid, table_.log_epoch)) {
                        continue;
                    }
                    group.read(leg, from, room);
                    co_await group.wait();
                }
                if (group.failed() != 0) {
                    co_return core::fail(
                        ErrorKind::DataLoss,
                        "the log of member '" + shared_->legs[static_cast<std::size_t>(leg)].name +
                            "' cannot be read: leave it out, or assemble without it");
                }
                const auto entry = decode_log_entry(room, options_.uuid, table_.log_epoch,
                                                    table_.chunk_bytes, layout.data_chunks());
                if (entry && entry->stripe < layout.stripes() &&
                    entry->sequence % LogRing::kSlots == i &&
                    layout.parity_slot(entry->stripe) == slot &&
                    (entry->row_begin | entry->row_bytes) % table_.block_size == 0) {
                    const auto payload = room.subspan(kMetaBytes, entry->payload_bytes());
                    entries[entry->sequence] = {*entry, {payload.begin(), payload.end()}};
                }
            }
        }
        const std::uint64_t newest = entries.empty() ? 0 : entries.rbegin()->first;
        for (const auto& [sequence, found] : entries) {
            if (sequence + LogRing::kWindow <= newest) {
                continue;  // settled before the newest could begin
            }
            const bool done = co_await replay(found.entry, found.payload);
            if (!done) {
                co_return core::fail(ErrorKind::Unavailable,
                                     "the log of volume '" + options_.name +
                                         "' cannot be replayed: a member cannot be written");
            }
            ++replayed;
        }
    }
    if (replayed > 0) {
        REMORA_COVER("raid: a log is replayed");
        log::info("raid log replayed", log::kv("volume", options_.name),
                  log::kv("entries", replayed));
    }
    IoGroup group(legs_, geometry_.block_size);
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((view_.legs() & bit_of(leg)) != 0) {
            group.flush(leg);
        }
    }
    co_await group.wait();
    if (group.failed() != 0) {
        co_return core::fail(ErrorKind::Unavailable, "a member of volume '" + options_.name +
                                                         "' cannot be flushed: leave it out");
    }
    co_return Result<void>();
}

/// Parity and data of one entry, to whoever is there.
Task<bool> RaidHome::replay(const LogEntry& entry, std::span<const std::byte> payload) {
    const RaidLayout& layout = shared_->layout;
    const std::uint64_t at =
        shared_->data_offset + entry.stripe * layout.chunk_bytes() + entry.row_begin;
    std::copy(payload.begin(), payload.end(), job_room_.get());  // aligned
    IoGroup group(legs_, geometry_.block_size);
    for (std::size_t row = 0; row <= entry.chunk_count; ++row) {
        const std::size_t slot = row == 0
                                     ? layout.parity_slot(entry.stripe)
                                     : layout.data_slot(entry.stripe, entry.first_chunk + row - 1);
        const std::span<const std::byte> bytes(job_room_.get() + row * entry.row_bytes,
                                               entry.row_bytes);
        for (const int leg : {view_.slots[slot].current, view_.slots[slot].incoming}) {
            if (leg != kNoLeg) {
                group.write(leg, at, bytes, false);
            }
        }
    }
    co_await group.wait();
    co_return group.failed() == 0;
}

}  // namespace remora::services::raid
