// SPDX-License-Identifier: Apache-2.0
#include "backends/nvme_tcp/multipath_device.h"

#include <algorithm>

#include "reactor/call.h"

namespace remora::backends::nvme_tcp {

namespace {

/// The device's handle of one data reactor; all the work is the view's.
class MultipathChannel final : public block::Channel {
  public:
    explicit MultipathChannel(MultipathView& view) : view_(view) { ++view_.open_channels; }
    MultipathChannel(const MultipathChannel&) = delete;
    MultipathChannel& operator=(const MultipathChannel&) = delete;
    ~MultipathChannel() override {
        CHECK_ON_REACTOR(view_.reactor());
        --view_.open_channels;
    }

    void submit(block::RequestBatch& batch) override { view_.submit(batch); }

  private:
    MultipathView& view_;
};

}  // namespace

MultipathDevice::MultipathDevice(const Options& options,
                                 std::span<const block::ReactorContext> reactors,
                                 reactor::Reactor& control)
    : block::Device(options.name, options.uuid) {
    MultipathView::Options view;
    view.policy = options.policy;
    view.path_timeout = options.path_timeout;
    view.geometry = options.geometry;
    bool control_has_lanes = false;
    for (const block::ReactorContext& context : reactors) {
        view.lane = static_cast<std::uint16_t>(views_.size());
        views_.push_back(std::make_unique<MultipathView>(context.reactor, view));
        control_has_lanes |= &context.reactor == &control;
    }
    if (!control_has_lanes) {
        view.takes_io = false;
        views_.push_back(std::make_unique<MultipathView>(control, view));
    }
}

MultipathDevice::~MultipathDevice() = default;

MultipathView& MultipathDevice::current_view() const {
    const auto found =
        std::ranges::find_if(views_, [](const auto& view) { return view->reactor().is_current(); });
    CHECK(found != views_.end());
    return **found;
}

core::Result<std::unique_ptr<block::Channel>> MultipathDevice::open_channel() {
    MultipathView& view = current_view();
    if (!view.takes_io()) {
        return core::fail(core::ErrorKind::FailedPrecondition,
                          name() + ": I/O is done on data reactors, not on the control reactor");
    }
    return std::make_unique<MultipathChannel>(view);
}

void MultipathDevice::add_listener(block::DeviceListener& listener) {
    current_view().listeners.push_back(&listener);
}

void MultipathDevice::remove_listener(block::DeviceListener& listener) {
    std::erase(current_view().listeners, &listener);
}

reactor::Task<> MultipathDevice::set_paths(std::vector<Path> paths,
                                           block::Geometry geometry,
                                           PathPolicy policy) {
    for (std::size_t i = 0; i < views_.size(); ++i) {
        std::vector<MultipathView::Member> members;
        members.reserve(paths.size());
        for (const Path& path : paths) {
            members.push_back({&path.device->view(i), path.leaving});
        }
        MultipathView* view = views_[i].get();
        co_await reactor::call_on(view->reactor(), [view, &members, &geometry, policy] {
            view->set_policy(policy);
            view->set_members(members);
            view->set_geometry(geometry);
        });
    }
}

reactor::Task<std::uint32_t> MultipathDevice::channels() const {
    std::uint32_t sum = 0;
    for (const auto& at : views_) {
        const MultipathView* view = at.get();
        sum += co_await reactor::call_on(view->reactor(), [view] { return view->open_channels; });
    }
    co_return sum;
}

}  // namespace remora::backends::nvme_tcp
