// SPDX-License-Identifier: Apache-2.0
#include "block/growing_device.h"

#include <utility>

#include "core/units.h"
#include "reactor/reactor.h"

namespace remora::block {

using core::ErrorKind;

GrowingDevice::GrowingDevice(std::string name, core::Uuid uuid, const Geometry& geometry)
    : Device(std::move(name), uuid), room_(geometry) {
    for (View& view : views_) {
        view.geometry = geometry;
    }
}

const GrowingDevice::View& GrowingDevice::here() const {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    return views_[id];
}

core::Result<void> GrowingDevice::grow(std::uint64_t block_count) {
    Geometry after = room_;
    after.block_count = block_count;
    if (block_count < room_.block_count) {
        return core::fail(ErrorKind::FailedPrecondition,
                          "volume '" + name() + "' has " + core::format_size(room_.size_bytes()) +
                              " and does not shrink: what lies behind the end would be lost");
    }
    if (auto valid = check_geometry(after); !valid) {
        return valid;
    }
    if (block_count > room_.block_count) {
        if (auto made = make_room(after); !made) {
            return made;
        }
    }
    room_ = after;
    return {};
}

void GrowingDevice::show_growth() {
    View& view = here();
    if (view.geometry == room_) {
        return;
    }
    view.geometry = room_;
    for (DeviceListener* listener : view.listeners) {
        listener->on_geometry_changed();
    }
}

}  // namespace remora::block
