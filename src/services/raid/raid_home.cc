// SPDX-License-Identifier: Apache-2.0
#include "services/raid/raid_home.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "core/log.h"
#include "core/probe.h"
#include "reactor/call.h"
#include "services/raid/raid_device.h"

namespace remora::services::raid {

using block::Status;
using core::ErrorKind;
using core::Result;
using reactor::Task;

void RaidHome::FreeRoom::operator()(std::byte* memory) const {
    std::free(memory);
}

RaidHome::Room RaidHome::make_room(std::size_t bytes) {
    Room room(static_cast<std::byte*>(std::aligned_alloc(kMetaBytes, bytes)));
    CHECK(room != nullptr);
    return room;
}

RaidHome::RaidHome(RaidOptions options, std::span<const block::ReactorContext> reactors)
    : control_(reactor::Reactor::current()),
      options_(std::move(options)),
      home_(reactors[0].reactor),
      meta_room_(make_room(kMetaBytes * kMaxLegs)),
      bitmap_room_(make_room(kMetaBytes)),
      job_room_(make_room(std::size_t{2} * kMaxChunkBytes)),
      rate_limit_(RaidDevice::kDefaultBytesPerSecond) {
    for (const block::ReactorContext& context : reactors) {
        reactors_.push_back(std::make_unique<PerReactor>(context));
    }
}

RaidHome::~RaidHome() {
    CHECK(stopping_);
}

Result<std::unique_ptr<block::Channel>> RaidHome::open_channel() {
    for (const auto& at : reactors_) {
        if (!at->context.reactor.is_current()) {
            continue;
        }
        auto channel = RaidChannel::create(*shared_, geometry_, at->view, at->open, at->lanes,
                                           &at->context.buffers);
        if (!channel) {
            return core::fail("volume '" + options_.name + "'", channel.error());
        }
        at->channels.push_back(**channel);
        return std::unique_ptr<block::Channel>(std::move(*channel));
    }
    return core::fail(ErrorKind::FailedPrecondition,
                      "volume '" + options_.name + "' is not served on this reactor");
}

// Calls from channels.

void RaidHome::report(int leg, Status status, bool wrote) {
    if (!shared_->legs[static_cast<std::size_t>(leg)].reported.exchange(true)) {
        home_.post_function([this, leg, status, wrote] {
            gate_.spawn(
                [](RaidHome* home, int which, Status what, bool writing) -> Task<> {
                    co_await home->handle_report(which, what, writing);
                },
                this, leg, status, wrote);
        });
    }
}

Task<> RaidHome::handle_report(int leg, Status status, bool wrote) {
    co_await changes_.enter();
    Leg& at = shared_->legs[static_cast<std::size_t>(leg)];
    at.reported.store(false);  // before the new view: who reports again after this is heard
    if (!view_.frozen && view_.has(leg)) {
        const std::string reason = std::string(wrote ? "a write" : "a read") +
                                   " failed: " + std::string(block::to_string(status));
        if (can_lose(leg)) {
            co_await remove_leg(leg, reason);
        } else if (shared_->layout.level() == Level::Raid5 && wrote) {
            REMORA_COVER("raid: more is lost than can be");
            log::error("raid array failed", log::kv("volume", options_.name),
                       log::kv("member", at.name), log::kv("reason", reason));
            view_.frozen = true;
        } else {
            log::warn("raid member failed and has the last copy", log::kv("volume", options_.name),
                      log::kv("member", at.name), log::kv("reason", reason));
        }
    }
    co_await publish();
    changes_.leave();
    job_signal_.notify();
}

/// In changes_. The caller publishes once more.
Task<> RaidHome::remove_leg(int leg, std::string reason) {
    log::warn("raid member leaves", log::kv("volume", options_.name),
              log::kv("member", shared_->legs[static_cast<std::size_t>(leg)].name),
              log::kv("reason", reason));
    for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
        if (view_.slots[slot].current == leg) {
            note(slot, MemberState::Failed, reason, leg);
        } else if (view_.slots[slot].incoming == leg) {
            refused_.push_back({{.name = table_.slots[slot].incoming_name,
                                 .state = MemberState::Failed,
                                 .reason = reason},
                                leg});
        }
    }
    drop_from_table(leg);
    view_.suspects |= bit_of(leg);
    co_await publish();
    const bool durable = co_await persist();
    if (durable) {
        let_go_of_suspects();
    }
}

void RaidHome::note(std::size_t slot, MemberState state, std::string reason, int leg) {
    notes_[slot] = {{.name = table_.slots[slot].name, .state = state, .reason = std::move(reason)},
                    leg};
}

/// The table without `leg`; the view keeps it until that is durable.
void RaidHome::drop_from_table(int leg) {
    const core::Uuid id = shared_->legs[static_cast<std::size_t>(leg)].id;
    for (SlotRecord& slot : table_.slots) {
        if (slot.current == id) {
            slot.current = {};
        }
        if (slot.incoming == id) {
            slot.incoming = {};
            slot.incoming_name.clear();
            table_.rebuilt_bytes = 0;
        }
    }
}

void RaidHome::let_go_of_suspects() {
    for (SlotView& slot : view_.slots) {
        for (int* leg : {&slot.current, &slot.incoming}) {
            if (*leg != kNoLeg && view_.is_suspect(*leg)) {
                const int gone = std::exchange(*leg, kNoLeg);
                close_later(gone, (wipe_legs_ & bit_of(gone)) != 0);
            }
        }
    }
    wipe_legs_ = 0;
    view_.suspects = 0;
}

/// Whether everything is still there without `leg`, which is in the view.
bool RaidHome::can_lose(int leg) const {
    const RaidLayout& layout = shared_->layout;
    for (std::size_t slot = 0; slot < layout.slots(); ++slot) {
        if (view_.slots[slot].incoming == leg) {
            return true;
        }
        if (view_.slots[slot].current != leg) {
            continue;
        }
        std::size_t others = 0;
        const std::size_t first = layout.first_slot(layout.set_of(slot));
        for (std::size_t i = first; i < first + layout.slots_per_set(); ++i) {
            const int other = view_.slots[i].current;
            others += i != slot && other != kNoLeg && !view_.is_suspect(other) ? 1U : 0U;
        }
        return layout.level() == Level::Raid5 ? others == layout.slots() - 1 : others > 0;
    }
    return true;
}

/// In changes_. Writes the table to all that are in it, durably. Who cannot take it leaves too;
/// false, and the array frozen, when that is one too many.
Task<bool> RaidHome::persist() {
    for (;;) {
        ++table_.generation;
        const LegMask legs = (view_.legs() & ~view_.suspects) | spares_;
        IoGroup group(legs_, geometry_.block_size);
        for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
            if ((legs & bit_of(leg)) == 0) {
                continue;
            }
            const std::span<std::byte, kMetaBytes> room(
                meta_room_.get() + static_cast<std::size_t>(leg) * kMetaBytes, kMetaBytes);
            table_.member = shared_->legs[static_cast<std::size_t>(leg)].id;
            table_.spare = (spares_ & bit_of(leg)) != 0;
            encode(table_, room);
            group.write(leg, table_.generation % 2 * kMetaBytes, room, true);
        }
        co_await group.wait();
        if (group.failed() == 0) {
            co_return true;
        }
        REMORA_COVER("raid: a superblock cannot be written");
        for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
            if ((group.failed() & bit_of(leg)) == 0) {
                continue;
            }
            shared_->legs[static_cast<std::size_t>(leg)].write_errors.fetch_add(1);
            if ((spares_ & bit_of(leg)) != 0) {
                spares_ &= ~bit_of(leg);
                refused_.push_back({{.name = shared_->legs[static_cast<std::size_t>(leg)].name,
                                     .state = MemberState::Failed,
                                     .reason = "its superblock cannot be written"},
                                    leg});
                close_later(leg, false);
                continue;
            }
            if (!can_lose(leg)) {
                log::error("raid array failed: no superblock can be written",
                           log::kv("volume", options_.name));
                view_.frozen = true;
                co_return false;
            }
            for (std::size_t slot = 0; slot < table_.slots.size(); ++slot) {
                if (view_.slots[slot].current == leg) {
                    note(slot, MemberState::Failed, "its superblock cannot be written", leg);
                }
            }
            drop_from_table(leg);
            view_.suspects |= bit_of(leg);
        }
        co_await publish();
    }
}

/// Gives the view to all channels; they have it when this returns.
Task<> RaidHome::publish() {
    ++view_.version;
    for (const auto& at : reactors_) {
        PerReactor* here = at.get();
        const View view = view_;
        co_await reactor::call_on(at->context.reactor, [here, &view] {
            here->view = view;
            here->channels.for_each([&view](RaidChannel& channel) { channel.apply(view); });
        });
    }
    show_status();
}

// Legs come and go.

Result<int> RaidHome::open_at_home(const Member& member) {
    for (int leg = 0; leg < static_cast<int>(kMaxLegs); ++leg) {
        if ((used_legs_ & bit_of(leg)) != 0) {
            continue;
        }
        if (auto opened = legs_.open(leg, *member.device); !opened) {
            return core::fail("member '" + member.name + "'", opened.error());
        }
        used_legs_ |= bit_of(leg);
        Leg& at = shared_->legs[static_cast<std::size_t>(leg)];
        at.device = member.device;
        at.name = member.name;
        at.id = core::Uuid::random(home_.prng());
        at.reported.store(false);
        at.read_errors.store(0);
        at.write_errors.store(0);
        at.repaired_blocks.store(0);
        return leg;
    }
    return core::fail(
        ErrorKind::ResourceExhausted,
        "volume '" + options_.name + "' has too many members that are being released");
}

Task<Result<void>> RaidHome::open_everywhere(int leg) {
    Leg& at = shared_->legs[static_cast<std::size_t>(leg)];
    for (const auto& each : reactors_) {
        PerReactor* here = each.get();
        block::Device* device = at.device;
        const Result<void> opened =
            co_await reactor::call_on(each->context.reactor, [here, leg, device]() -> Result<void> {
                Result<void> result;
                here->channels.for_each([&](RaidChannel& channel) {
                    if (result) {
                        result = channel.open_leg(leg, *device);
                    }
                });
                here->open |= bit_of(leg);
                return result;
            });
        if (!opened) {
            co_return core::fail("member '" + at.name + "'", opened.error());
        }
    }
    co_return Result<void>();
}

void RaidHome::close_later(int leg, bool wipe) {
    gate_.spawn([](RaidHome* home, int which,
                   bool wiped) -> Task<> { co_await home->close_leg(which, wiped); },
                this, leg, wipe);
}

/// Once it is in no view. What the channels still have under way is waited for.
Task<> RaidHome::close_leg(int leg, bool wipe) {
    for (const auto& each : reactors_) {
        PerReactor* here = each.get();
        for (bool closed = false; !closed;) {
            closed = co_await reactor::call_on(each->context.reactor, [here, leg] {
                here->open &= ~bit_of(leg);
                bool all = true;
                here->channels.for_each(
                    [&](RaidChannel& channel) { all = channel.try_close_leg(leg) && all; });
                return all;
            });
            if (!closed) {
                co_await reactor::sleep_for(kRetryAfter);
            }
        }
    }
    if (wipe) {
        co_await write_all(leg, 0, memory::BufferPool::zeros(kBitmapAt));
    }
    Leg& at = shared_->legs[static_cast<std::size_t>(leg)];
    // A report on its way to us names this leg, which must not be another one by then.
    while ((at.reported.load() && !stopping_) || !legs_.try_close(leg)) {
        co_await reactor::sleep_for(kRetryAfter);
    }
    const auto keep = [&](LegStatus& status) {
        if (status.leg == leg) {
            status.leg = kNoLeg;
            status.member.read_errors = at.read_errors.load();
            status.member.write_errors = at.write_errors.load();
            status.member.repaired_blocks = at.repaired_blocks.load();
        }
    };
    std::ranges::for_each(refused_, keep);
    std::ranges::for_each(notes_, keep);
    used_legs_ &= ~bit_of(leg);
    at.device = nullptr;
    show_status();
}

}  // namespace remora::services::raid
