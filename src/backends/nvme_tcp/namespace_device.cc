// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/namespace_device.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "backends/nvme_tcp/lane.h"
#include "backends/nvme_tcp/multipath_view.h"

namespace remora::backends::nvme_tcp {

namespace {

/// The device's handle of one data reactor; all the work is the lane's.
class NamespaceChannel final : public block::Channel {
  public:
    explicit NamespaceChannel(NamespaceView& view) : view_(view) { ++view_.open_channels; }
    NamespaceChannel(const NamespaceChannel&) = delete;
    NamespaceChannel& operator=(const NamespaceChannel&) = delete;
    ~NamespaceChannel() override {
        CHECK_ON_REACTOR(*view_.reactor);
        --view_.open_channels;
    }

    void submit(block::RequestBatch& batch) override { view_.lane->submit(view_, batch); }

  private:
    NamespaceView& view_;
};

unsigned shift_of(std::uint32_t block_size) {
    return static_cast<unsigned>(std::countr_zero(block_size));
}

}  // namespace

void NamespaceView::update(NamespaceState new_state,
                           const block::Geometry& new_geometry,
                           bool zeroing) {
    state = new_state;
    discard_by_zeroing = zeroing;
    if (group != nullptr) {
        group->path_changed();
    }
    if (geometry == new_geometry) {
        return;
    }
    geometry = new_geometry;
    block_shift = shift_of(new_geometry.block_size);
    // A listener may take itself away while it is told.
    const std::vector<block::DeviceListener*> told = listeners;
    for (block::DeviceListener* listener : told) {
        listener->on_geometry_changed();
    }
}

void NamespaceView::update_ana(AnaState new_state, bool reported) {
    ana = new_state;
    ana_reported = reported;
    if (group != nullptr) {
        group->path_changed();
    }
}

bool NamespaceView::group_spares() const {
    return group != nullptr && group->spares(*this);
}

const block::Geometry& NamespaceView::limits() const {
    return group != nullptr ? group->geometry() : geometry;
}

NamespaceDevice::NamespaceDevice(const std::string& controller,
                                 const NamespaceIdentity& identity,
                                 std::span<const std::unique_ptr<Lane>> lanes,
                                 reactor::Reactor& control)
    : block::Device(controller + "n" + std::to_string(identity.nsid), identity.uuid),
      identity_(identity),
      shown_uuid_(identity.uuid) {
    const auto add_view = [&](Lane* lane, reactor::Reactor& reactor) {
        auto view = std::make_unique<NamespaceView>();
        view->device = this;
        view->lane = lane;
        view->reactor = &reactor;
        view->nsid = identity.nsid;
        view->geometry = identity.geometry;
        view->block_shift = shift_of(identity.geometry.block_size);
        view->discard_by_zeroing = identity.discard_by_zeroing;
        views_.push_back(std::move(view));
    };
    bool control_has_lane = false;
    for (const auto& lane : lanes) {
        add_view(lane.get(), lane->reactor());
        control_has_lane |= &lane->reactor() == &control;
    }
    if (!control_has_lane) {
        add_view(nullptr, control);
    }
}

NamespaceDevice::~NamespaceDevice() {
    for (const auto& view : views_) {
        CHECK(view->open_channels == 0 && view->inside == 0 && view->group == nullptr);
        CHECK(view->listeners.empty());
    }
}

NamespaceView& NamespaceDevice::current_view() const {
    const auto found =
        std::ranges::find_if(views_, [](const auto& view) { return view->reactor->is_current(); });
    CHECK(found != views_.end());
    return **found;
}

core::Result<std::unique_ptr<block::Channel>> NamespaceDevice::open_channel() {
    NamespaceView& view = current_view();
    if (view.lane == nullptr) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          name() + ": I/O is done on data reactors, not on the control reactor");
    }
    return std::make_unique<NamespaceChannel>(view);
}

void NamespaceDevice::add_listener(block::DeviceListener& listener) {
    current_view().listeners.push_back(&listener);
}

void NamespaceDevice::remove_listener(block::DeviceListener& listener) {
    std::erase(current_view().listeners, &listener);
}

bool NamespaceDevice::take(const NamespaceIdentity& shown) {
    const NamespaceState state_before = state_;
    const block::Geometry geometry_before = identity_.geometry;
    const std::string problem_before = std::exchange(problem_, {});
    shown_uuid_ = shown.uuid;
    if (shown.uuid != uuid()) {
        problem_ = name() + " is volume " + shown.uuid.text() + " now, it was " + uuid().text();
    } else if (shown.geometry.block_size != identity_.geometry.block_size) {
        problem_ = name() + " has blocks of " + std::to_string(shown.geometry.block_size) +
                   " bytes now, it had " + std::to_string(identity_.geometry.block_size);
    }
    state_ = problem_.empty() ? NamespaceState::Present : NamespaceState::Mismatch;
    if (problem_.empty()) {
        identity_ = shown;
    }
    return state_ != state_before || identity_.geometry != geometry_before ||
           problem_ != problem_before;
}

bool NamespaceDevice::mark_away() {
    problem_.clear();
    return std::exchange(state_, NamespaceState::Away) != NamespaceState::Away;
}

}  // namespace remora::backends::nvme_tcp
