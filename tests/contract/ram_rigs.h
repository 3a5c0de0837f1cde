// SPDX-License-Identifier: Apache-2.0
// How devices under test are made and ended: a RAM volume, alone and behind the stages that each
// volume has.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backends/ram/ram_device.h"
#include "block/junction.h"
#include "block/reactor_context.h"
#include "services/fault/fault_stage.h"
#include "services/qos/qos_device.h"

namespace remora::test {

using reactor::Task;

constexpr std::uint64_t kBytes = 4 * core::kMiB;

/// How a device under test is made and ended.
class Rig {
  public:
    virtual ~Rig() = default;
    virtual Task<> start(block::ReactorContext context, std::string directory) = 0;
    virtual block::Device& device() = 0;
    virtual Task<> stop() = 0;
};

class RamRig final : public Rig {
  public:
    explicit RamRig(std::uint32_t block_size, std::uint64_t bytes = kBytes)
        : block_size_(block_size), bytes_(bytes) {}
    Task<> start(block::ReactorContext /*context*/, std::string /*directory*/) override {
        device_ = std::move(
            *backends::ram::RamDevice::create("d", {}, block_size_, bytes_ / block_size_));
        co_return;
    }
    block::Device& device() override { return *device_; }
    Task<> stop() override { co_await device_->stop(); }

  private:
    std::uint32_t block_size_;
    std::uint64_t bytes_;
    std::unique_ptr<block::Device> device_;
};

/// Behind a limit that the suite reaches, so that requests wait.
class LimitedRig final : public Rig {
  public:
    explicit LimitedRig(std::uint32_t block_size) : ram_(block_size) {}
    Task<> start(block::ReactorContext context, std::string directory) override {
        co_await ram_.start(context, directory);
        limited_ = std::make_unique<services::qos::QosDevice>(ram_.device());
        limited_->limits().set_rates({.all_ops = 20'000});
    }
    block::Device& device() override { return *limited_; }
    Task<> stop() override { co_await limited_->stop(); }

  private:
    RamRig ram_;
    std::unique_ptr<services::qos::QosDevice> limited_;
};

/// Behind a junction with a stage that has no rules, or holds most requests up.
class FaultRig final : public Rig {
  public:
    FaultRig(std::uint32_t block_size, bool delays) : ram_(block_size), delays_(delays) {}
    Task<> start(block::ReactorContext context, std::string directory) override {
        using namespace std::chrono_literals;
        co_await ram_.start(context, directory);
        services::fault::FaultSettings settings;
        if (delays_) {
            settings.delays.push_back(
                {.on = {.read = true, .write = true, .flush = true, .unmap = true},
                 .probability = 0.8,
                 .distribution = services::fault::DelayRule::Distribution::Exponential,
                 .mean = 200us});
        }
        stage_ = std::make_unique<services::fault::FaultStage>(settings);
        junction_ = std::make_unique<block::Junction>(ram_.device(),
                                                      std::vector<block::Stage*>{stage_.get()});
    }
    block::Device& device() override { return *junction_; }
    Task<> stop() override { co_await junction_->stop(); }

  private:
    RamRig ram_;
    bool delays_;
    std::unique_ptr<services::fault::FaultStage> stage_;
    std::unique_ptr<block::Junction> junction_;
};

}  // namespace remora::test
