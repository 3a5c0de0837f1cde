// SPDX-License-Identifier: Apache-2.0
// RaidHome: the marks of mirrors, the places of RAID 5's log, and the flush that both need.
#include <array>
#include <utility>
#include <vector>

#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::Nanos;
using reactor::Task;

namespace {

constexpr Nanos kTidyEvery = std::chrono::seconds(2);

}  // namespace

// Marks of mirrors.

void RaidHome::want_mark(std::size_t region) {
    home_.post_function([this, region] {
        wanted_marks_.push_back(region);
        if (!marking_) {
            marking_ = true;
            gate_.spawn([](RaidHome* home) -> Task<> { co_await home->write_marks(); }, this);
        }
    });
}

/// Makes the marks that are wanted durable, then lets their writes go.
Task<> RaidHome::write_marks() {
    while (!wanted_marks_.empty()) {
        const std::vector<std::size_t> wanted = std::move(wanted_marks_);
        wanted_marks_.clear();
        for (const std::size_t region : wanted) {
            marked_[region] = true;
            clearing_[region] = false;
        }
        co_await write_bitmap();
        for (const std::size_t region : wanted) {
            shared_->intent->mark(region);
        }
    }
    marking_ = false;
}

/// A copy that cannot take it leaves, unless it is the last one, which nothing can differ from.
Task<> RaidHome::write_bitmap() {
    if (shared_->intent == nullptr) {
        co_return;
    }
    co_await marks_.enter();
    const std::span<std::byte, kMetaBytes> room(bitmap_room_.get(), kMetaBytes);
    encode(Bitmap{.array = options_.uuid, .region_bytes = shared_->region_bytes, .marked = marked_},
           room);
    IoGroup group(legs_, geometry_.block_size);
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((view_.legs() & bit_of(leg)) != 0) {
            group.write(leg, kBitmapAt, room, true);
        }
    }
    co_await group.wait();
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((group.failed() & bit_of(leg)) != 0) {
            shared_->legs[static_cast<std::size_t>(leg)].write_errors.fetch_add(1);
            co_await handle_report(leg, group.status(leg), true);
        }
    }
    marks_.leave();
}

/// Takes marks away that are not needed any more: what was written is durable on all copies first.
Task<> RaidHome::run_tidy() {
    while (!stopping_) {
        co_await tidy_signal_.wait_until(home_.now() + kTidyEvery);
        bool any = false;
        for (std::size_t region = 0; region < marked_.size(); ++region) {
            if (marked_[region] && shared_->intent->unmark_if_idle(region)) {
                clearing_[region] = true;
                any = true;
            }
        }
        if (!any || view_.frozen) {
            continue;
        }
        co_await flush_all();
        for (std::size_t region = 0; region < marked_.size(); ++region) {
            if (clearing_[region]) {  // nobody has wanted it meanwhile
                clearing_[region] = false;
                marked_[region] = false;
            }
        }
        co_await write_bitmap();
    }
}

// Places of the log.

void RaidHome::want_settled() {
    home_.post_function([this] {
        if (!settling_) {
            settling_ = true;
            gate_.spawn([](RaidHome* home) -> Task<> { co_await home->settle_logs(); }, this);
        }
    });
}

/// What is finished becomes durable, and its places free.
Task<> RaidHome::settle_logs() {
    std::array<std::uint64_t, kMaxMembers> finished{};
    for (std::size_t slot = 0; slot < shared_->rings.size(); ++slot) {
        finished[slot] = shared_->rings[slot]->finished();
    }
    co_await flush_all();
    settling_ = false;
    if (view_.frozen) {
        co_return;
    }
    for (std::size_t slot = 0; slot < shared_->rings.size(); ++slot) {
        shared_->rings[slot]->settle(finished[slot]);
    }
}

Task<> RaidHome::flush_all() {
    IoGroup group(legs_, geometry_.block_size);
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((view_.legs() & bit_of(leg)) != 0) {
            group.flush(leg);
        }
    }
    co_await group.wait();
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((group.failed() & bit_of(leg)) != 0) {
            co_await handle_report(leg, group.status(leg), true);
        }
    }
}

}  // namespace remora::services::raid
