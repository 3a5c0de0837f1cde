// SPDX-License-Identifier: Apache-2.0
// Shard: the blocks that a fused pair (fused.cc), or who changes marks (uncorrectable.cc), has for
// itself. They put up their fence on one reactor after the other, always in the same order, so that
// two never wait for each other:
//
//   fence:    turn of the namespace ─► other writes to the blocks wait here ─► those under way end
//   unfence:  ◄─ all reactors ─ compare ─ write ─┘      what waited goes on, then the next fence
//
// A fence counts as a request of its namespace, which therefore stays until it has fallen.
#include <algorithm>

#include "frontends/nvme_tcp/connection.h"
#include "frontends/nvme_tcp/replica.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

using nvme::spec::StatusCode;

namespace {

/// Of one namespace, with those that wait for their turn.
constexpr std::uint32_t kMostFences = 128;
/// As for reservations: writes end without telling whoever waits for them, so they are looked at.
constexpr Nanos kDrainLook = std::chrono::milliseconds(1);

std::unexpected<std::uint16_t> refuse(StatusCode code, bool final) {
    return std::unexpected(nvme::spec::status_field(code, final));
}

}  // namespace

Task<std::expected<OpenNamespace*, std::uint16_t>> Shard::fence(NamespacePlace place,
                                                                BlockRange range,
                                                                Nanos deadline) {
    OpenNamespace* target = find_namespace(place);
    if (target == nullptr) {
        co_return refuse(StatusCode::InvalidNamespace, true);
    }
    if (target->fences == kMostFences) {
        co_return refuse(StatusCode::CommandInterrupted, false);
    }
    ++target->fences;
    target->enter();
    co_await target->fence_turn.enter();
    target->fence = range;
    target->update_guard();
    while (has_writes_inside(*target)) {
        if (reactor().now() >= deadline) {
            unfence(*target);
            co_return refuse(StatusCode::CommandInterrupted, false);
        }
        co_await reactor::sleep_for(kDrainLook);
    }
    if (find_namespace(place) != target) {
        unfence(*target);  // it was removed meanwhile
        co_return refuse(StatusCode::InvalidNamespace, true);
    }
    co_return target;
}

void Shard::unfence(OpenNamespace& target) {
    target.fence = {};
    target.update_guard();
    for (const auto& [id, connection] : connections_) {
        connection->resume_fenced();
    }
    CHECK(target.fences > 0);
    --target.fences;
    target.fence_turn.leave();
    target.leave();
}

bool Shard::has_writes_inside(const OpenNamespace& target) const {
    return std::ranges::any_of(connections_, [&target](const auto& entry) {
        return entry.second->has_write_inside(target);
    });
}

Task<std::uint16_t> Shard::fence_everywhere(const NamespacePlace& place,
                                            BlockRange range,
                                            std::vector<OpenNamespace*>& fenced) {
    const Nanos deadline = reactor().now() + limits_.drain;
    for (Shard* at : peers_) {
        const auto got = co_await reactor::call_on(
            at->reactor(), [&, at] { return at->fence(place, range, deadline); });
        if (!got) {
            co_return got.error();
        }
        fenced.push_back(*got);
    }
    co_return std::uint16_t{0};
}

Task<> Shard::unfence_everywhere(const std::vector<OpenNamespace*>& fenced) {
    for (std::size_t i = 0; i < fenced.size(); ++i) {
        Shard* at = peers_[i];
        OpenNamespace* target = fenced[i];
        co_await reactor::call_on(at->reactor(), [at, target] { at->unfence(*target); });
    }
}

}  // namespace remora::frontends::nvme_tcp
