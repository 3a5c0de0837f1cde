// SPDX-License-Identifier: Apache-2.0
// VirtioBlks: the virtio-blk front end of OPI's API: a volume as a PCI function of the local host.
// Control reactor only.
//
// A device reaches into the host, which outlives us, so it is made in three durable steps: stored
// as pending, raised, stored as ready. After a crash in between it is taken away again.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "control/disks.h"
#include "control/patience.h"

namespace remora::control {

using google::protobuf::Empty;
using reactor::Task;

class VirtioBlks {
  public:
    VirtioBlks(Context& context, Disks& disks) : context_(context), disks_(disks) {}

    Task<core::Result<opi::VirtioBlk>> create(const opi::CreateVirtioBlkRequest& request);
    Task<core::Result<Empty>> remove(const opi::DeleteVirtioBlkRequest& request);
    Task<core::Result<opi::VirtioBlk>> update(const opi::UpdateVirtioBlkRequest& request);
    Task<core::Result<opi::ListVirtioBlksResponse>> list(const opi::ListVirtioBlksRequest& request);
    Task<core::Result<opi::VirtioBlk>> get(const opi::GetVirtioBlkRequest& request);
    Task<core::Result<opi::StatsVirtioBlkResponse>> stats(
        const opi::StatsVirtioBlkRequest& request);

    /// Serves every stored device's socket again, at the same path. The host is seen to by the
    /// reconciler.
    Task<> rebuild(Patience& patience);
    /// Serves those whose socket could not be made at the start; true when none is left.
    Task<bool> serve_unserved();
    /// Finishes what a crash or a host that did not answer left half done; true when nothing is.
    Task<bool> finish_removals();

  private:
    Task<core::Result<opi::VirtioBlk>> raise(Object<opi::VirtioBlk> disk);
    Task<core::Result<void>> lower(std::string name, bool plugged);

    Context& context_;
    Disks& disks_;
};

}  // namespace remora::control
