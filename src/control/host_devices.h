// SPDX-License-Identifier: Apache-2.0
// HostDevices: the life of the devices of one kind that are functions of the local host.
//
// A device reaches into the host, which outlives us, so it is made in three durable steps: stored
// as pending, raised, stored as ready. After a crash in between it is taken away again. Those of an
// attachment are attachments.h's to make and to take away. Control reactor only.
#pragma once

#include <string>
#include <vector>

#include "control/context.h"
#include "control/disks.h"
#include "control/patience.h"

namespace remora::control {

/// M: opi::VirtioBlk, or opi::NvmeController: then those over PCIe.
template <typename M>
class HostDevices {
  public:
    HostDevices(Context& context, Disks& disks) : context_(context), disks_(disks) {}

    /// What a call about the device holds.
    [[nodiscard]] static std::vector<std::string> locks_of(const M& device);

    // The caller holds its locks.
    /// Of one that is stored as pending: it stands, or is undone.
    reactor::Task<core::Result<M>> raise(Object<M> device);
    /// Takes it from the host and forgets it; a host that does not let go keeps it as it was.
    reactor::Task<core::Result<void>> take_away(Object<M> device);

    /// Serves every stored device's socket again, at the same path. The host is seen to by the
    /// reconciler.
    reactor::Task<> rebuild(Patience& patience);
    /// Serves those whose socket could not be made at the start; true when none is left.
    reactor::Task<bool> serve_unserved();
    /// Finishes what a crash or a host that did not answer left half done; true when nothing is.
    reactor::Task<bool> finish_removals();

  private:
    /// `plugged` false: the host has not got it, as far as is known, and need not be asked.
    reactor::Task<core::Result<void>> lower(M device, bool plugged);

    Context& context_;
    Disks& disks_;
};

extern template class HostDevices<opi::VirtioBlk>;
extern template class HostDevices<opi::NvmeController>;

}  // namespace remora::control
