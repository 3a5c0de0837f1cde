// SPDX-License-Identifier: Apache-2.0
// VhostDisks: the vhost-user-blk controllers of a node, whose queues are spread over the data
// reactors, beginning with the one that has the fewest. On the control reactor.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "frontends/vhost_user_blk/controller.h"
#include "node/node.h"
#include "node/volume_table.h"

namespace remora::node {

class VhostDisks {
  public:
    /// `drain_limit`: how long a disk's last requests may take when it is removed (seconds over
    /// the time a request may wait for a path).
    VhostDisks(VolumeTable& volumes,
               std::span<const block::ReactorContext> reactors,
               core::Nanos drain_limit)
        : volumes_(volumes),
          contexts_(reactors.begin(), reactors.end()),
          load_(reactors.size()),
          drain_limit_(drain_limit) {}
    VhostDisks(const VhostDisks&) = delete;
    VhostDisks& operator=(const VhostDisks&) = delete;
    /// After stop().
    ~VhostDisks() { CHECK(disks_.empty()); }

    Task<Result<void>> create(VhostBlkSpec spec);
    Task<Result<void>> remove(std::string name);
    Task<Result<VhostBlkStatus>> status(std::string name);
    Task<Result<block::DeviceStats>> stats(std::string name);
    Task<Result<void>> set_rates(std::string name, Rates rates);
    /// False when a disk still held requests after `limit`; then it must live on.
    Task<bool> stop(core::Nanos limit);

  private:
    using Controller = frontends::vhost_user_blk::Controller;
    struct Disk {
        std::string volume;
        std::size_t place = 0;  // index of its home reactor
        std::size_t queues = 0;
        std::unique_ptr<services::qos::QosDevice> limited;  // the disk's own limits
        std::unique_ptr<Controller> controller;
        bool busy = true;      // being made or removed
        bool leaving = false;  // a removal ran out of time: only another one is left to do
    };
    Task<Result<void>> drain(std::string name, core::Nanos limit);
    Result<std::shared_ptr<Disk>> find(const std::string& name);
    /// Counts the disk's queues on their reactors, or takes them away (`sign` -1).
    void weigh(const Disk& disk, int sign);
    Task<> show_rates(services::qos::QosStage& limits);

    VolumeTable& volumes_;
    std::vector<block::ReactorContext> contexts_;
    std::vector<int> load_;  // queues on each reactor
    core::Nanos drain_limit_;
    std::map<std::string, std::shared_ptr<Disk>> disks_;  // who asks one keeps it meanwhile
};

}  // namespace remora::node
