// SPDX-License-Identifier: Apache-2.0
// MemoryDevice: a volume in a vector whose requests a test can hold back, count and fail.
#pragma once

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"

namespace remora::test {

class MemoryDevice final : public block::Device {
  public:
    explicit MemoryDevice(std::string name, std::uint64_t blocks = 8192, std::uint32_t size = 512)
        : Device(std::move(name), uuid_of(blocks)),
          memory_(blocks * size),
          geometry_{.block_size = size,
                    .block_count = blocks,
                    .can_discard = true,
                    .can_write_zeroes = true,
                    .volatile_cache = true} {}

    [[nodiscard]] block::Geometry geometry() const override { return geometry_; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        if (refuse_channels) {
            return core::fail(core::ErrorKind::ResourceExhausted, "no channel");
        }
        ++open_channels;
        return std::make_unique<MemoryChannel>(*this);
    }

    void set_geometry(const block::Geometry& geometry) { geometry_ = geometry; }
    /// Of listeners on one reactor, on that.
    void tell_geometry() {
        for (block::DeviceListener* listener : std::vector(listeners_)) {
            listener->on_geometry_changed();
        }
    }
    void add_listener(block::DeviceListener& listener) override { listeners_.push_back(&listener); }
    void remove_listener(block::DeviceListener& listener) override {
        std::erase(listeners_, &listener);
    }
    std::vector<std::byte>& memory() { return memory_; }

    /// Requests are kept until release() while this is set.
    bool hold = false;
    bool refuse_channels = false;
    block::Status fail_with = block::Status::Ok;
    std::size_t held_count() const { return held_.size(); }
    /// Completes what was held. On the reactor that submitted it.
    void release() {
        hold = false;
        block::RequestBatch batch = std::move(held_);
        for (block::RequestBatch one; block::Request* request = batch.pop_front();) {
            perform(*request);
            one.push_back(*request);
            block::complete_batch(one);
        }
    }

    std::atomic<int> open_channels{0};
    std::atomic<int> flushes{0};
    std::atomic<int> durable_writes{0};
    std::atomic<int> discards{0};
    std::atomic<int> batches{0};
    std::atomic<int> largest_batch{0};

  private:
    class MemoryChannel final : public block::Channel {
      public:
        explicit MemoryChannel(MemoryDevice& device)
            : device_(device), deferred_(reactor::Reactor::current()) {}
        ~MemoryChannel() override { --device_.open_channels; }

        void submit(block::RequestBatch& batch) override {
            ++device_.batches;
            const int size = static_cast<int>(batch.size());
            if (size > device_.largest_batch) {
                device_.largest_batch = size;
            }
            while (block::Request* request = batch.pop_front()) {
                CHECK(block::validate(*request, device_.geometry_) == block::Status::Ok);
                if (device_.hold) {
                    device_.held_.push_back(*request);
                } else {
                    deferred_.push(*request, device_.perform(*request));
                }
            }
        }

      private:
        MemoryDevice& device_;
        block::DeferredCompletions deferred_;
    };

    block::Status perform(block::Request& request) {
        request.status = fail_with;
        if (fail_with != block::Status::Ok) {
            return fail_with;
        }
        const std::uint64_t offset = request.lba * geometry_.block_size;
        const std::uint64_t bytes = std::uint64_t{request.block_count} * geometry_.block_size;
        const std::span<std::byte> range = std::span(memory_).subspan(offset, bytes);
        switch (request.opcode) {
            case block::Opcode::Read:
                core::SegmentCursor(request.data).copy_in(range);
                break;
            case block::Opcode::Write:
                core::SegmentCursor(request.data).copy_out(range);
                durable_writes += request.force_unit_access ? 1 : 0;
                break;
            case block::Opcode::Flush:
                ++flushes;
                break;
            case block::Opcode::Discard:
                ++discards;
                [[fallthrough]];
            case block::Opcode::WriteZeroes:
                std::memset(range.data(), 0, range.size());
                break;
        }
        return block::Status::Ok;
    }

    static core::Uuid uuid_of(std::uint64_t seed) {
        core::Prng prng(seed);
        return core::Uuid::random(prng);
    }

    std::vector<std::byte> memory_;
    std::vector<block::DeviceListener*> listeners_;
    block::Geometry geometry_;
    block::RequestBatch held_;
};

}  // namespace remora::test
