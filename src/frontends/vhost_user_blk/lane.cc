// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/lane.h"

#include <utility>

#include "core/check.h"
#include "core/probe.h"

namespace remora::frontends::vhost_user_blk {

using virtio::vhost_user::QueueParts;
using virtio::vhost_user::QueueSetup;

core::Result<std::unique_ptr<Lane>> Lane::open(const LanePlace& place,
                                               block::Device& device,
                                               const block::ReactorContext& context) {
    CHECK_ON_REACTOR(context.reactor);
    auto channel = device.open_channel();
    if (!channel) {
        return core::fail("open volume '" + device.name() + "'", channel.error());
    }
    std::unique_ptr<Lane> self(new Lane(place, device, context));
    self->channel_ = std::move(*channel);
    self->shared_.channel = self->channel_.get();
    device.add_listener(*self);
    return self;
}

Lane::Lane(const LanePlace& place, block::Device& device, const block::ReactorContext& context)
    : place_(place), device_(device), reactor_(context.reactor) {
    shared_.geometry = device.geometry();
    shared_.identity = make_identity(device.uuid());
    QueueOwner& owner = *this;
    for (std::uint16_t index = place.number; index < place.queues; index += place.lanes) {
        seats_.push_back({std::make_unique<Queue>(reactor_, shared_, owner, index), {}});
    }
}

Lane::~Lane() {
    CHECK_ON_REACTOR(reactor_);
    if (channel_ != nullptr) {
        device_.remove_listener(*this);
    }
}

void Lane::start(std::uint16_t index, const QueueSetup& setup) {
    reactor_.post_function([this, index, setup] { do_start(index, setup); });
}

void Lane::stop(std::uint16_t index, bool publish) {
    reactor_.post_function([this, index, publish] { do_stop(index, publish); });
}

void Lane::update(std::uint16_t index, const QueueParts& parts) {
    reactor_.post_function([this, index, parts] {
        seat(index).queue->update(parts);
        place_.home.post_function(
            [owner = &place_.owner, index] { owner->on_queue_updated(index); });
    });
}

void Lane::do_start(std::uint16_t index, const QueueSetup& setup) {
    Seat& at = seat(index);
    CHECK(!at.queue->running() && !at.failed_at);
    if (auto started = at.queue->start(setup); !started) {
        at.failed_at = setup.base;
        on_queue_broken(index, started.error().message);
    }
}

void Lane::do_stop(std::uint16_t index, bool publish) {
    Seat& at = seat(index);
    if (at.failed_at) {
        on_queue_drained(index, *std::exchange(at.failed_at, std::nullopt));
    } else {
        at.queue->stop(publish);
    }
}

void Lane::on_queue_drained(std::uint16_t index, std::uint32_t base) {
    place_.home.post_function(
        [owner = &place_.owner, index, base] { owner->on_queue_drained(index, base); });
}

void Lane::on_queue_broken(std::uint16_t index, std::string reason) {
    place_.home.post_function([owner = &place_.owner, index, reason = std::move(reason)] {
        owner->on_queue_broken(index, reason);
    });
}

void Lane::on_geometry_changed() {
    CHECK_ON_REACTOR(reactor_);
    shared_.geometry = device_.geometry();
    place_.home.post_function(
        [owner = &place_.owner, number = place_.number, geometry = shared_.geometry] {
            owner->on_lane_geometry(number, geometry);
        });
}

QueueCounters Lane::counters() const {
    QueueCounters sum;
    for (const Seat& at : seats_) {
        sum.add(at.queue->counters());
    }
    return sum;
}

}  // namespace remora::frontends::vhost_user_blk
