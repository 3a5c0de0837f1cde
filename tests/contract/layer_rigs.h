// SPDX-License-Identifier: Apache-2.0
// How devices under test are made and ended: those that are made of other volumes.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "services/integrity/integrity_device.h"
#include "services/raid/raid_device.h"
#include "tests/contract/ram_rigs.h"

namespace remora::test {

/// A RAM volume with checksums, two pages of which are kept in memory.
class IntegrityRig final : public Rig {
  public:
    explicit IntegrityRig(std::uint32_t block_size) : ram_(block_size, kBytes + core::kMiB / 4) {}
    Task<> start(block::ReactorContext context, std::string directory) override {
        co_await ram_.start(context, directory);
        services::integrity::IntegrityOptions options;
        options.cache_bytes = 0;
        auto made = co_await services::integrity::IntegrityDevice::create(options, ram_.device(),
                                                                          std::span(&context, 1));
        device_ = std::move(*made);
    }
    block::Device& device() override { return *device_; }
    Task<> stop() override { co_await device_->stop(); }

  private:
    RamRig ram_;
    std::unique_ptr<block::Device> device_;
};

/// An array of RAM volumes.
class RaidRig final : public Rig {
  public:
    RaidRig(services::raid::Level level, std::size_t members, std::uint32_t block_size)
        : level_(level) {
        const bool parity = level == services::raid::Level::Raid5;
        const std::uint64_t front = (parity ? 16 : 1) * core::kMiB;
        for (std::size_t i = 0; i < members; ++i) {
            rams_.push_back(std::make_unique<RamRig>(block_size, front + kBytes));
        }
    }
    Task<> start(block::ReactorContext context, std::string directory) override {
        context_ = std::make_unique<block::ReactorContext>(context);
        std::vector<services::raid::Member> members;
        for (const auto& ram : rams_) {
            co_await ram->start(context, directory);
            members.push_back({"m" + std::to_string(members.size()), &ram->device()});
        }
        const services::raid::RaidOptions options{
            .name = "array", .uuid = {}, .level = level_, .chunk_bytes = 16384};
        auto made = co_await services::raid::RaidDevice::create(options, std::move(members),
                                                                std::span(context_.get(), 1));
        device_ = std::move(*made);
    }
    block::Device& device() override { return *device_; }
    Task<> stop() override {
        co_await device_->stop();
        device_.reset();
        for (const auto& ram : rams_) {
            co_await ram->stop();
        }
    }

  private:
    services::raid::Level level_;
    std::vector<std::unique_ptr<RamRig>> rams_;
    std::unique_ptr<block::ReactorContext> context_;
    std::unique_ptr<block::Device> device_;
};

}  // namespace remora::test
