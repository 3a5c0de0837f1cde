// SPDX-License-Identifier: Apache-2.0
// QosDevice: a device behind a QosStage of its own. Every volume stands behind one, so that limits
// come, change and go under load; without any a batch passes as it is.
#pragma once

#include <memory>
#include <utility>

#include "block/device.h"
#include "services/qos/qos_stage.h"

namespace remora::services::qos {

class QosDevice final : public block::Device {
  public:
    /// `lower` outlives this; name and UUID are its own.
    explicit QosDevice(block::Device& lower) : QosDevice(lower, std::make_shared<QosStage>()) {}
    /// One of several devices that have their limits together.
    QosDevice(block::Device& lower, std::shared_ptr<QosStage> stage)
        : Device(lower.name(), lower.uuid()), lower_(lower), stage_(std::move(stage)) {}

    [[nodiscard]] QosStage& limits() { return *stage_; }
    [[nodiscard]] const QosStage& limits() const { return *stage_; }
    /// For who shows a change on all reactors and does not keep the device meanwhile.
    [[nodiscard]] std::shared_ptr<QosStage> shared_limits() { return stage_; }

    [[nodiscard]] block::Geometry geometry() const override { return lower_.geometry(); }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    core::Result<void> grow(std::uint64_t block_count) override { return lower_.grow(block_count); }
    void show_growth() override { lower_.show_growth(); }
    void add_listener(block::DeviceListener& listener) override { lower_.add_listener(listener); }
    void remove_listener(block::DeviceListener& listener) override {
        lower_.remove_listener(listener);
    }
    reactor::Task<> stop() override { return lower_.stop(); }

  private:
    block::Device& lower_;
    std::shared_ptr<QosStage> stage_;
};

}  // namespace remora::services::qos
