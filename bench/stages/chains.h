// SPDX-License-Identifier: Apache-2.0
// The chains of stages that stage_cost measures, over one device that they share.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "block/counted_device.h"
#include "block/junction.h"
#include "services/fault/fault_stage.h"
#include "services/qos/qos_device.h"

namespace remora::bench {

/// Devices over one that outlives it, the last made on top.
class Chain {
  public:
    Chain(std::string name, block::Device& base) : name_(std::move(name)), base_(base) {}

    [[nodiscard]] const std::string& name() const { return name_; }
    [[nodiscard]] block::Device& top() const { return devices_.empty() ? base_ : *devices_.back(); }
    template <typename D, typename... Args>
    void put(Args&&... args) {
        devices_.push_back(std::make_unique<D>(top(), std::forward<Args>(args)...));
    }
    /// A junction with a fault stage whose rules are on none of the requests, though each is asked.
    void put_fault_stage();

  private:
    std::string name_;
    block::Device& base_;
    std::vector<std::unique_ptr<services::fault::FaultStage>> stages_;
    std::vector<std::unique_ptr<block::Device>> devices_;
};

/// The bare device first, then each stage alone, then all in the order that volumes have them.
std::vector<std::unique_ptr<Chain>> all_chains(block::Device& base);

}  // namespace remora::bench
