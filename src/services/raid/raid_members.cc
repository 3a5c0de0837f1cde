// SPDX-License-Identifier: Apache-2.0
// RaidHome: what the operator does with members, and what he is told.
#include <algorithm>
#include <bit>
#include <utility>

#include "core/log.h"
#include "reactor/call.h"
#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::ErrorKind;
using core::Result;
using reactor::Task;

// On the control reactor.

Task<Result<void>> RaidHome::add_spare(Member member) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_return co_await reactor::call_on(home_, [this, member]() -> Task<Result<void>> {
        co_await wait_released(member.device);
        co_await changes_.enter();
        const Result<void> result = co_await add_spare_here(member);
        changes_.leave();
        job_signal_.notify();
        show_status();
        co_return result;
    });
}

Task<Result<void>> RaidHome::replace(std::string member, Member with) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_return co_await reactor::call_on(home_, [this, member, with]() -> Task<Result<void>> {
        co_await wait_released(with.device);
        co_await changes_.enter();
        const Result<void> result = co_await replace_here(member, with);
        changes_.leave();
        co_await write_bitmap();
        job_signal_.notify();
        show_status();
        co_return result;
    });
}

Task<Result<void>> RaidHome::remove_member(std::string member) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_return co_await reactor::call_on(home_, [this, member]() -> Task<Result<void>> {
        int leaving = kNoLeg;
        co_await changes_.enter();
        const Result<void> result = co_await remove_here(member, leaving);
        changes_.leave();
        if (leaving != kNoLeg) {
            co_await wait_released(shared_->legs[static_cast<std::size_t>(leaving)].device);
        }
        job_signal_.notify();
        show_status();
        co_return result;
    });
}

/// A device that has left may still have something of ours under way. Its own deadlines bound that.
Task<> RaidHome::wait_released(const block::Device* device) {
    for (bool used = device != nullptr; used;) {
        used = false;
        for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
            used = used || ((used_legs_ & bit_of(leg)) != 0 && (spares_ & bit_of(leg)) == 0 &&
                            !view_.has(leg) &&
                            shared_->legs[static_cast<std::size_t>(leg)].device == device);
        }
        if (used) {
            co_await reactor::sleep_for(kRetryAfter);
        }
    }
}

void RaidHome::set_rate_limit(std::uint64_t bytes_per_second) {
    rate_limit_.store(bytes_per_second);
}

Result<void> RaidHome::start_scrub() {
    if (!is_redundant(options_.level)) {
        return core::fail(ErrorKind::FailedPrecondition,
                          std::string(to_string(options_.level)) + " has nothing to compare");
    }
    if (status_.health != RaidStatus::Health::Optimal) {
        return core::fail(ErrorKind::FailedPrecondition,
                          "volume '" + options_.name + "' is " +
                              std::string(to_string(status_.health)) +
                              ": there is nothing to compare with");
    }
    if (job_kind_.load() != 0) {
        return core::fail(
            ErrorKind::FailedPrecondition,
            "a " + std::string(to_string(static_cast<Progress::Kind>(job_kind_.load()))) +
                " of volume '" + options_.name + "' is under way");
    }
    home_.post_function([this] {
        scrub_wanted_ = true;
        job_signal_.notify();
    });
    return {};
}

void RaidHome::cancel_scrub() {
    home_.post_function([this] {
        scrub_wanted_ = false;
        job_signal_.notify();
    });
}

RaidStatus RaidHome::status() const {
    RaidStatus status = status_;
    for (std::size_t i = 0; i < status.members.size(); ++i) {
        if (status_legs_[i] != kNoLeg) {
            const Leg& leg = shared_->legs[static_cast<std::size_t>(status_legs_[i])];
            status.members[i].read_errors = leg.read_errors.load();
            status.members[i].write_errors = leg.write_errors.load();
            status.members[i].repaired_blocks = leg.repaired_blocks.load();
        }
    }
    status.progress = {.kind = static_cast<Progress::Kind>(job_kind_.load()),
                       .done_bytes = job_done_.load(),
                       .total_bytes = job_total_.load(),
                       .bytes_per_second = job_rate_.load()};
    status.scrub_mismatches = mismatches_.load();
    return status;
}

// At home.

void RaidHome::show_status() {
    std::vector<int> legs;
    RaidStatus status = make_status(legs);
    control_.post_function([this, status = std::move(status), legs = std::move(legs)]() mutable {
        status_ = std::move(status);
        status_legs_ = std::move(legs);
        if (observer_ != nullptr) {
            observer_->on_raid_changed();
        }
    });
}

RaidStatus RaidHome::make_status(std::vector<int>& legs) const {
    RaidStatus status;
    const auto add = [&](MemberStatus member, int leg) {
        status.members.push_back(std::move(member));
        legs.push_back(leg);
    };
    for (std::size_t i = 0; i < table_.slots.size(); ++i) {
        const SlotView& slot = view_.slots[i];
        if (slot.current != kNoLeg && !view_.is_suspect(slot.current)) {
            add({.name = table_.slots[i].name, .state = MemberState::Active, .reason = {}},
                slot.current);
        } else if (slot.incoming == kNoLeg) {
            add(notes_[i].member, notes_[i].leg);
        }
        if (slot.incoming != kNoLeg) {
            add({.name = table_.slots[i].incoming_name,
                 .state = MemberState::Rebuilding,
                 .reason = "takes the place of '" + table_.slots[i].name + "'"},
                slot.incoming);
        }
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((spares_ & bit_of(leg)) != 0) {
            add({.name = shared_->legs[static_cast<std::size_t>(leg)].name,
                 .state = MemberState::Spare,
                 .reason = {}},
                leg);
        }
    }
    for (const LegStatus& refused : refused_) {
        add(refused.member, refused.leg);
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        const bool used = (used_legs_ & bit_of(leg)) != 0;
        if (used && (spares_ & bit_of(leg)) == 0 && !view_.has(leg)) {
            status.leaving.push_back(shared_->legs[static_cast<std::size_t>(leg)].name);
        }
    }
    status.last_generation = table_.generation;
    status.health = view_.frozen    ? RaidStatus::Health::Failed
                    : is_degraded() ? RaidStatus::Health::Degraded
                                    : RaidStatus::Health::Optimal;
    return status;
}

bool RaidHome::is_degraded() const {
    for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
        const int leg = view_.slots[slot].current;
        if (leg == kNoLeg || view_.is_suspect(leg)) {
            return true;
        }
    }
    return false;
}

int RaidHome::incoming_leg() const {
    const std::size_t slot = incoming_slot();
    return slot < kMaxMembers ? view_.slots[slot].incoming : kNoLeg;
}

std::size_t RaidHome::incoming_slot() const {
    for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
        if (view_.slots[slot].incoming != kNoLeg) {
            return slot;
        }
    }
    return kMaxMembers;
}

std::optional<std::size_t> RaidHome::find_slot(const std::string& name) const {
    for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
        if (table_.slots[slot].name == name) {
            return slot;
        }
    }
    return std::nullopt;
}

/// Whether `member` can become one of ours.
Result<void> RaidHome::check_joins(const Member& member) const {
    if (!is_redundant(options_.level)) {
        return core::fail(ErrorKind::FailedPrecondition, std::string(to_string(options_.level)) +
                                                             " has no redundancy: no member "
                                                             "can be replaced");
    }
    if (view_.frozen) {
        return core::fail(ErrorKind::FailedPrecondition,
                          "volume '" + options_.name + "' has failed");
    }
    if (member.device == nullptr || member.name.empty() ||
        member.name.size() > SlotRecord::kMaxName) {
        return core::fail(ErrorKind::InvalidArgument,
                          "a member has a device and a name of 1 to 63 bytes");
    }
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        const bool used = (used_legs_ & bit_of(leg)) != 0;
        if (used && shared_->legs[static_cast<std::size_t>(leg)].device == member.device) {
            return core::fail(ErrorKind::AlreadyExists,
                              "member '" + member.name + "' is in volume '" + options_.name + "'");
        }
    }
    const block::Geometry shape = member.device->geometry();
    const std::uint64_t needed = shared_->data_offset + shared_->layout.slot_bytes(0);
    if (shape.block_size != geometry_.block_size || shape.size_bytes() < needed) {
        return core::fail(ErrorKind::InvalidArgument,
                          "member '" + member.name + "' must have blocks of " +
                              std::to_string(geometry_.block_size) + " bytes and at least " +
                              core::format_size(needed));
    }
    if (shape.read_only ||
        (is_mirrored(options_.level) &&
         ((geometry_.can_write_zeroes && !shape.can_write_zeroes) ||
          (geometry_.can_discard && !(shape.can_discard && shape.unwritten_reads_zeros))))) {
        return core::fail(ErrorKind::InvalidArgument, "member '" + member.name +
                                                          "' cannot do what the others can: write, "
                                                          "write zeroes, discard");
    }
    return {};
}

/// Opens and wipes a device that joins.
Task<Result<int>> RaidHome::prepare(Member member) {
    if (auto joins = check_joins(member); !joins) {
        co_return std::unexpected(joins.error());
    }
    const Result<int> leg = open_at_home(member);
    if (!leg) {
        co_return leg;
    }
    Candidate candidate{.member = member, .leg = *leg, .superblock = {}, .why_not = {}};
    co_await read_superblocks(candidate);
    Result<void> ready = check_readable(candidate);
    if (!ready) {
        // whatever it has is left as it is
    } else if (candidate.superblock && candidate.superblock->array != options_.uuid) {
        ready = core::fail(ErrorKind::AlreadyExists, "member '" + member.name +
                                                         "' carries the superblock of array " +
                                                         candidate.superblock->array.text());
    } else {
        ready = co_await wipe(*leg);
    }
    if (!ready) {
        close_later(*leg, false);
        co_return std::unexpected(ready.error());
    }
    shared_->volatile_cache = shared_->volatile_cache || member.device->geometry().volatile_cache;
    co_return *leg;
}

Task<Result<void>> RaidHome::add_spare_here(Member member) {
    if (static_cast<std::size_t>(std::popcount(spares_)) >= kMaxSpares) {
        co_return core::fail(ErrorKind::ResourceExhausted, "volume '" + options_.name + "' has " +
                                                               std::to_string(kMaxSpares) +
                                                               " spares, the most there can be");
    }
    const Result<int> leg = co_await prepare(member);
    if (!leg) {
        co_return std::unexpected(leg.error());
    }
    std::erase_if(refused_, [&](const LegStatus& at) { return at.member.name == member.name; });
    spares_ |= bit_of(*leg);
    const bool durable = co_await persist();
    if (durable) {
        let_go_of_suspects();
    }
    co_await publish();
    if ((spares_ & bit_of(*leg)) == 0) {
        co_return core::fail(ErrorKind::Unavailable,
                             "the superblock of member '" + member.name + "' cannot be written");
    }
    co_return Result<void>();
}

Task<Result<void>> RaidHome::replace_here(std::string name, Member with) {
    const auto slot = find_slot(name);
    if (!slot) {
        co_return core::fail(ErrorKind::NotFound,
                             "volume '" + options_.name + "' has no member '" + name + "'");
    }
    if (incoming_leg() != kNoLeg) {
        co_return core::fail(ErrorKind::FailedPrecondition,
                             "volume '" + options_.name + "' is being rebuilt onto '" +
                                 table_.slots[incoming_slot()].incoming_name + "'");
    }
    const Result<int> leg = co_await prepare(with);
    if (!leg) {
        co_return std::unexpected(leg.error());
    }
    std::erase_if(refused_, [&](const LegStatus& at) { return at.member.name == with.name; });
    const Result<void> begun = co_await begin_rebuild(*slot, *leg);
    co_return begun;
}

/// In changes_, when there is no other rebuild. `leg` is prepared.
Task<Result<void>> RaidHome::begin_rebuild(std::size_t slot, int leg) {
    CHECK(incoming_leg() == kNoLeg);
    const Result<void> opened = co_await open_everywhere(leg);
    if (!opened) {
        spares_ &= ~bit_of(leg);
        close_later(leg, true);
        co_return opened;
    }
    const Leg& at = shared_->legs[static_cast<std::size_t>(leg)];
    shared_->rebuilt_bytes.store(0);
    table_.rebuilt_bytes = 0;
    table_.slots[slot].incoming = at.id;
    table_.slots[slot].incoming_name = at.name;
    view_.slots[slot].incoming = leg;
    spares_ &= ~bit_of(leg);
    log::info("raid rebuild begins", log::kv("volume", options_.name), log::kv("onto", at.name));
    const bool durable = co_await persist();
    if (durable) {
        let_go_of_suspects();
    }
    co_await publish();
    if (incoming_leg() != leg || view_.frozen) {
        co_return core::fail(ErrorKind::Unavailable,
                             "the superblock of member '" + at.name + "' cannot be written");
    }
    co_return Result<void>();
}

/// `leaving`: the leg that is on its way out.
Task<Result<void>> RaidHome::remove_here(std::string name, int& leaving) {
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((used_legs_ & bit_of(leg)) == 0 ||
            shared_->legs[static_cast<std::size_t>(leg)].name != name) {
            continue;
        }
        if ((spares_ & bit_of(leg)) != 0) {
            spares_ &= ~bit_of(leg);
            leaving = leg;
            close_later(leg, true);
            co_return Result<void>();
        }
        if (!view_.has(leg)) {
            continue;
        }
        if (!can_lose(leg)) {
            co_return core::fail(ErrorKind::FailedPrecondition,
                                 "member '" + name +
                                     "' has the last good copy of something: "
                                     "replace it, or repair the others first");
        }
        wipe_legs_ |= bit_of(leg);
        leaving = leg;
        co_await remove_leg(leg, "removed");
        co_await publish();
        co_return Result<void>();
    }
    const auto gone =
        std::ranges::find_if(refused_, [&](const LegStatus& at) { return at.member.name == name; });
    if (gone != refused_.end()) {
        refused_.erase(gone);
        co_return Result<void>();
    }
    co_return core::fail(ErrorKind::NotFound,
                         "volume '" + options_.name + "' has no member '" + name + "'");
}

}  // namespace remora::services::raid
