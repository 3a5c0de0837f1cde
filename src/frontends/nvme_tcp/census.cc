// SPDX-License-Identifier: Apache-2.0
// Shard and Connection: admin commands whose answer lies on all reactors. One reactor after the
// other is asked; nobody stands still meanwhile, so the answer is no picture of one moment, but
// what was there all the time is in it.
#include <algorithm>

#include "frontends/nvme_tcp/association.h"
#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::StatusCode;

void Shard::add_census(const std::string& nqn, std::uint16_t cntlid, nvme::Census& to) {
    const auto at = replicas_.find(nqn);
    if (at == replicas_.end()) {
        return;  // deleted
    }
    const Replica& replica = *at->second;
    to.io.add(replica.io);
    to.up = std::max(to.up, reactor().now() - replica.since);
    for (const auto& [id, association] : associations_) {
        if (association->replica() == &replica && !association->ended()) {
            to.controllers.push_back(id);
        }
    }
    for (const auto& [id, connection] : connections_) {
        if (connection->replica() == &replica && connection->stats().cntlid == cntlid) {
            to.errors.append(connection->take_errors());
        }
    }
}

Task<nvme::Census> Shard::take_census(std::string nqn, std::uint16_t cntlid) {
    nvme::Census census;
    for (Shard* at : peers_) {
        co_await reactor::call_on(at->reactor(), [&, at] { at->add_census(nqn, cntlid, census); });
    }
    co_return census;
}

/// From here on the command is like one in the block layer: its connection stays until it is back.
void Connection::gather(std::uint32_t token) {
    CHECK(token < depth_ && slots_[token].state == SlotState::Held);
    Slot& slot = slots_[token];
    slot.state = SlotState::Executing;
    ++in_flight_;
    const bool started = shard_.tasks().spawn(
        [](Connection* self, Slot* of) -> Task<> { co_await self->run_census(of); }, this, &slot);
    if (!started) {
        --in_flight_;
        answer(slot, nvme::spec::status_field(StatusCode::CommandInterrupted));
    }
}

Task<> Connection::run_census(Slot* slot) {
    const nvme::Census census = co_await shard_.take_census(replica_->nqn(), cntlid_);
    CHECK(in_flight_ > 0);
    --in_flight_;
    if (!accepts_input()) {
        release_slot(*slot);
        run_later();
        co_return;
    }
    answer(*slot, association_->controller().finish(slot->command, slot->buffer, census));
}

nvme::ErrorBatch Connection::take_errors() {
    return errors_ == nullptr ? nvme::ErrorBatch{} : errors_->take();
}

void Connection::note_error(const Slot& slot, std::uint16_t status) {
    if (errors_ != nullptr && nvme::is_logged(status)) {
        errors_->add(nvme::command_error(slot.command, status, qid_, shard_.reactor().now()));
    }
}

}  // namespace remora::frontends::nvme_tcp
