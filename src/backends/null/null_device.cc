// SPDX-License-Identifier: Apache-2.0
#include "backends/null/null_device.h"

#include "block/deferred.h"

namespace remora::backends::null {

namespace {

using block::Request;
using block::Status;

class NullChannel final : public block::Channel {
  public:
    explicit NullChannel(const block::Geometry& geometry)
        : geometry_(geometry), done_(reactor::Reactor::current()) {}

    void submit(block::RequestBatch& batch) override {
        while (Request* request = batch.pop_front()) {
            const Status status = block::validate(*request, geometry_);
            if (status == Status::Ok && request->opcode == block::Opcode::Read) {
                read(*request);
            }
            done_.push(*request, status);
        }
    }

  private:
    void read(Request& request) {
        request.is_hole = request.takes_in_place;
        if (!request.is_hole) {
            core::SegmentCursor cursor(request.data);
            cursor.zero(std::size_t{request.block_count} * geometry_.block_size);
        }
    }

    const block::Geometry& geometry_;  // of this reactor; it may grow
    block::DeferredCompletions done_;
};

}  // namespace

core::Result<std::unique_ptr<NullDevice>> NullDevice::create(std::string name,
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
    return std::unique_ptr<NullDevice>(new NullDevice(std::move(name), uuid, geometry));
}

NullDevice::NullDevice(std::string name, core::Uuid uuid, block::Geometry geometry)
    : GrowingDevice(std::move(name), uuid, geometry) {}

core::Result<std::unique_ptr<block::Channel>> NullDevice::open_channel() {
    return std::make_unique<NullChannel>(shown_geometry());
}

}  // namespace remora::backends::null
