// SPDX-License-Identifier: Apache-2.0
// VirtioBlks: the virtio-blk front end of OPI's API: a volume as a PCI function of the local host.
// Control reactor only.
#pragma once

#include <google/protobuf/empty.pb.h>

#include "control/context.h"
#include "control/host_devices.h"

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

    HostDevices<opi::VirtioBlk>& devices() { return devices_; }

  private:
    Context& context_;
    Disks& disks_;
    HostDevices<opi::VirtioBlk> devices_{context_, disks_};
};

}  // namespace remora::control
