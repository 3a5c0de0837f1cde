// SPDX-License-Identifier: Apache-2.0
// NamespaceDevice: one namespace of a remote controller as a block::Device.
//
// The device is the controller's, on the control reactor. What a lane needs to know of it is a
// NamespaceView of the lane's own, so no reactor reads what another one writes: the controller
// changes a view by a call on its reactor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "block/device.h"
#include "core/uuid.h"
#include "reactor/reactor.h"

namespace remora::backends::nvme_tcp {

class Lane;
class NamespaceDevice;

/// What the controller says a namespace is (Identify, CNS 00h and 03h).
struct NamespaceIdentity {
    std::uint32_t nsid = 0;
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint64_t eui64 = 0;
    block::Geometry geometry;
    bool discard_by_zeroing = false;  ///< Discard is Write Zeroes with the deallocate bit.
};

/// What to do with I/O to a namespace.
enum class NamespaceState : std::uint8_t {
    Present,   ///< Send it.
    Away,      ///< Not there (yet, or any more): let it wait as if there were no path.
    Mismatch,  ///< Something else is there: fail it.
};

/// A namespace as one reactor sees it. Only that reactor touches it.
struct NamespaceView {
    NamespaceDevice* device = nullptr;
    Lane* lane = nullptr;  ///< Null for the control reactor's, when that is no data reactor.
    reactor::Reactor* reactor = nullptr;
    std::uint32_t nsid = 0;
    unsigned block_shift = 9;
    NamespaceState state = NamespaceState::Away;
    bool discard_by_zeroing = false;
    std::uint32_t open_channels = 0;
    block::Geometry geometry;
    std::vector<block::DeviceListener*> listeners;

    /// Takes the new state of affairs; tells the listeners when the geometry is another one.
    void update(NamespaceState new_state, const block::Geometry& new_geometry, bool zeroing);
};

class NamespaceDevice final : public block::Device {
  public:
    NamespaceDevice(const std::string& controller,
                    const NamespaceIdentity& identity,
                    std::span<const std::unique_ptr<Lane>> lanes,
                    reactor::Reactor& control);
    ~NamespaceDevice() override;

    /// Of the current reactor.
    [[nodiscard]] block::Geometry geometry() const override { return current_view().geometry; }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override;
    void add_listener(block::DeviceListener& listener) override;
    void remove_listener(block::DeviceListener& listener) override;

    [[nodiscard]] std::uint32_t nsid() const { return identity_.nsid; }
    /// The view of lane number `index`; views().back() may be the control reactor's own.
    [[nodiscard]] NamespaceView& view(std::size_t index) { return *views_[index]; }
    [[nodiscard]] std::size_t view_count() const { return views_.size(); }

    // The rest on the control reactor only.

    /// Compares with what the controller shows now, and takes it over if it is the same namespace.
    /// Returns whether anything is different from before.
    bool take(const NamespaceIdentity& shown);
    bool mark_away();

    [[nodiscard]] const NamespaceIdentity& identity() const { return identity_; }
    [[nodiscard]] NamespaceState state() const { return state_; }
    [[nodiscard]] const std::string& problem() const { return problem_; }

  private:
    NamespaceView& current_view() const;

    NamespaceIdentity identity_;
    NamespaceState state_ = NamespaceState::Away;
    std::string problem_;
    std::vector<std::unique_ptr<NamespaceView>> views_;
};

}  // namespace remora::backends::nvme_tcp
