// SPDX-License-Identifier: Apache-2.0
// GrowingDevice: a device of this node's own, which can be made larger while it is in use.
//
//   control reactor   grow(): makes room ──► then on every reactor   show_growth(): its channels,
//                                            its listeners and geometry() have the new size
//
// Each reactor has a view of its own, so none reads what another one writes; a channel keeps a
// reference to its reactor's.
#pragma once

#include <array>
#include <vector>

#include "block/device.h"

namespace remora::block {

class GrowingDevice : public Device {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    GrowingDevice(std::string name, core::Uuid uuid, const Geometry& geometry);

    /// Of the current reactor.
    [[nodiscard]] Geometry geometry() const final { return here().geometry; }
    core::Result<void> grow(std::uint64_t block_count) final;
    void show_growth() final;
    void add_listener(DeviceListener& listener) final { here().listeners.push_back(&listener); }
    void remove_listener(DeviceListener& listener) final {
        std::erase(here().listeners, &listener);
    }

  protected:
    /// What channels of the current reactor go by. Lives as long as the device.
    [[nodiscard]] const Geometry& shown_geometry() const { return here().geometry; }

  private:
    struct View {
        Geometry geometry;
        std::vector<DeviceListener*> listeners;
    };
    /// Gets the memory or the space, all of it or nothing. `after` is larger than before.
    virtual core::Result<void> make_room(const Geometry& after) = 0;
    [[nodiscard]] const View& here() const;
    View& here() { return const_cast<View&>(std::as_const(*this).here()); }

    Geometry room_;                         // control reactor: what there is room for
    std::array<View, kMaxReactors> views_;  // [i] belongs to reactor i
};

}  // namespace remora::block
