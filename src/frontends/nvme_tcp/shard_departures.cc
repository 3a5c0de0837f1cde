// SPDX-License-Identifier: Apache-2.0
// Shard: what a host has left behind, and the wait of its next association for the end of that.
//
// A host that was killed cannot wait for its requests. Its successor sends again what was not
// answered, and then newer writes. A first copy that a slow volume still executes would overtake
// them, so an admin Connect is held until everything that the same host has left is gone: ended
// associations with their queues, and connections whose end has come but which still have requests,
// on any reactor. An association that lives is another path of the same host and delays nobody.
//
// "Left" is what this machine knows. An end that has reached the kernel before the Connect did
// counts, also behind bytes that nobody has read yet. One that has not (its packet was lost, the
// host's machine died without a word, the network is cut) cannot be told from another path that
// lives; the keep alive ends such an association, and until then nothing holds a Connect.
#include <algorithm>

#include "core/probe.h"
#include "frontends/nvme_tcp/shard.h"
#include "reactor/call.h"

namespace remora::frontends::nvme_tcp {

bool Association::left_by(const HostKey& host) const {
    const nvme::ControllerOptions& owner = controller_.options();
    return ended() && replica_ != nullptr && owner.hostnqn == host.hostnqn &&
           owner.host_id == host.host_id && replica_->nqn() == host.subnqn;
}

bool Connection::left_by(const HostKey& host) const {
    // A hangup counts at once: commands that came before it may still be in the socket.
    const bool left = hangup_ || !accepts_input();
    const bool was_queue = depth_ > 0;  // before, it can have sent no command
    return left && was_queue && replica_ != nullptr && stats_.hostnqn == host.hostnqn &&
           std::ranges::equal(connect_data_.host_id, host.host_id) &&
           replica_->nqn() == host.subnqn;
}

bool Shard::has_left_behind(const HostKey& host) const {
    return std::ranges::any_of(associations_,
                               [&](const auto& entry) { return entry.second->left_by(host); }) ||
           std::ranges::any_of(connections_,
                               [&](const auto& entry) { return entry.second->left_by(host); });
}

Task<bool> Shard::wait_departed(const HostKey& host, Nanos deadline) {
    // The ends of connections that the kernel has now are seen by the poll of the next turn.
    co_await reactor::sleep_for(Nanos(1));
    while (has_left_behind(host)) {
        REMORA_COVER("target: a Connect waits for what its host has left behind");
        if (reactor().now() >= deadline) {
            co_return false;
        }
        reactor::Signal changed;
        departures_.push_back(&changed);
        co_await changed.wait_until(deadline);
        std::erase(departures_, &changed);
    }
    co_return true;
}

Task<bool> Shard::wait_departed_everywhere(const HostKey& host) {
    const Nanos deadline = reactor().now() + limits_.hold;
    for (Shard* at : peers_) {
        const bool gone = co_await reactor::call_on(
            at->reactor(), [at, &host, deadline] { return at->wait_departed(host, deadline); });
        if (!gone) {
            co_return false;
        }
    }
    co_return true;
}

void Shard::tell_departure() {
    for (reactor::Signal* waiter : departures_) {
        waiter->notify();
    }
}

}  // namespace remora::frontends::nvme_tcp
