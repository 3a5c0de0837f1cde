// SPDX-License-Identifier: Apache-2.0
// RaidHome: an array that is put together again, from members in any order, some of them missing,
// foreign, or left behind.
#include <algorithm>
#include <array>
#include <utility>

#include "core/log.h"
#include "core/probe.h"
#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::ErrorKind;
using core::Result;
using reactor::Task;

/// The newer one that is whole; why there is none, otherwise.
Task<> RaidHome::read_superblocks(Candidate& candidate) {
    Room room = make_room(2 * kMetaBytes);
    const std::span<std::byte> bytes(room.get(), 2 * kMetaBytes);
    IoGroup group(legs_, candidate.member.device->geometry().block_size);
    group.read(candidate.leg, 0, bytes);
    co_await group.wait();
    if (group.failed() != 0) {
        candidate.why_not = "its superblock cannot be read";
        candidate.unreadable = true;
        co_return;
    }
    for (const std::size_t at : {std::size_t{0}, kMetaBytes}) {
        Result<Superblock> found = decode_superblock(bytes.subspan(at, kMetaBytes));
        if (!found) {
            if (candidate.why_not.empty() || found.error().kind != ErrorKind::NotFound) {
                candidate.why_not = found.error().message;
            }
        } else if (!candidate.superblock || found->generation > candidate.superblock->generation) {
            candidate.superblock = std::move(*found);
        }
    }
}

void RaidHome::refuse(Candidate& candidate, std::string reason) {
    log::warn("raid member refused", log::kv("volume", options_.name),
              log::kv("member", candidate.member.name), log::kv("reason", reason));
    refused_.push_back(
        {{.name = candidate.member.name,
          .state = candidate.member.device == nullptr ? MemberState::Missing : MemberState::Failed,
          .reason = std::move(reason)},
         kNoLeg});
    if (candidate.leg != kNoLeg) {
        CHECK(legs_.try_close(candidate.leg));
        used_legs_ &= ~bit_of(candidate.leg);
        candidate.leg = kNoLeg;
    }
}

/// The newest superblock to table_. A crash can leave one member with a generation that the others
/// have not; if they go on without it, theirs of that number is another: the one that knows the
/// other to be out is right. Where each says so of the other, both have gone on.
Result<void> RaidHome::choose_newest(const std::vector<Candidate>& candidates) {
    const auto names = [](const Superblock& table, const core::Uuid& member) {
        return std::ranges::any_of(table.slots, [&](const SlotRecord& slot) {
            return slot.current == member || slot.incoming == member;
        });
    };
    const Superblock* best = nullptr;
    for (const Candidate& candidate : candidates) {
        if (candidate.leg == kNoLeg) {
            continue;
        }
        const Superblock& own = *candidate.superblock;
        if (best == nullptr || own.generation > best->generation) {
            best = &own;
            continue;
        }
        Superblock same = own;
        same.member = best->member;
        same.spare = best->spare;
        if (own.generation < best->generation || same == *best) {
            continue;
        }
        const bool own_has_best = names(own, best->member);
        if (own_has_best == names(*best, own.member)) {
            return core::fail(ErrorKind::DataLoss, "the members of volume '" + options_.name +
                                                       "' were used apart from each other: '" +
                                                       candidate.member.name +
                                                       "' tells another story than the rest");
        }
        best = own_has_best ? best : &own;
    }
    if (best == nullptr) {
        return core::fail(ErrorKind::FailedPrecondition,
                          "none of the members of volume '" + options_.name + "' is there" +
                              (refused_.empty() ? ""
                                                : ": '" + refused_[0].member.name +
                                                      "': " + refused_[0].member.reason));
    }
    table_ = *best;
    if (table_.level != options_.level ||
        (has_chunks(options_.level) && table_.chunk_bytes != options_.chunk_bytes)) {
        return core::fail(ErrorKind::InvalidArgument,
                          "what is there is " + std::string(to_string(table_.level)) +
                              " with chunks of " + std::to_string(table_.chunk_bytes) + " bytes");
    }
    return {};
}

/// The legs that are open, in the array that was found on them.
void RaidHome::keep_legs(const std::vector<Member>& members) {
    std::array<std::pair<std::string, block::Device*>, kMaxLegs> opened;
    for (std::size_t leg = 0; leg < kMaxLegs; ++leg) {
        opened[leg] = {shared_->legs[leg].name, shared_->legs[leg].device};
    }
    make_shared(members);
    for (std::size_t leg = 0; leg < kMaxLegs; ++leg) {
        shared_->legs[leg].name = opened[leg].first;
        shared_->legs[leg].device = opened[leg].second;
    }
}

/// Who is who, after the newest superblock.
Result<void> RaidHome::choose_members(std::vector<Candidate>& candidates) {
    const Superblock newest = table_;
    for (Candidate& candidate : candidates) {
        if (candidate.leg == kNoLeg) {
            continue;
        }
        const Superblock& own = *candidate.superblock;
        Leg& leg = shared_->legs[static_cast<std::size_t>(candidate.leg)];
        leg.id = own.member;
        const auto slot = std::ranges::find_if(table_.slots, [&](const SlotRecord& at) {
            return at.current == own.member || at.incoming == own.member;
        });
        // A superblock is written to all before anything relies on it, so that who is in the newest
        // one has it or the one before.
        const bool recent = own.generation + 1 >= newest.generation;
        const std::uint64_t needed =
            slot == table_.slots.end() ? 0 : shared_->data_offset + slot->data_bytes;
        if (candidate.member.device->geometry().size_bytes() < needed) {
            refuse(candidate, "it has become smaller");
        } else if (slot != table_.slots.end() && recent) {
            SlotView& at = view_.slots[static_cast<std::size_t>(slot - table_.slots.begin())];
            const bool current = slot->current == own.member;
            (current ? at.current : at.incoming) = candidate.leg;
            (current ? slot->name : slot->incoming_name) = candidate.member.name;
        } else if (slot == table_.slots.end() && own.spare) {
            spares_ |= bit_of(candidate.leg);
        } else {
            REMORA_COVER("raid: a stale member is refused");
            refuse(candidate, "stale: the array went on without it; replace it to use it again");
        }
    }
    return {};
}

/// Names what is missing when that is too much; else notes it, for the next superblocks.
Result<void> RaidHome::check_enough() const {
    std::string missing;
    bool enough = true;
    for (std::size_t set = 0; set < shared_->layout.sets(); ++set) {
        std::size_t there = 0;
        const std::size_t first = shared_->layout.first_slot(set);
        const std::size_t count = shared_->layout.slots_per_set();
        for (std::size_t slot = first; slot < first + count; ++slot) {
            if (view_.slots[slot].current != kNoLeg) {
                ++there;
            } else {
                missing += (missing.empty() ? "'" : ", '") + table_.slots[slot].name + "'";
            }
        }
        enough = enough && there >= (table_.level == Level::Raid5 ? count - 1 : 1);
    }
    if (enough) {
        return {};
    }
    return core::fail(ErrorKind::FailedPrecondition,
                      "volume '" + options_.name + "' cannot start without " + missing);
}

/// Of all at once: a member that is away takes as long as its time limit.
Task<> RaidHome::read_all_superblocks(std::vector<Candidate>& candidates) {
    reactor::Gate reads;
    for (Candidate& candidate : candidates) {
        if (candidate.leg != kNoLeg) {
            CHECK(reads.spawn([](RaidHome* home,
                                 Candidate* of) -> Task<> { co_await home->read_superblocks(*of); },
                              this, &candidate));
        }
    }
    co_await reads.close();
}

/// Opens all that are there and looks at what they carry.
Task<> RaidHome::read_candidates(std::vector<Member> members, std::vector<Candidate>& candidates) {
    for (const Member& member : members) {
        if (member.device == nullptr) {
            continue;  // its slot will be noted as missing
        }
        candidates.push_back({.member = member, .leg = kNoLeg, .superblock = {}, .why_not = {}});
        if (const Result<int> leg = open_at_home(member)) {
            candidates.back().leg = *leg;
        } else {
            candidates.back().why_not = leg.error().message;
        }
    }
    co_await read_all_superblocks(candidates);
    for (Candidate& candidate : candidates) {
        if (!candidate.superblock) {
            refuse(candidate, candidate.why_not);
        } else if (candidate.superblock->array != options_.uuid) {
            refuse(candidate, "it is of array " + candidate.superblock->array.text());
        } else if (candidate.superblock->block_size !=
                   candidate.member.device->geometry().block_size) {
            refuse(candidate, "its block size has changed");
        }
    }
}

/// What is missing is out, in the superblocks that are written before anybody can write past it.
void RaidHome::note_missing() {
    for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
        if (view_.slots[slot].current == kNoLeg) {
            note(slot, MemberState::Missing, "it is not there", kNoLeg);
            table_.slots[slot].current = {};
        }
        if (view_.slots[slot].incoming == kNoLeg) {
            table_.slots[slot].incoming = {};
            table_.slots[slot].incoming_name.clear();
        }
    }
    if (incoming_leg() == kNoLeg) {
        table_.rebuilt_bytes = 0;
    }
}

Task<Result<void>> RaidHome::assemble_here(std::vector<Member> members) {
    // A shape to open legs with; the real one follows from the superblocks.
    table_.slots = {
        {.name = {}, .current = {}, .incoming = {}, .incoming_name = {}, .data_bytes = 1}};
    table_.level = Level::Concat;
    table_.block_size = 4096;
    make_shared({});
    std::vector<Candidate> candidates;
    co_await read_candidates(members, candidates);
    if (auto chosen = choose_newest(candidates); !chosen) {
        co_return chosen;
    }
    keep_legs(members);
    if (auto chosen = choose_members(candidates); !chosen) {
        co_return chosen;
    }
    if (auto enough = check_enough(); !enough) {
        co_return enough;
    }
    shared_->rebuilt_bytes.store(table_.rebuilt_bytes);
    shared_->synced_bytes.store(table_.synced_bytes);
    const Result<void> mended =
        table_.level == Level::Raid5 ? co_await replay_logs() : co_await load_bitmaps();
    if (!mended) {
        co_return mended;
    }
    note_missing();
    ++table_.log_epoch;
    const bool durable = co_await persist();
    if (!durable) {
        co_return core::fail(ErrorKind::Unavailable,
                             "the superblocks of volume '" + options_.name + "' cannot be written");
    }
    let_go_of_suspects();
    shared_->log_epoch = table_.log_epoch;
    co_await write_bitmap();
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((view_.legs() & bit_of(leg)) != 0) {
            const Result<void> ready = co_await open_everywhere(leg);
            if (!ready) {
                co_return ready;
            }
        }
    }
    start_background();
    co_await publish();
    co_return Result<void>();
}

}  // namespace remora::services::raid
