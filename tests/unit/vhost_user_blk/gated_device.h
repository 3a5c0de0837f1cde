// SPDX-License-Identifier: Apache-2.0
// GatedDevice: a RAM volume that keeps requests while its gate is shut, on each reactor of its own.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "backends/ram/ram_device.h"
#include "block/deferred.h"
#include "block/device.h"
#include "core/check.h"
#include "reactor/reactor.h"

namespace remora::test {

class GatedDevice final : public block::Device {
  public:
    static constexpr std::size_t kReactors = 8;

    GatedDevice(std::uint32_t block_size, std::uint64_t blocks)
        : Device("gated", *core::Uuid::parse("01234567-89ab-4cde-8f01-23456789abcd")),
          ram_(std::move(*backends::ram::RamDevice::create("ram", uuid(), block_size, blocks))) {}

    // Any thread.
    void shut(bool on) { shut_.store(on); }
    [[nodiscard]] std::uint64_t held() const { return held_.load(); }
    /// Requests that came by the reactor with this number.
    [[nodiscard]] std::uint64_t seen_by(std::uint32_t reactor) const { return seen_[reactor]; }

    [[nodiscard]] block::Geometry geometry() const override { return ram_->geometry(); }
    core::Result<void> grow(std::uint64_t blocks) override { return ram_->grow(blocks); }
    void show_growth() override { ram_->show_growth(); }
    void add_listener(block::DeviceListener& listener) override { ram_->add_listener(listener); }
    void remove_listener(block::DeviceListener& listener) override {
        ram_->remove_listener(listener);
    }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<GatedChannel>(*this);
    }

  private:
    class GatedChannel final : public block::Channel, private reactor::Poller {
      public:
        explicit GatedChannel(GatedDevice& device)
            : device_(device), lower_(std::move(*device.ram_->open_channel())) {
            reactor::Reactor::current().add_poller(*this);
        }
        GatedChannel(const GatedChannel&) = delete;
        GatedChannel& operator=(const GatedChannel&) = delete;
        ~GatedChannel() override {
            CHECK(kept_.empty());
            reactor::Reactor::current().remove_poller(*this);
        }
        void submit(block::RequestBatch& batch) override {
            const std::size_t count = batch.size();
            device_.seen_[reactor::Reactor::current().id()] += count;
            device_.held_ += count;
            kept_.append(batch);
        }

      private:
        bool poll() override {
            if (kept_.empty() || device_.shut_.load()) {
                return false;
            }
            device_.held_ -= kept_.size();
            block::RequestBatch batch = std::move(kept_);
            lower_->submit(batch);
            return true;
        }
        // The gate's opening wakes nobody.
        bool prepare_sleep() override { return !kept_.empty(); }
        void end_sleep() override {}

        GatedDevice& device_;
        std::unique_ptr<block::Channel> lower_;
        block::RequestBatch kept_;
    };

    std::unique_ptr<backends::ram::RamDevice> ram_;
    std::atomic<bool> shut_{false};
    std::atomic<std::uint64_t> held_{0};
    std::array<std::atomic<std::uint64_t>, kReactors> seen_{};
};

}  // namespace remora::test
