// SPDX-License-Identifier: Apache-2.0
#include "services/raid/recovery.h"

#include <algorithm>
#include <array>

#include "core/log.h"
#include "core/parity.h"
#include "core/probe.h"

namespace remora::services::raid {

using block::Status;
using reactor::Task;

std::size_t Recovery::most_in(std::size_t room) const {
    const std::size_t parts = room_for(1);
    return std::max(room / parts / RangeLocks::kRowBytes, std::size_t{1}) * RangeLocks::kRowBytes;
}

Task<Status> Recovery::read(std::size_t slot,
                            std::uint64_t offset,
                            std::size_t bytes,
                            std::span<std::byte> room,
                            LegMask avoid) {
    CHECK(room.size() >= room_for(bytes));
    if (shared_.layout.level() == Level::Raid5) {
        const Status status = co_await read_parity(slot, offset, bytes, room, avoid);
        co_return status;
    }
    const Status status = co_await read_mirror(slot, offset, room.first(bytes), avoid);
    co_return status;
}

Task<Status> Recovery::read_mirror(std::size_t slot,
                                   std::uint64_t offset,
                                   std::span<std::byte> out,
                                   LegMask avoid) {
    const std::size_t first = shared_.layout.first_slot(shared_.layout.set_of(slot));
    for (std::size_t i = first; i < first + shared_.layout.slots_per_set(); ++i) {
        const int leg = view_.slots[i].current;
        if (leg == kNoLeg || view_.is_suspect(leg) || (avoid & bit_of(leg)) != 0) {
            continue;
        }
        IoGroup group(legs_, shared_.block_size);
        group.read(leg, shared_.data_offset + offset, out);
        co_await group.wait();
        if (group.failed() == 0) {
            co_return Status::Ok;
        }
        count_errors(group.failed(), group);
    }
    co_return Status::IoError;
}

Task<Status> Recovery::read_parity(std::size_t slot,
                                   std::uint64_t offset,
                                   std::size_t bytes,
                                   std::span<std::byte> room,
                                   LegMask avoid) {
    IoGroup group(legs_, shared_.block_size);
    std::array<const std::byte*, kMaxMembers> rows{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < shared_.layout.slots(); ++i) {
        if (i == slot) {
            continue;
        }
        const int leg = shared_.readable(view_, i, offset);
        if (leg == kNoLeg || (avoid & bit_of(leg)) != 0) {
            co_await group.wait();
            co_return Status::IoError;
        }
        const auto row = room.subspan(bytes * (count + 1), bytes);
        group.read(leg, shared_.data_offset + offset, row);
        rows[count++] = row.data();
    }
    co_await group.wait();
    if (group.failed() != 0) {
        count_errors(group.failed(), group);
        co_return Status::IoError;
    }
    core::xor_of(std::span(rows).first(count), room.data(), bytes);
    co_return Status::Ok;
}

void Recovery::count_errors(LegMask failed, const IoGroup& group) {
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((failed & bit_of(leg)) == 0) {
            continue;
        }
        shared_.legs[static_cast<std::size_t>(leg)].read_errors.fetch_add(
            1, std::memory_order_relaxed);
        if (is_gone(group.status(leg))) {
            shared_.home.report(leg, group.status(leg), false);
        }
    }
}

Task<bool> Recovery::mend(int leg, std::uint64_t offset, std::span<const std::byte> bytes) {
    if (!view_.has(leg) || view_.is_suspect(leg)) {
        co_return false;
    }
    Leg& at = shared_.legs[static_cast<std::size_t>(leg)];
    IoGroup group(legs_, shared_.block_size);
    group.write(leg, shared_.data_offset + offset, bytes, false);
    co_await group.wait();
    if (group.failed() != 0) {
        REMORA_COVER("raid: what could not be read cannot be rewritten");
        at.write_errors.fetch_add(1, std::memory_order_relaxed);
        shared_.home.report(leg, group.status(leg), true);
        co_return false;
    }
    REMORA_COVER("raid: a read error is repaired");
    const std::uint64_t blocks = bytes.size() / shared_.block_size;
    if (at.repaired_blocks.fetch_add(blocks, std::memory_order_relaxed) == 0) {
        log::info("raid read error repaired", log::kv("member", at.name),
                  log::kv("offset", offset));  // the first one; the others are counted
    }
    co_return true;
}

}  // namespace remora::services::raid
