// SPDX-License-Identifier: Apache-2.0
// RaidHome: the start of an array, a new one above all, and its end. raid_assemble.cc has the rest.
#include <algorithm>
#include <utility>

#include "core/log.h"
#include "reactor/call.h"
#include "services/raid/raid_home.h"

namespace remora::services::raid {

using core::ErrorKind;
using core::Result;
using reactor::Task;

namespace {

/// What is used of a member of `bytes`; 0 when it is too small.
std::uint64_t usable(const RaidOptions& options, std::uint64_t bytes) {
    const std::uint64_t offset = data_offset_of(options.level);
    const std::uint64_t unit =
        has_chunks(options.level) ? options.chunk_bytes : RangeLocks::kRowBytes;
    return bytes <= offset ? 0 : (bytes - offset) / unit * unit;
}

}  // namespace

// Control reactor.

Task<Result<void>> RaidHome::create(std::vector<Member> members) {
    if (auto right = check_new(members); !right) {
        co_return right;
    }
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_return co_await reactor::call_on(home_, [this, members]() -> Task<Result<void>> {
        const Result<void> result = co_await create_here(members);
        co_return result;
    });
}

Task<Result<void>> RaidHome::assemble(std::vector<Member> members) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_return co_await reactor::call_on(home_, [this, members]() -> Task<Result<void>> {
        const Result<void> result = co_await assemble_here(members);
        co_return result;
    });
}

Task<> RaidHome::stop() {
    for (const auto& at : reactors_) {
        PerReactor* here = at.get();
        // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
        co_await reactor::call_on(at->context.reactor, [here]() -> Task<> {
            CHECK(here->channels.empty());
            co_await here->lanes.close();
        });
    }
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): call_on keeps it
    co_await reactor::call_on(home_, [this]() -> Task<> {
        stopping_ = true;
        job_signal_.notify();
        tidy_signal_.notify();
        co_await gate_.close();
        if (started_ && !view_.frozen) {
            co_await end_cleanly();
        }
        for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
            CHECK(legs_.try_close(leg));
        }
    });
}

/// Nothing is being written any more: the next start has nothing to compare.
Task<> RaidHome::end_cleanly() {
    co_await flush_all();
    for (std::size_t region = 0; region < marked_.size(); ++region) {
        marked_[region] = shared_->intent->is_unsynced(region);
    }
    co_await write_bitmap();
    co_await checkpoint();
}

Result<void> RaidHome::check_new(const std::vector<Member>& members) const {
    if (auto right = check_member_count(options_.level, members.size()); !right) {
        return right;
    }
    if (auto right = check_chunk(options_.level, options_.chunk_bytes); !right) {
        return right;
    }
    for (std::size_t i = 0; i < members.size(); ++i) {
        const Member& member = members[i];
        const bool twice =
            std::any_of(members.begin(), members.begin() + static_cast<std::ptrdiff_t>(i),
                        [&](const Member& other) {
                            return other.name == member.name || other.device == member.device;
                        });
        const auto refuse = [&](const std::string& what) {
            return core::fail(ErrorKind::InvalidArgument, "member '" + member.name + "' " + what);
        };
        if (member.device == nullptr) {
            return refuse("is missing: a new array needs all of them");
        }
        if (member.name.empty() || member.name.size() > SlotRecord::kMaxName) {
            return refuse("needs a name of 1 to 63 bytes");
        }
        if (twice) {
            return refuse("is there twice");
        }
        const block::Geometry shape = member.device->geometry();
        const block::Geometry first = members[0].device->geometry();
        if (shape.block_size != first.block_size) {
            return refuse("has blocks of " + std::to_string(shape.block_size) + " bytes, '" +
                          members[0].name + "' of " + std::to_string(first.block_size));
        }
        if (shape.read_only) {
            return refuse("can only be read");
        }
        if (options_.level != Level::Concat && shape.size_bytes() != first.size_bytes()) {
            return refuse("has " + core::format_size(shape.size_bytes()) + ", '" + members[0].name +
                          "' " + core::format_size(first.size_bytes()));
        }
        if (usable(options_, shape.size_bytes()) == 0) {
            return refuse("is too small: " + core::format_size(data_offset_of(options_.level)) +
                          " are the array's own");
        }
    }
    return {};
}

// At home.

/// The shape, from table_ and what the members that are there can do.
void RaidHome::make_shared(const std::vector<Member>& members) {
    std::vector<std::uint64_t> bytes;
    bytes.reserve(table_.slots.size());
    for (const SlotRecord& slot : table_.slots) {
        bytes.push_back(slot.data_bytes);
    }
    RaidLayout layout(table_.level, table_.chunk_bytes, std::move(bytes));
    block::Geometry shape;
    shape.block_size = table_.block_size;
    shape.block_count = layout.array_bytes() / table_.block_size;
    shape.unwritten_reads_zeros = false;  // the members may have any past
    shape.can_discard = table_.level != Level::Raid5;
    shape.can_write_zeroes = true;
    for (const Member& member : members) {
        if (member.device == nullptr) {
            continue;
        }
        const block::Geometry at = member.device->geometry();
        shape.volatile_cache = shape.volatile_cache || at.volatile_cache;
        // Copies must read the same after a discard, so it must give zeros.
        shape.can_discard = shape.can_discard && at.can_discard &&
                            (!is_mirrored(table_.level) || at.unwritten_reads_zeros);
        shape.can_write_zeroes =
            table_.level == Level::Raid5 || (shape.can_write_zeroes && at.can_write_zeroes);
    }
    if (has_chunks(table_.level)) {
        const std::uint64_t optimal =
            table_.level == Level::Raid5 ? layout.stripe_bytes() : table_.chunk_bytes;
        shape.optimal_blocks = static_cast<std::uint32_t>(optimal / table_.block_size);
    }
    geometry_ = shape;
    RaidHomeCalls& calls = *this;
    shared_ =
        std::make_unique<RaidShared>(calls, std::move(layout), options_.uuid, table_.block_size);
    shared_->volatile_cache = shape.volatile_cache;
    if (shared_->intent != nullptr) {
        marked_.assign(shared_->intent->size(), false);
        clearing_ = marked_;
    }
}

Task<bool> RaidHome::write_all(int leg, std::uint64_t at, std::span<const std::byte> bytes) {
    IoGroup group(legs_, geometry_.block_size);
    group.write(leg, at, bytes, true);
    co_await group.wait();
    co_return group.failed() == 0;
}

/// Nothing on it is ours any more: superblocks, bitmap, log entries.
Task<Result<void>> RaidHome::wipe(int leg) {
    bool good = co_await write_all(leg, 0, memory::BufferPool::zeros(kBitmapAt + kMetaBytes));
    const std::uint64_t slots = options_.level == Level::Raid5 ? LogRing::kSlots : 0;
    for (std::uint64_t slot = 0; slot < slots && good; ++slot) {
        good = co_await write_all(leg, kLogAt + slot * kLogSlotBytes,
                                  memory::BufferPool::zeros(kMetaBytes));
    }
    if (!good) {
        co_return core::fail(
            ErrorKind::Unavailable,
            "member '" + shared_->legs[static_cast<std::size_t>(leg)].name + "' cannot be written");
    }
    co_return Result<void>();
}

Task<Result<void>> RaidHome::create_here(std::vector<Member> members) {
    table_.array = options_.uuid;
    table_.level = options_.level;
    table_.chunk_bytes = options_.chunk_bytes;
    table_.block_size = members[0].device->geometry().block_size;
    table_.log_epoch = 1;
    for (const Member& member : members) {
        table_.slots.push_back(
            {.name = member.name,
             .current = {},
             .incoming = {},
             .incoming_name = {},
             .data_bytes = usable(options_, member.device->geometry().size_bytes())});
    }
    make_shared(members);
    if (auto taken = co_await take_new(members); !taken) {
        co_return taken;
    }
    LegMask begun = 0;
    Result<void> made = co_await write_new(begun);
    for (std::size_t slot = 0; slot < view_.slots.size() && made; ++slot) {
        if (view_.slots[slot].current != kNoLeg) {
            made = co_await open_everywhere(view_.slots[slot].current);
        }
    }
    if (!made) {
        co_await wipe_begun(begun);
        co_return made;
    }
    shared_->log_epoch = table_.log_epoch;
    start_background();
    co_await publish();
    co_return Result<void>();
}

/// Who may carry another array must not be written over for a read that failed.
Result<void> RaidHome::check_readable(const Candidate& candidate) {
    if (!candidate.unreadable) {
        return {};
    }
    return core::fail(ErrorKind::Unavailable,
                      "member '" + candidate.member.name + "' cannot be read");
}

/// Opens the members, none of which is another array's then. Writes nothing.
Task<Result<void>> RaidHome::take_new(std::vector<Member> members) {
    std::vector<Candidate> candidates;
    for (const Member& member : members) {
        const Result<int> leg = open_at_home(member);
        if (!leg) {
            co_return std::unexpected(leg.error());
        }
        candidates.push_back({.member = member, .leg = *leg, .superblock = {}, .why_not = {}});
    }
    co_await read_all_superblocks(candidates);
    for (std::size_t slot = 0; slot < candidates.size(); ++slot) {
        const Candidate& candidate = candidates[slot];
        if (auto readable = check_readable(candidate); !readable) {
            co_return readable;
        }
        if (candidate.superblock && candidate.superblock->array != options_.uuid &&
            !options_.overwrite) {
            co_return core::fail(ErrorKind::AlreadyExists,
                                 "member '" + candidate.member.name +
                                     "' carries the superblock of array " +
                                     candidate.superblock->array.text());
        }
        view_.slots[slot].current = candidate.leg;
        table_.slots[slot].current = shared_->legs[static_cast<std::size_t>(candidate.leg)].id;
    }
    co_return Result<void>();
}

/// The marks of a new array, durably. What it has begun to write to is in `begun`, whatever ends
/// it.
Task<Result<void>> RaidHome::write_new(LegMask& begun) {
    for (const SlotView& slot : view_.slots) {
        if (slot.current == kNoLeg) {
            continue;
        }
        begun |= bit_of(slot.current);
        const Result<void> wiped = co_await wipe(slot.current);
        if (!wiped) {
            co_return wiped;
        }
    }
    if (shared_->intent != nullptr) {  // all of it is to be made the same
        for (std::size_t region = 0; region < marked_.size(); ++region) {
            marked_[region] = true;
            shared_->intent->set_unsynced(region);
        }
        co_await write_bitmap();
    }
    const bool durable = co_await persist();
    if (!durable || view_.suspects != 0 || view_.frozen) {
        co_return core::fail(ErrorKind::Unavailable,
                             "the superblocks of volume '" + options_.name + "' cannot be written");
    }
    co_return Result<void>();
}

/// What is on these is ours, of no use, and in the way of the next attempt.
Task<> RaidHome::wipe_begun(LegMask begun) {
    for (const SlotView& slot : view_.slots) {
        if (slot.current == kNoLeg || (begun & bit_of(slot.current)) == 0) {
            continue;
        }
        const Result<void> wiped = co_await wipe(slot.current);
        if (!wiped) {
            log::warn("marks of an array that could not be made are left",
                      log::kv("volume", options_.name), log::kv("reason", wiped.error().message));
        }
    }
}

void RaidHome::start_background() {
    started_ = true;
    gate_.spawn([](RaidHome* home) -> Task<> { co_await home->run_jobs(); }, this);
    if (shared_->intent != nullptr) {
        gate_.spawn([](RaidHome* home) -> Task<> { co_await home->run_tidy(); }, this);
    }
}

}  // namespace remora::services::raid
