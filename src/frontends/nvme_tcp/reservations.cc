// SPDX-License-Identifier: Apache-2.0
#include "frontends/nvme_tcp/reservations.h"

#include "core/log.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::StatusCode;
using Action = nvme::ReservationCommand::Action;

namespace {

/// Commands of one namespace that wait for their turn. Hosts send few and one after the other.
constexpr std::size_t kMostWaiting = 128;

std::uint16_t refused(StatusCode code) {
    return nvme::spec::status_field(code, true);
}

}  // namespace

Reservations::Reservations(reactor::Reactor& control,
                           std::span<const std::unique_ptr<Shard>> shards,
                           Nanos drain)
    : control_(control), shards_(shards), drain_(drain) {}

Reservations::~Reservations() {
    CHECK(entries_.empty());
}

void Reservations::add(const NamespacePlace& place, nvme::ReservationRecord record) {
    auto entry = std::make_unique<Entry>();
    entry->place = place;
    entry->state = nvme::Reservation(std::move(record));
    const bool added = entries_.emplace(Key(place.nqn, place.nsid), std::move(entry)).second;
    CHECK(added);
}

Task<> Reservations::remove(std::string nqn, std::uint32_t nsid) {
    const auto at = entries_.find({nqn, nsid});
    CHECK(at != entries_.end());
    // Each is bounded: by the store, by the shards, and by drain_. Nobody else removes it: that is
    // one call of the target at a time.
    co_await at->second->gate.close();
    entries_.erase({nqn, nsid});
}

Task<> Reservations::remove_all(std::string nqn) {
    while (true) {
        const auto at = entries_.lower_bound({nqn, 0});
        if (at == entries_.end() || at->first.first != nqn) {
            co_return;
        }
        const std::uint32_t nsid = at->first.second;
        co_await remove(nqn, nsid);
    }
}

/// The namespace with one more command under way; null when it is there no more.
Reservations::Entry* Reservations::enter(const NamespacePlace& place) {
    const auto at = entries_.find({place.nqn, place.nsid});
    if (at == entries_.end() ||
        (place.incarnation != 0 && at->second->place.incarnation != place.incarnation)) {
        return nullptr;
    }
    return at->second->gate.enter() ? at->second.get() : nullptr;
}

Task<std::uint16_t> Reservations::change(NamespacePlace place,
                                         nvme::HostId host,
                                         nvme::ReservationCommand command) {
    Entry* entry = enter(place);
    if (entry == nullptr) {
        co_return refused(StatusCode::InvalidNamespace);
    }
    if (entry->gate.inside() > kMostWaiting) {
        entry->gate.leave();
        co_return nvme::spec::status_field(StatusCode::CommandInterrupted);
    }
    co_await entry->turn.enter();
    const std::uint16_t status = co_await change_now(*entry, host, command);
    entry->turn.leave();
    entry->gate.leave();
    co_return status;
}

Task<std::uint16_t> Reservations::change_now(Entry& entry,
                                             const nvme::HostId& host,
                                             const nvme::ReservationCommand& command) {
    if (command.persist == true && !can_persist()) {
        co_return refused(StatusCode::InvalidField);
    }
    nvme::Reservation next = entry.state;
    nvme::ReservationOutcome outcome = next.apply(command, host);
    if (outcome.status != 0 || next.record() == entry.state.record()) {
        co_return outcome.status;
    }
    const Result<void> kept = co_await keep(entry, next.record());
    if (!kept) {
        log::warn("reservation not changed: it could not be stored",
                  log::kv("subsystem", entry.place.nqn), log::kv("nsid", entry.place.nsid),
                  log::kv("reason", kept.error().message));
        co_return nvme::spec::status_field(StatusCode::InternalError);
    }
    entry.state = next;
    const ReservationUpdate update{nvme::ReservationAccess(next.record()), next.record().persist,
                                   std::move(outcome.aborted)};
    co_await update_shards(entry.place, update);
    co_await tell_hosts(entry.place, outcome.notices);
    const bool drained = co_await drain(entry.place);
    if (!drained) {
        log::warn("commands that a reservation shuts out are still under way",
                  log::kv("subsystem", entry.place.nqn), log::kv("nsid", entry.place.nsid));
        // Only this one promises that they have ended. The change stands.
        if (command.action == Action::PreemptAndAbort) {
            co_return nvme::spec::status_field(StatusCode::InternalError);
        }
    }
    co_return std::uint16_t{0};
}

Task<Result<void>> Reservations::keep(const Entry& entry, const nvme::ReservationRecord& next) {
    if (!next.persist && !entry.state.record().persist) {
        co_return Result<void>();
    }
    if (keeper_ == nullptr) {
        co_return core::fail(core::ErrorKind::FailedPrecondition, "nobody keeps reservations");
    }
    nvme::ReservationRecord kept = next.persist ? next : nvme::ReservationRecord{};
    co_return co_await keeper_->keep(entry.place.nqn, entry.place.nsid, std::move(kept));
}

Task<> Reservations::update_shards(const NamespacePlace& place, const ReservationUpdate& update) {
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(),
                                  [&, at] { at->update_reservation(place, update); });
    }
}

Task<> Reservations::tell_hosts(const NamespacePlace& place,
                                const std::vector<nvme::HostNotice>& notices) {
    if (notices.empty()) {
        co_return;
    }
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(), [&, at] { at->tell_hosts(place, notices); });
    }
}

Task<bool> Reservations::drain(const NamespacePlace& place) {
    const Nanos deadline = control_.now() + drain_;
    bool all = true;
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        const bool drained = co_await reactor::call_on(
            at->reactor(), [&, at] { return at->drain_marked(place, deadline); });
        all = all && drained;
    }
    co_return all;
}

Task<std::uint16_t> Reservations::persist(NamespacePlace place, nvme::HostId host, bool persist) {
    const nvme::ReservationCommand command{.action = Action::SetPersistence, .persist = persist};
    if (place.nsid != nvme::spec::kBroadcastNsid) {
        co_return co_await change(std::move(place), host, command);
    }
    std::vector<NamespacePlace> places;
    for (auto at = entries_.lower_bound({place.nqn, 0});
         at != entries_.end() && at->first.first == place.nqn; ++at) {
        places.push_back(at->second->place);
    }
    for (const NamespacePlace& one : places) {
        const std::uint16_t status = co_await change(one, host, command);
        const bool gone = nvme::spec::status_code(status) == StatusCode::InvalidNamespace;
        if (status != 0 && !gone) {
            co_return status;
        }
    }
    co_return std::uint16_t{0};
}

Task<std::expected<std::vector<std::byte>, std::uint16_t>> Reservations::report(
    NamespacePlace place) {
    Entry* entry = enter(place);
    if (entry == nullptr) {
        co_return std::unexpected(refused(StatusCode::InvalidNamespace));
    }
    std::vector<nvme::HostController> controllers;
    for (const auto& shard : shards_) {
        Shard* at = shard.get();
        co_await reactor::call_on(at->reactor(),
                                  [&, at] { at->add_controllers(place.nqn, controllers); });
    }
    auto out = nvme::reservation_report(entry->state, controllers);
    entry->gate.leave();
    co_return out;
}

}  // namespace remora::frontends::nvme_tcp
