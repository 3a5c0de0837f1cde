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
#include <utility>
#include <vector>

#include "backends/nvme_tcp/ana.h"
#include "block/device.h"
#include "core/uuid.h"
#include "reactor/reactor.h"

namespace remora::backends::nvme_tcp {

class Lane;
class MultipathView;
class NamespaceDevice;

/// What the controller says a namespace is (Identify, CNS 00h and 03h).
struct NamespaceIdentity {
    std::uint32_t nsid = 0;
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};
    std::uint64_t eui64 = 0;
    block::Geometry geometry;
    bool discard_by_zeroing = false;  ///< Discard is Write Zeroes with the deallocate bit.
    std::uint32_t ana_group = 0;      ///< 0: none, access does not vary.
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
    AnaState ana = AnaState::Optimized;
    bool ana_reported = false;  ///< Statuses of the ANA kind mean what they say.
    bool discard_by_zeroing = false;
    std::uint32_t open_channels = 0;
    std::uint32_t inside = 0;  ///< Requests that its lane has.
    std::uint32_t held = 0;    ///< Of these: wait until a dead connection is drained.
    /// The volume that this is one path to, with others perhaps; null when it stands alone.
    MultipathView* group = nullptr;
    block::Geometry geometry;
    std::vector<block::DeviceListener*> listeners;

    /// Commands may be sent.
    [[nodiscard]] bool sendable() const {
        return state == NamespaceState::Present && is_accessible(ana);
    }
    /// Takes the new state of affairs; tells the listeners when the geometry is another one.
    void update(NamespaceState new_state, const block::Geometry& new_geometry, bool zeroing);
    void update_ana(AnaState new_state, bool reported);
    /// Its requests may go to another path.
    [[nodiscard]] bool group_spares() const;
    /// The geometry that requests are held against: the volume's.
    [[nodiscard]] const block::Geometry& limits() const;
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
    /// The volume that is at this number now; its own when that was not seen to be another.
    [[nodiscard]] const core::Uuid& shown_uuid() const { return shown_uuid_; }
    /// Returns whether it is another one than before.
    bool set_ana(AnaState state) { return std::exchange(ana_, state) != state; }
    [[nodiscard]] AnaState ana() const { return ana_; }

  private:
    NamespaceView& current_view() const;

    NamespaceIdentity identity_;
    NamespaceState state_ = NamespaceState::Away;
    AnaState ana_ = AnaState::Optimized;
    core::Uuid shown_uuid_;
    std::string problem_;
    std::vector<std::unique_ptr<NamespaceView>> views_;
};

}  // namespace remora::backends::nvme_tcp
