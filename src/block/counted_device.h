// SPDX-License-Identifier: Apache-2.0
// CountedDevice: wraps a device and counts its I/O, so that no back end has to. The composition
// root puts every volume behind one. Times are those of the reactor's turns, so a request that
// starts and ends in one turn counts as zero.
//
// Counters are plain and per reactor; they are read on that reactor (call_on) and summed.
#pragma once

#include <array>
#include <memory>

#include "block/device.h"

namespace remora::block {

class CountedDevice final : public Device {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    /// `lower` outlives this; name and UUID are its own.
    explicit CountedDevice(Device& lower) : Device(lower.name(), lower.uuid()), lower_(lower) {}

    [[nodiscard]] Geometry geometry() const override { return lower_.geometry(); }
    core::Result<std::unique_ptr<Channel>> open_channel() override;
    core::Result<void> grow(std::uint64_t block_count) override { return lower_.grow(block_count); }
    void show_growth() override { lower_.show_growth(); }
    void add_listener(DeviceListener& listener) override { lower_.add_listener(listener); }
    void remove_listener(DeviceListener& listener) override { lower_.remove_listener(listener); }
    reactor::Task<> stop() override;

    /// What was counted on the current reactor, since the device was made.
    [[nodiscard]] const DeviceStats& stats_here() const;

    [[nodiscard]] Device& lower() const { return lower_; }

  private:
    Device& lower_;
    std::array<std::unique_ptr<DeviceStats>, kMaxReactors> stats_;  // [i] belongs to reactor i
};

}  // namespace remora::block
