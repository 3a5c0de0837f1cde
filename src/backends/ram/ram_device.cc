// SPDX-License-Identifier: Apache-2.0
#include "backends/ram/ram_device.h"

#include <cstdlib>
#include <cstring>

#include "block/deferred.h"
#include "core/units.h"

namespace remora::backends::ram {

namespace {

using block::Opcode;
using block::Request;
using block::Status;

class RamChannel final : public block::Channel {
  public:
    RamChannel(std::byte* memory, const block::Geometry& geometry)
        : memory_(memory), geometry_(geometry), done_(reactor::Reactor::current()) {}

    void submit(block::RequestBatch& batch) override {
        while (Request* request = batch.pop_front()) {
            done_.push(*request, perform(*request));
        }
    }

  private:
    Status perform(const Request& request) const {
        if (const Status status = block::validate(request, geometry_); status != Status::Ok) {
            return status;
        }
        std::byte* at = memory_ + request.lba * geometry_.block_size;
        const std::size_t bytes = std::size_t{request.block_count} * geometry_.block_size;
        core::SegmentCursor cursor(request.data);
        switch (request.opcode) {
            case Opcode::Read:
                cursor.copy_in({at, bytes});
                break;
            case Opcode::Write:
                cursor.copy_out({at, bytes});
                break;
            case Opcode::WriteZeroes:
            case Opcode::Discard:
                std::memset(at, 0, bytes);
                break;
            case Opcode::Flush:
                break;
        }
        return Status::Ok;
    }

    std::byte* memory_;
    block::Geometry geometry_;
    block::DeferredCompletions done_;
};

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
    // Large callocs are fresh zero pages that cost nothing until they are touched.
    auto* memory = static_cast<std::byte*>(std::calloc(block_count, block_size));
    if (memory == nullptr) {
        return core::fail(core::ErrorKind::ResourceExhausted,
                          "no memory for a RAM volume of " +
                              core::format_size(geometry.size_bytes()) + "; ask for less");
    }
    return std::unique_ptr<RamDevice>(new RamDevice(std::move(name), uuid, geometry, memory));
}

RamDevice::RamDevice(std::string name, core::Uuid uuid, block::Geometry geometry, std::byte* memory)
    : Device(std::move(name), uuid), geometry_(geometry), memory_(memory) {}

void RamDevice::Release::operator()(std::byte* memory) const {
    std::free(memory);
}

core::Result<std::unique_ptr<block::Channel>> RamDevice::open_channel() {
    return std::make_unique<RamChannel>(memory_.get(), geometry_);
}

}  // namespace remora::backends::ram
