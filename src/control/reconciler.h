// SPDX-License-Identifier: Apache-2.0
// Reconciler: keeps what the host has plugged in step with what is stored, in the background:
// after a start, after the way to the host was lost (a new QEMU has none of the disks), and until
// every half-done removal is finished. Control reactor only.
#pragma once

#include <cstdint>

#include "control/attachments.h"
#include "control/context.h"
#include "control/disks.h"
#include "control/plan.h"
#include "control/raid_volumes.h"
#include "control/subsystems.h"
#include "control/virtio_blks.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::control {

class Reconciler {
  public:
    Reconciler(Context& context,
               Disks& disks,
               Subsystems& subsystems,
               VirtioBlks& virtio_blks,
               Attachments& attachments,
               RaidVolumes& raid_volumes)
        : context_(context),
          disks_(disks),
          subsystems_(subsystems),
          virtio_blks_(virtio_blks),
          attachments_(attachments),
          raid_volumes_(raid_volumes) {}

    /// One look and what follows from it; true when the host is as it should be.
    Task<bool> once();
    /// Looks again whenever there is reason to, until stop().
    void start();
    /// False when a look did not end by the deadline.
    Task<bool> stop(core::Nanos deadline);

  private:
    static Task<> run(Reconciler* self);
    [[nodiscard]] std::vector<DesiredDevice> desired() const;
    Task<> look_for_lost_functions();
    Task<core::Result<bool>> is_stray(core::HostFunction function);
    Task<core::Result<void>> plug(core::HostFunction function);
    Task<bool> carry_out(PlugAction action);

    Context& context_;
    Disks& disks_;
    Subsystems& subsystems_;
    VirtioBlks& virtio_blks_;
    Attachments& attachments_;
    RaidVolumes& raid_volumes_;
    reactor::Gate gate_;
    reactor::Signal stop_signal_;
    bool settled_ = false;
    std::uint64_t seen_generation_ = 0;
    std::string said_;  ///< The last trouble that was logged, not to be said each second.
};

}  // namespace remora::control
