// SPDX-License-Identifier: Apache-2.0
#include "control/reservations.h"

#include <algorithm>
#include <optional>

#include "control/references.h"

namespace remora::control {

using core::ErrorKind;
using core::fail;
using core::Result;

namespace {

std::string to_bytes(const nvme::HostId& host) {
    return {host.begin(), host.end()};
}

std::optional<nvme::HostId> to_host(const std::string& bytes) {
    nvme::HostId host{};
    if (bytes.size() != host.size()) {
        return std::nullopt;
    }
    std::ranges::copy(bytes, host.begin());
    return host;
}

void write_reservation(const nvme::ReservationRecord& from, state::Record& known) {
    known.clear_reservation();
    if (!from.persist) {
        return;
    }
    state::Reservation& to = *known.mutable_reservation();
    to.set_generation(from.generation);
    to.set_type(static_cast<std::uint32_t>(from.type));
    if (from.holder != nvme::HostId{}) {
        to.set_holder(to_bytes(from.holder));
    }
    for (const nvme::Registrant& one : from.registrants) {
        state::Registrant& added = *to.add_registrants();
        added.set_host(to_bytes(one.host));
        added.set_key(one.key);
    }
}

}  // namespace

Result<nvme::ReservationRecord> read_reservation(const state::Record& known) {
    nvme::ReservationRecord record;
    if (!known.has_reservation()) {
        return record;
    }
    const state::Reservation& from = known.reservation();
    const auto damaged = [] {
        return fail(ErrorKind::DataLoss, "the reservation in the store is damaged");
    };
    record.persist = true;
    record.generation = from.generation();
    record.type = static_cast<nvme::ReservationType>(std::min<std::uint32_t>(from.type(), 0xff));
    if (!from.holder().empty()) {
        const auto holder = to_host(from.holder());
        if (!holder) {
            return damaged();
        }
        record.holder = *holder;
    }
    for (const state::Registrant& one : from.registrants()) {
        const auto host = to_host(one.host());
        if (!host) {
            return damaged();
        }
        record.registrants.push_back({*host, one.key()});
    }
    if (!nvme::is_consistent(record)) {
        return damaged();
    }
    return record;
}

reactor::Task<Result<void>> Reservations::keep(std::string nqn,
                                               std::uint32_t nsid,
                                               nvme::ReservationRecord record) {
    const auto found = find_namespace(context_.model, nqn, nsid);
    if (!found) {
        co_return std::unexpected(found.error());
    }
    Object<opi::NvmeNamespace> changed = **found;
    write_reservation(record, changed.known);
    Transaction transaction(context_.model);
    transaction.put(std::move(changed));
    co_return transaction.commit();
}

}  // namespace remora::control
