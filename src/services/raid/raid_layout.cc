// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_layout.h"

#include <utility>

namespace remora::services::raid {

RaidLayout::RaidLayout(Level level,
                       std::uint32_t chunk_bytes,
                       std::vector<std::uint64_t> slot_bytes)
    : level_(level), chunk_(chunk_bytes), slot_bytes_(std::move(slot_bytes)) {
    CHECK(!slot_bytes_.empty());
    const std::uint64_t each = slot_bytes_[0];
    switch (level_) {
        case Level::Concat:
            for (const std::uint64_t bytes : slot_bytes_) {
                array_bytes_ += bytes;
                ends_.push_back(array_bytes_);
            }
            break;
        case Level::Raid0:
            array_bytes_ = each * slots();
            break;
        case Level::Raid1:
            slots_per_set_ = slots();
            array_bytes_ = each;
            break;
        case Level::Raid5:
            slots_per_set_ = slots();
            array_bytes_ = each * (slots() - 1);
            break;
        case Level::Raid10:
            slots_per_set_ = 2;
            array_bytes_ = each * (slots() / 2);
            break;
    }
}

RaidLayout::Run RaidLayout::find(std::uint64_t at, std::uint64_t bytes) const {
    CHECK(at < array_bytes_ && bytes <= array_bytes_ - at);
    if (level_ == Level::Raid1) {
        return {0, 0, at, bytes};
    }
    if (level_ == Level::Concat) {
        const auto end = std::ranges::upper_bound(ends_, at);
        const auto slot = static_cast<std::size_t>(end - ends_.begin());
        return {slot, slot, at - (*end - slot_bytes_[slot]), std::min(bytes, *end - at)};
    }
    const std::uint64_t number = at / chunk_;
    const std::uint64_t within = at % chunk_;
    bytes = std::min(bytes, chunk_ - within);
    if (level_ == Level::Raid5) {
        const std::uint64_t stripe = number / data_chunks();
        const std::size_t slot = data_slot(stripe, number % data_chunks());
        return {0, slot, stripe * chunk_ + within, bytes};
    }
    const std::size_t set = number % sets();
    return {set, first_slot(set), number / sets() * chunk_ + within, bytes};
}

RaidLayout::Band RaidLayout::find_band(std::uint64_t begin,
                                       std::uint64_t end,
                                       std::uint32_t row) const {
    DCHECK(begin < end && end <= stripe_bytes());
    const std::uint64_t first = begin / chunk_;
    const std::uint64_t last = (end - 1) / chunk_;
    const auto head = static_cast<std::uint32_t>(begin % chunk_);
    const auto tail = static_cast<std::uint32_t>((end - 1) % chunk_ + 1);
    while (row < chunk_) {
        // The chunks between are touched in all rows, the first from `head`, the last up to `tail`.
        std::uint64_t from = first;
        std::uint64_t to = last + 1;
        std::uint32_t stop = chunk_;
        if (row < head) {
            ++from;
            stop = std::min(stop, head);
        }
        if (row >= tail) {
            --to;
        } else {
            stop = std::min(stop, tail);
        }
        if (from < to) {
            return {row, stop - row, static_cast<std::uint32_t>(from),
                    static_cast<std::uint32_t>(to - from)};
        }
        row = stop;
    }
    return {};
}

}  // namespace remora::services::raid
