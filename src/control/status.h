// SPDX-License-Identifier: Apache-2.0
// Status: what is, beside what was asked for: each host disk's whole chain, counters in 64 bits,
// and load on a volume. Reads only. Control reactor only.
#pragma once

#include "control/attachments.h"
#include "control/context.h"
#include "control/disks.h"

namespace remora::control {

class Status {
  public:
    Status(Context& context, Disks& disks, Attachments& attachments)
        : context_(context),
          disks_(disks),
          attachments_(attachments),
          started_(reactor::Reactor::current().now()) {}

    Task<core::Result<api::GetStatusResponse>> get_status(const api::GetStatusRequest& request);
    Task<core::Result<api::VolumeStats64>> volume_stats(const api::GetVolumeStatsRequest& request);
    Task<core::Result<api::RunBenchmarkResponse>> run_benchmark(
        const api::RunBenchmarkRequest& request);

    void set_ready(bool ready) { ready_ = ready; }

  private:
    Task<std::vector<api::HostDiskStatus>> host_disks();
    template <typename M>
    [[nodiscard]] api::HostDiskStatus function_status(const Object<M>& device) const;
    Task<api::HostDiskStatus> disk_status(Object<opi::VirtioBlk> disk);
    Task<api::HostDiskStatus> controller_status(Object<opi::NvmeController> controller);
    [[nodiscard]] std::vector<api::PathStatus> path_status(const std::string& controller) const;

    Context& context_;
    Disks& disks_;
    Attachments& attachments_;
    core::Nanos started_;
    bool ready_ = false;
};

}  // namespace remora::control
