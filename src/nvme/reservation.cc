// SPDX-License-Identifier: Apache-2.0
// nvme::Reservation: the transitions; reservation_wire.cc reads commands and writes reports.
#include "nvme/reservation.h"

#include <algorithm>

#include "core/check.h"

namespace remora::nvme {

namespace {

using spec::ReservationNotice;
using spec::StatusCode;
using Action = ReservationCommand::Action;

std::uint16_t refused(StatusCode code) {
    return spec::status_field(code, true);
}

bool is_all_registrants(ReservationType type) {
    return type == ReservationType::WriteExclusiveAllRegistrants ||
           type == ReservationType::ExclusiveAccessAllRegistrants;
}

bool is_registrants_only(ReservationType type) {
    return type == ReservationType::WriteExclusiveRegistrantsOnly ||
           type == ReservationType::ExclusiveAccessRegistrantsOnly;
}

bool is_write_exclusive(ReservationType type) {
    return type == ReservationType::WriteExclusive ||
           type == ReservationType::WriteExclusiveRegistrantsOnly ||
           type == ReservationType::WriteExclusiveAllRegistrants;
}

bool has_registrant(const ReservationRecord& record, const HostId& host) {
    return std::ranges::find(record.registrants, host, &Registrant::host) !=
           record.registrants.end();
}

}  // namespace

bool is_consistent(const ReservationRecord& record) {
    if (record.registrants.size() > kMaxRegistrants ||
        record.type > ReservationType::ExclusiveAccessAllRegistrants) {
        return false;
    }
    for (const Registrant& one : record.registrants) {
        if (one.host == HostId{} || one.key == 0 ||
            std::ranges::count(record.registrants, one.host, &Registrant::host) != 1) {
            return false;
        }
    }
    if (record.type == ReservationType::None) {
        return record.holder == HostId{};
    }
    if (is_all_registrants(record.type)) {
        return record.holder == HostId{} && !record.registrants.empty();
    }
    return has_registrant(record, record.holder);
}

// --- Access ---

ReservationAccess::ReservationAccess(const ReservationRecord& record)
    : reserved_(record.type != ReservationType::None),
      others_read_(is_write_exclusive(record.type)) {
    if (is_all_registrants(record.type) || is_registrants_only(record.type)) {
        for (const Registrant& one : record.registrants) {
            trusted_.push_back(one.host);
        }
        std::ranges::sort(trusted_);
    } else if (reserved_) {
        trusted_.push_back(record.holder);
    }
}

bool ReservationAccess::admits(CommandGroup group, const HostId& host) const {
    return (others_read_ && group == CommandGroup::Read) ||
           std::ranges::binary_search(trusted_, host);
}

// --- State ---

Reservation::Reservation(ReservationRecord record) : record_(std::move(record)) {
    CHECK(is_consistent(record_));
}

const Registrant* Reservation::find(const HostId& host) const {
    const auto at = std::ranges::find(record_.registrants, host, &Registrant::host);
    return at == record_.registrants.end() ? nullptr : &*at;
}

bool Reservation::all_registrants() const {
    return is_all_registrants(record_.type);
}

bool Reservation::holds(const HostId& host) const {
    return all_registrants() ? find(host) != nullptr
                             : record_.type != ReservationType::None && record_.holder == host;
}

void Reservation::remove(const HostId& host) {
    std::erase_if(record_.registrants, [&host](const Registrant& one) { return one.host == host; });
}

void Reservation::release() {
    record_.type = ReservationType::None;
    record_.holder = {};
}

void Reservation::tell_registrants(ReservationNotice type,
                                   const HostId& except,
                                   ReservationOutcome& outcome) const {
    for (const Registrant& one : record_.registrants) {
        if (one.host != except) {
            outcome.notices.push_back({one.host, type});
        }
    }
}

/// Unregisters those that `chosen` names and that are not `host`; whether there was one.
template <typename Chosen>
bool Reservation::unregister_others(Chosen chosen,
                                    const HostId& host,
                                    ReservationOutcome& outcome) {
    const auto gone = [&](const Registrant& one) { return one.host != host && chosen(one); };
    for (const Registrant& one : record_.registrants) {
        if (gone(one)) {
            outcome.notices.push_back({one.host, ReservationNotice::RegistrationPreempted});
            outcome.aborted.push_back(one.host);
        }
    }
    return std::erase_if(record_.registrants, gone) > 0;
}

ReservationOutcome Reservation::apply(const ReservationCommand& command, const HostId& host) {
    ReservationOutcome outcome;
    const Registrant* own = find(host);
    bool counts = false;  // in the generation
    switch (command.action) {
        case Action::SetPersistence:
            break;
        case Action::Register:
        case Action::Unregister:
        case Action::Replace:
            outcome.status = change_registration(command, host, outcome);
            counts = true;
            break;
        case Action::Acquire:
        case Action::Preempt:
        case Action::PreemptAndAbort:
        case Action::Release:
        case Action::Clear:
            if (own == nullptr || own->key != command.key) {
                outcome.status = refused(StatusCode::ReservationConflict);
            } else if (command.action == Action::Acquire) {
                outcome.status = acquire(command.type, host);
            } else if (command.action == Action::Release) {
                outcome.status = release_by(command.type, host, outcome);
            } else if (command.action == Action::Clear) {
                clear(host, outcome);
                counts = true;
            } else {
                outcome.status = preempt(command, host, outcome);
                counts = true;
            }
            break;
    }
    if (command.action != Action::PreemptAndAbort) {
        outcome.aborted.clear();
    }
    if (outcome.status == 0) {
        record_.generation += counts ? 1U : 0U;  // and round to 0
        record_.persist = command.persist.value_or(record_.persist);
    }
    DCHECK(is_consistent(record_));
    return outcome;
}

// --- Register ---

std::uint16_t Reservation::add(const HostId& host, std::uint64_t key) {
    // A host without an identifier is nobody that another controller could be of.
    if (host == HostId{}) {
        return refused(StatusCode::InvalidField);
    }
    if (record_.registrants.size() == kMaxRegistrants) {
        return refused(StatusCode::InternalError);
    }
    record_.registrants.push_back({host, key});
    return 0;
}

std::uint16_t Reservation::change_registration(const ReservationCommand& command,
                                               const HostId& host,
                                               ReservationOutcome& outcome) {
    const auto own = std::ranges::find(record_.registrants, host, &Registrant::host);
    const bool known = own != record_.registrants.end();
    if (command.action == Action::Register) {
        if (!known) {
            return add(host, command.other_key);
        }
        // The same once more is no error.
        return own->key == command.other_key ? 0 : refused(StatusCode::ReservationConflict);
    }
    const bool replace = command.action == Action::Replace;
    if (!known && replace && command.ignore_key) {
        return add(host, command.other_key);  // whether it was registered does not matter either
    }
    if (!known || (!command.ignore_key && own->key != command.key)) {
        return refused(StatusCode::ReservationConflict);
    }
    if (replace) {
        own->key = command.other_key;
    } else {
        unregister(host, outcome);
    }
    return 0;
}

void Reservation::unregister(const HostId& host, ReservationOutcome& outcome) {
    const bool held = holds(host);
    remove(host);
    if (!held || (all_registrants() && !record_.registrants.empty())) {
        return;
    }
    const bool others_notice = is_registrants_only(record_.type);
    release();
    if (others_notice) {
        tell_registrants(ReservationNotice::ReservationReleased, host, outcome);
    }
}

// --- Acquire ---

std::uint16_t Reservation::acquire(ReservationType type, const HostId& host) {
    if (record_.type != ReservationType::None) {
        return holds(host) && record_.type == type ? 0 : refused(StatusCode::ReservationConflict);
    }
    record_.type = type;
    record_.holder = is_all_registrants(type) ? HostId{} : host;
    return 0;
}

std::uint16_t Reservation::preempt(const ReservationCommand& command,
                                   const HostId& host,
                                   ReservationOutcome& outcome) {
    const std::uint64_t key = command.other_key;
    const auto has_key = [key](const Registrant& one) { return one.key == key; };
    const bool all = all_registrants();
    if (key == 0 && !all) {
        return refused(StatusCode::InvalidField);
    }
    const bool held = !all && record_.type != ReservationType::None;
    if (key == 0) {
        unregister_others([](const Registrant&) { return true; }, host, outcome);
    } else if (held && find(record_.holder)->key == key) {
        // The holder may be the host itself: it stays registered.
        unregister_others(has_key, host, outcome);
    } else {
        // Registrations only, the host's own among them; the reservation stays, if somebody is
        // left to have it.
        const bool own = find(host)->key == key;
        const bool others = unregister_others(has_key, host, outcome);
        if (!own && !others) {
            return refused(StatusCode::ReservationConflict);
        }
        if (own) {
            remove(host);
        }
        if (all && record_.registrants.empty()) {
            release();
        }
        return 0;
    }
    const ReservationType before = record_.type;
    release();
    CHECK(acquire(command.type, host) == 0);
    if (before != command.type) {
        tell_registrants(ReservationNotice::ReservationReleased, host, outcome);
    }
    return 0;
}

// --- Release ---

std::uint16_t Reservation::release_by(ReservationType type,
                                      const HostId& host,
                                      ReservationOutcome& outcome) {
    if (!holds(host)) {
        return 0;  // nothing of this host's to release
    }
    if (record_.type != type) {
        return refused(StatusCode::InvalidField);
    }
    const bool others_notice = all_registrants() || is_registrants_only(type);
    release();
    if (others_notice) {
        tell_registrants(ReservationNotice::ReservationReleased, host, outcome);
    }
    return 0;
}

void Reservation::clear(const HostId& host, ReservationOutcome& outcome) {
    tell_registrants(ReservationNotice::ReservationPreempted, host, outcome);
    record_.registrants.clear();
    release();
}

}  // namespace remora::nvme
