// SPDX-License-Identifier: Apache-2.0
// SlowDevice: a volume in memory that completes requests when the test says so.
#pragma once

#include <cstring>
#include <memory>
#include <optional>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"

namespace remora::test {

/// Used on its reactor only. One channel at a time is enough here.
class SlowDevice final : public block::Device {
  public:
    explicit SlowDevice(block::Geometry geometry)
        : Device("slow", *core::Uuid::parse("01234567-89ab-4cde-8f01-23456789abcd")),
          geometry_(geometry),
          bytes_(geometry.size_bytes()) {}

    [[nodiscard]] block::Geometry geometry() const override { return geometry_; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<SlowChannel>(*this);
    }

    void add_listener(block::DeviceListener& listener) override {
        CHECK(listener_ == nullptr);
        listener_ = &listener;
    }
    void remove_listener(block::DeviceListener& listener) override {
        CHECK(listener_ == &listener);
        listener_ = nullptr;
    }
    ~SlowDevice() override { CHECK(listener_ == nullptr); }

    void set_geometry(const block::Geometry& geometry) {
        geometry_ = geometry;
        if (listener_ != nullptr) {
            listener_->on_geometry_changed();
        }
    }
    /// Keeps requests from now on; off lets all go.
    void hold(bool on) {
        holding_ = on;
        if (!on) {
            release(held_.size());
        }
    }
    /// Completes the newest `count` of what is held.
    void release(std::size_t count) {
        for (std::size_t i = 0; i < count && !held_.empty(); ++i) {
            block::Request* request = held_.back();
            held_.pop_back();
            execute(*request);
        }
    }
    void fail_next(block::Status status) { fail_next_ = status; }
    [[nodiscard]] std::size_t held() const { return held_.size(); }
    /// Every request that came, oldest first.
    [[nodiscard]] const std::vector<std::uint64_t>& lbas() const { return lbas_; }
    [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }

  private:
    class SlowChannel final : public block::Channel {
      public:
        explicit SlowChannel(SlowDevice& device)
            : device_(device), deferred_(reactor::Reactor::current()) {
            CHECK(device.channel_ == nullptr);
            device.channel_ = this;
        }
        ~SlowChannel() override {
            CHECK(device_.held_.empty());
            device_.channel_ = nullptr;
        }
        void submit(block::RequestBatch& batch) override {
            while (block::Request* request = batch.pop_front()) {
                device_.lbas_.push_back(request->lba);
                if (device_.holding_) {
                    device_.held_.push_back(request);
                } else {
                    device_.execute(*request);
                }
            }
        }
        SlowDevice& device_;
        block::DeferredCompletions deferred_;
    };

    void execute(block::Request& request) {
        if (fail_next_) {
            channel_->deferred_.push(request, *fail_next_);
            fail_next_.reset();
            return;
        }
        const std::size_t at = request.lba * geometry_.block_size;
        const std::size_t size = std::size_t{request.block_count} * geometry_.block_size;
        core::SegmentCursor cursor(request.data);
        switch (request.opcode) {
            case block::Opcode::Read:
                cursor.copy_in(std::span(bytes_).subspan(at, size));
                break;
            case block::Opcode::Write:
                cursor.copy_out(std::span(bytes_).subspan(at, size));
                break;
            case block::Opcode::Flush:
                break;
            case block::Opcode::WriteZeroes:
            case block::Opcode::Discard:
                std::memset(bytes_.data() + at, 0, size);
                break;
        }
        channel_->deferred_.push(request, block::Status::Ok);
    }

    block::Geometry geometry_;
    std::vector<std::byte> bytes_;
    SlowChannel* channel_ = nullptr;
    block::DeviceListener* listener_ = nullptr;
    bool holding_ = false;
    std::vector<block::Request*> held_;
    std::vector<std::uint64_t> lbas_;
    std::optional<block::Status> fail_next_;
};

}  // namespace remora::test
