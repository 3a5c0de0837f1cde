// SPDX-License-Identifier: Apache-2.0
// HeldDevice: a device in memory that does nothing until the test lets it, and keeps a list of what
// it was asked to do.
#pragma once

#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "block/device.h"

namespace remora::services::crypto {

class HeldDevice final : public block::Device {
  public:
    struct Seen {
        block::Opcode opcode;
        std::uint64_t lba;
        std::uint32_t block_count;
        bool force_unit_access;
        bool takes_in_place;
    };

    HeldDevice(std::uint32_t block_size, std::uint64_t block_count)
        : Device("held", {}), memory(block_size * block_count) {
        shape.block_size = block_size;
        shape.block_count = block_count;
        shape.can_discard = true;
        shape.can_write_zeroes = true;
    }

    [[nodiscard]] block::Geometry geometry() const override { return shape; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<HeldChannel>(*this);
    }

    /// Does the first `count` of those held, with `status`. Outside of any submit.
    void let_go(std::size_t count, block::Status status = block::Status::Ok) {
        block::RequestBatch batch;
        for (; count > 0 && !held.empty(); --count) {
            block::Request& request = *held.pop_front();
            request.status = status;
            if (status == block::Status::Ok) {
                perform(request);
            }
            batch.push_back(request);
        }
        block::complete_batch(batch);
    }
    /// Until nothing is held.
    void let_all_go() {
        while (!held.empty()) {
            let_go(held.size());
        }
    }

    block::Geometry shape;
    std::vector<std::byte> memory;
    block::RequestBatch held;
    std::vector<Seen> seen;

  private:
    class HeldChannel final : public block::Channel {
      public:
        explicit HeldChannel(HeldDevice& device) : device_(device) {}
        void submit(block::RequestBatch& batch) override {
            batch.for_each([this](const block::Request& request) {
                CHECK(block::validate(request, device_.shape) == block::Status::Ok);
                device_.seen.push_back({request.opcode, request.lba, request.block_count,
                                        request.force_unit_access, request.takes_in_place});
            });
            device_.held.append(batch);
        }

      private:
        HeldDevice& device_;
    };

    void perform(block::Request& request) {
        const std::size_t size = std::size_t{request.block_count} * shape.block_size;
        const auto at = std::span(memory).subspan(request.lba * shape.block_size, size);
        core::SegmentCursor cursor(request.data);
        if (request.opcode == block::Opcode::Read) {
            cursor.copy_in(at);
        } else if (request.opcode == block::Opcode::Write) {
            cursor.copy_out(at);
        } else {
            std::memset(at.data(), 0, at.size());
        }
    }
};

}  // namespace remora::services::crypto
