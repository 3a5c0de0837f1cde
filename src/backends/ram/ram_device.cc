// SPDX-License-Identifier: Apache-2.0
#include "backends/ram/ram_device.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "block/deferred.h"
#include "core/check.h"
#include "core/units.h"
#include "reactor/timer.h"

namespace remora::backends::ram {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

// Bytes that are copied or cleared in one turn (about 0.5 ms): a guest that asks for more at once
// waits for the next turns, and its neighbours on the reactor do not wait for it.
constexpr std::size_t kBytesPerTurn = std::size_t{4} << 20U;
constexpr std::size_t kClearStep = 4096;

class RamChannel final : public block::Channel, private reactor::TimerHandler {
  public:
    RamChannel(const Extent* extents, const block::Geometry& geometry)
        : extents_(extents),
          geometry_(geometry),
          reactor_(reactor::Reactor::current()),
          next_turn_(*this),
          done_(reactor_) {}
    RamChannel(const RamChannel&) = delete;
    RamChannel& operator=(const RamChannel&) = delete;
    ~RamChannel() override { CHECK(current_ == nullptr && waiting_.empty()); }

    void submit(block::RequestBatch& batch) override {
        if (turn_ != reactor_.now()) {
            turn_ = reactor_.now();
            left_ = kBytesPerTurn;
        }
        waiting_.append(batch);
        perform();
    }

  private:
    void on_timer(reactor::Timer& /*timer*/) override {
        turn_ = reactor_.now();
        left_ = kBytesPerTurn;
        perform();
    }

    // Takes requests in their order until none is left or the turn's share is used up, which may be
    // in the middle of one.
    void perform() {
        while (current_ != nullptr || next()) {
            if (left_ == 0) {
                if (!next_turn_.armed()) {
                    reactor_.arm(next_turn_, reactor_.now());
                }
                return;
            }
            const std::uint64_t at = current_->lba * geometry_.block_size + position_;
            const Extent& extent = extent_of(at);
            const std::size_t bytes = std::min(
                {current_bytes_ - position_, left_, static_cast<std::size_t>(extent.end - at)});
            step({extent.memory + (at - extent.begin), bytes});
            position_ += bytes;
            left_ -= bytes;
            if (position_ == current_bytes_) {
                done_.push(*std::exchange(current_, nullptr), Status::Ok);
            }
        }
    }

    /// `at` is inside the volume, whose extents follow each other.
    [[nodiscard]] const Extent& extent_of(std::uint64_t at) const {
        const Extent* extent = extents_;
        while (at >= extent->end) {
            ++extent;
        }
        return *extent;
    }

    bool next() {
        while (Request* request = waiting_.pop_front()) {
            const Status status = block::validate(*request, geometry_);
            if (status == Status::Ok && request->opcode != Opcode::Flush) {
                current_ = request;
                current_bytes_ = std::size_t{request->block_count} * geometry_.block_size;
                position_ = 0;
                cursor_ = core::SegmentCursor(request->data);
                return true;
            }
            done_.push(*request, status);
        }
        return false;
    }

    void step(std::span<std::byte> at) {
        switch (current_->opcode) {
            case Opcode::Read:
                cursor_.copy_in(at);
                break;
            case Opcode::Write:
                cursor_.copy_out(at);
                break;
            case Opcode::WriteZeroes:
            case Opcode::Discard:
                clear(at);
                break;
            case Opcode::Flush:
                break;
        }
    }

    // Pages that are zero already are not written: those never touched stay without memory.
    static void clear(std::span<std::byte> range) {
        static constexpr std::array<std::byte, kClearStep> kZeros{};
        while (!range.empty()) {
            const auto step = range.first(std::min(range.size(), kClearStep));
            if (std::memcmp(step.data(), kZeros.data(), step.size()) != 0) {
                std::memset(step.data(), 0, step.size());
            }
            range = range.subspan(step.size());
        }
    }

    const Extent* extents_;
    const block::Geometry& geometry_;  // of this reactor; it may grow
    reactor::Reactor& reactor_;
    reactor::Timer next_turn_;
    core::Nanos turn_{-1};  // the turn that `left_` belongs to
    std::size_t left_ = 0;
    block::RequestBatch waiting_;
    Request* current_ = nullptr;  // begun
    std::size_t current_bytes_ = 0;
    std::size_t position_ = 0;
    core::SegmentCursor cursor_{{}};
    block::DeferredCompletions done_;
};

/// Large callocs are fresh zero pages that cost nothing until they are touched.
std::byte* allocate(std::uint64_t block_count, std::uint32_t block_size) {
    return static_cast<std::byte*>(std::calloc(block_count, block_size));
}

std::unexpected<core::Error> no_memory(const block::Geometry& geometry) {
    return core::fail(core::ErrorKind::ResourceExhausted,
                      "no memory for a RAM volume of " + core::format_size(geometry.size_bytes()) +
                          "; ask for less");
}

}  // namespace

core::Result<std::unique_ptr<RamDevice>> RamDevice::create(std::string name,
                                                           core::Uuid uuid,
                                                           std::uint32_t block_size,
                                                           std::uint64_t block_count) {
    block::Geometry geometry;
    geometry.block_size = block_size;
    geometry.block_count = block_count;
    geometry.can_discard = true;
    geometry.can_write_zeroes = true;
    if (auto valid = block::check_geometry(geometry); !valid) {
        return std::unexpected(valid.error());
    }
    std::byte* memory = allocate(block_count, block_size);
    if (memory == nullptr) {
        return no_memory(geometry);
    }
    return std::unique_ptr<RamDevice>(new RamDevice(std::move(name), uuid, geometry, memory));
}

RamDevice::RamDevice(std::string name, core::Uuid uuid, block::Geometry geometry, std::byte* memory)
    : GrowingDevice(std::move(name), uuid, geometry) {
    memory_.emplace_back(memory);
    extents_[extent_count_++] = {0, geometry.size_bytes(), memory};
}

core::Result<void> RamDevice::make_room(const block::Geometry& after) {
    if (extent_count_ == kMaxExtents) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "volume '" + name() + "' has grown " + std::to_string(kMaxExtents - 1) +
                              " times, as often as a RAM volume can");
    }
    const std::uint64_t begin = extents_[extent_count_ - 1].end;
    std::byte* memory = allocate((after.size_bytes() - begin) / after.block_size, after.block_size);
    if (memory == nullptr) {
        return no_memory(after);
    }
    memory_.emplace_back(memory);
    extents_[extent_count_++] = {begin, after.size_bytes(), memory};
    return {};
}

void RamDevice::Release::operator()(std::byte* memory) const {
    std::free(memory);
}

core::Result<std::unique_ptr<block::Channel>> RamDevice::open_channel() {
    return std::make_unique<RamChannel>(extents_.data(), shown_geometry());
}

}  // namespace remora::backends::ram
