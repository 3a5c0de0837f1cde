// SPDX-License-Identifier: Apache-2.0
#include "control/control_plane.h"

#include <utility>

#include "core/log.h"

namespace remora::control {

ControlPlane::ControlPlane(
    Store& store, node::Node& node, platform::HostPlatform& host, core::Prng prng, Options options)
    : context_(store, node, host, prng, std::move(options)) {}

Task<core::Result<void>> ControlPlane::start() {
    context_.node.set_reservation_keeper(reservations_);
    context_.node.set_uncorrectable_keeper(uncorrectable_);
    context_.node.set_rekey_keeper(encrypted_volumes);
    if (auto loaded = context_.model.load(); !loaded) {
        co_return loaded;
    }
    // Lower things first: what stands on a volume finds it there.
    co_await qos_volumes.rebuild();  // before anybody can use a volume
    co_await capacities.rebuild();
    co_await fault_injections.rebuild();
    co_await volumes.rebuild();
    co_await remotes.rebuild();
    layer_builder_.start();
    co_await layer_builder_.wait_first(context_.options.takeover_limit);
    co_await referrals.rebuild();  // no listener tells without them
    Patience patience(context_.options.takeover_limit);
    co_await subsystems.rebuild(patience);
    co_await virtio_blks.devices().rebuild(patience);
    // The host may not be there (yet); that keeps nobody from being served.
    reconciler_.start();
    conditions.start();
    status.set_ready(true);
    co_return core::Result<void>();
}

Task<bool> ControlPlane::stop(core::Nanos deadline) {
    status.set_ready(false);
    const bool calls_ended = co_await gate_.close_by(deadline);
    const bool conditions_ended = calls_ended && co_await conditions.stop(deadline);
    const bool builder_ended = conditions_ended && co_await layer_builder_.stop(deadline);
    const bool reconciler_ended = builder_ended && co_await reconciler_.stop(deadline);
    if (!reconciler_ended) {
        co_return false;
    }
    co_await context_.host.stop();
    co_return true;
}

}  // namespace remora::control
