// SPDX-License-Identifier: Apache-2.0
// Shard and Connection: reservations. A shard has what the control reactor decided (reservations.h)
// and finds the commands, and the controllers, that it concerns. A connection sends reservation
// commands there and answers when they are through.
#include <algorithm>

#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/reservations.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::IoOpcode;
using nvme::spec::StatusCode;

namespace {

/// Commands end without telling whoever waits for them: no I/O pays for that. So they are looked
/// at this often.
constexpr Nanos kDrainLook = std::chrono::milliseconds(1);

}  // namespace

// --- Shard ---

OpenNamespace* Shard::find_namespace(const NamespacePlace& place) const {
    const auto at = replicas_.find(place.nqn);
    OpenNamespace* found = at == replicas_.end() ? nullptr : at->second->find(place.nsid);
    return found != nullptr && found->incarnation == place.incarnation ? found : nullptr;
}

void Shard::update_reservation(const NamespacePlace& place, const ReservationUpdate& update) {
    OpenNamespace* target = find_namespace(place);
    if (target == nullptr) {
        return;  // being removed with its subsystem
    }
    target->access = update.access;
    target->update_guard();
    target->persist = update.persist;
    for (const auto& [id, connection] : connections_) {
        connection->mark_commands(*target, update.aborted);
    }
}

Task<bool> Shard::drain_marked(const NamespacePlace& place, Nanos deadline) {
    const auto marked = [this, &place] {
        const OpenNamespace* target = find_namespace(place);
        return target != nullptr && std::ranges::any_of(connections_, [target](const auto& entry) {
                   return entry.second->has_marked(*target);
               });
    };
    while (marked()) {
        if (reactor().now() >= deadline) {
            co_return false;
        }
        co_await reactor::sleep_for(kDrainLook);
    }
    co_return true;
}

void Shard::tell_hosts(const NamespacePlace& place, const std::vector<nvme::HostNotice>& notices) {
    for (const auto& [cntlid, association] : associations_) {
        const Replica* of = association->replica();
        if (of == nullptr || of->nqn() != place.nqn || association->ended()) {
            continue;
        }
        nvme::Controller& controller = association->controller();
        for (const nvme::HostNotice& notice : notices) {
            if (notice.host == controller.options().host_id) {
                controller.reservation_changed(place.nsid, notice.type);
            }
        }
    }
}

void Shard::add_controllers(const std::string& nqn, std::vector<nvme::HostController>& to) const {
    for (const auto& [cntlid, association] : associations_) {
        const Replica* of = association->replica();
        if (of != nullptr && of->nqn() == nqn && !association->ended()) {
            to.push_back({association->controller().options().host_id, cntlid});
        }
    }
}

// --- Connection ---

/// Marks what has to end before whoever changed the reservation is answered: commands that would
/// not be admitted any more, and all of the hosts in `aborted`.
void Connection::mark_commands(const OpenNamespace& target,
                               const std::vector<nvme::HostId>& aborted) {
    if (qid_ == 0 || slots_ == nullptr) {
        return;
    }
    const bool every = std::ranges::find(aborted, host_id_) != aborted.end();
    for (Slot& slot : std::span(slots_.get(), depth_)) {
        if (slot.state == SlotState::Executing && slot.target == &target) {
            slot.marked = every || !admitted(target, slot.plan);
        }
    }
}

bool Connection::has_marked(const OpenNamespace& target) const {
    return slots_ != nullptr &&
           std::ranges::any_of(std::span(slots_.get(), depth_), [&target](const Slot& slot) {
               return slot.marked && slot.state == SlotState::Executing && slot.target == &target;
           });
}

void Connection::begin_reservation(Slot& slot, const OpenNamespace& target) {
    ReservationJob job{.slot = &slot,
                       .place = {replica_->nqn(), target.nsid, target.incarnation},
                       .host = host_id_};
    if (static_cast<IoOpcode>(slot.command.opcode) != IoOpcode::ReservationReport) {
        const auto command = nvme::decode_reservation(slot.command, slot.buffer);
        if (!command) {
            answer(slot, command.error());
            return;
        }
        job.command = *command;
        job.kind = ReservationJob::Kind::Change;
    }
    start_reservation(std::move(job));
}

void Connection::persist_reservations(std::uint32_t token, std::uint32_t nsid, bool persist) {
    Slot& slot = slots_[token];
    CHECK(token < depth_ && slot.state == SlotState::Held);
    ReservationJob job{.kind = ReservationJob::Kind::Persist,
                       .slot = &slot,
                       .place = {replica_->nqn(), nsid, 0},
                       .host = host_id_};
    job.command.persist = persist;
    start_reservation(std::move(job));
}

/// From here on the command is like one in the block layer: its connection stays until it is back.
void Connection::start_reservation(ReservationJob job) {
    Slot& slot = *job.slot;
    slot.state = SlotState::Executing;
    ++in_flight_;
    const bool started = shard_.tasks().spawn(
        [](Connection* self, ReservationJob work) -> Task<> {
            co_await self->run_reservation(std::move(work));
        },
        this, job);
    if (!started) {
        --in_flight_;
        answer(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
    }
}

Task<> Connection::run_reservation(ReservationJob job) {
    Reservations& decider = shard_.reservations();
    std::uint16_t status = 0;
    std::vector<std::byte> report;
    switch (job.kind) {
        case ReservationJob::Kind::Report: {
            auto told = co_await reactor::call_on(
                decider.control(), [&decider, &job] { return decider.report(job.place); });
            status = told ? std::uint16_t{0} : told.error();
            report = told ? std::move(*told) : std::vector<std::byte>();
            break;
        }
        case ReservationJob::Kind::Change:
            status = co_await reactor::call_on(decider.control(), [&decider, &job] {
                return decider.change(job.place, job.host, job.command);
            });
            break;
        case ReservationJob::Kind::Persist:
            status = co_await reactor::call_on(decider.control(), [&decider, &job] {
                return decider.persist(job.place, job.host, job.command.persist == true);
            });
            break;
    }
    CHECK(in_flight_ > 0);
    --in_flight_;
    if (!accepts_input()) {
        release_slot(*job.slot);
        run_later();
        co_return;
    }
    if (job.kind == ReservationJob::Kind::Report && status == 0) {
        const std::span<std::byte> to = job.slot->buffer;
        const std::size_t told = std::min(to.size(), report.size());
        std::copy_n(report.begin(), told, to.begin());
        std::ranges::fill(to.subspan(told), std::byte{0});
    }
    answer(*job.slot, status);
}

}  // namespace remora::frontends::nvme_tcp
