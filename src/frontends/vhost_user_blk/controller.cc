// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/controller.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/log.h"

namespace remora::frontends::vhost_user_blk {

using core::ErrorKind;
using log::kv;

reactor::Task<Controller::Made> Controller::create(ControllerSpec spec,
                                                   block::Device& device,
                                                   std::vector<block::ReactorContext> contexts) {
    CHECK(!contexts.empty());
    CHECK_ON_REACTOR(contexts[0].reactor);
    if (spec.queues == 0 || spec.queues > kMaxQueues) {
        co_return core::fail(
            ErrorKind::InvalidArgument,
            "a virtio-blk device has 1 to 64 queues, not " + std::to_string(spec.queues));
    }
    const auto lanes = std::min<std::size_t>(contexts.size(), spec.queues);
    std::unique_ptr<Controller> self(new Controller(std::move(spec), device, contexts[0].reactor));
    core::Result<void> opened = co_await self->open_lanes(std::span(contexts).first(lanes));
    if (opened) {
        auto acceptor = self->reactor_.io().listen(
            reactor::Endpoint::unix_path(self->spec_.socket_path), *self);
        if (acceptor) {
            self->acceptor_ = std::move(*acceptor);
            co_return self;
        }
        opened = std::unexpected(acceptor.error());
    }
    co_await self->close_lanes();
    co_return std::unexpected(opened.error());
}

Controller::Controller(ControllerSpec spec, block::Device& device, reactor::Reactor& home)
    : spec_(std::move(spec)), device_(device), reactor_(home), waiting_timer_(*this) {}

Controller::~Controller() {
    CHECK(front_ends_.empty() && lanes_.empty() && waiting_ == reactor::kNoHandle);
}

reactor::Task<core::Result<void>> Controller::open_lanes(
    std::span<const block::ReactorContext> contexts) {
    LanePlace place{.home = reactor_,
                    .owner = *this,
                    .lanes = static_cast<std::uint16_t>(contexts.size()),
                    .queues = spec_.queues};
    lanes_.resize(contexts.size());
    for (; place.number < place.lanes; ++place.number) {
        const block::ReactorContext& context = contexts[place.number];
        OpenLane& at = lanes_[place.number];
        block::Geometry geometry;
        const auto open = [&]() -> core::Result<void> {
            auto lane = Lane::open(place, device_, context);
            if (!lane) {
                return std::unexpected(lane.error());
            }
            at.lane = std::move(*lane);
            geometry = at.lane->geometry();
            return {};
        };
        const auto opened = co_await reactor::call_on(context.reactor, open);
        if (!opened) {
            co_return opened;
        }
        if (!at.geometry) {
            at.geometry = geometry;  // unless it has told of another one by now
        }
    }
    co_return core::Result<void>{};
}

reactor::Task<> Controller::close_lanes() {
    co_await visits_.close();
    for (OpenLane& at : lanes_) {
        if (at.lane != nullptr) {
            co_await reactor::call_on(at.lane->reactor(), [&] { at.lane.reset(); });
        }
    }
    lanes_.clear();
}

reactor::Task<core::Result<void>> Controller::stop(reactor::Nanos limit) {
    CHECK_ON_REACTOR(reactor_);
    const reactor::Nanos deadline = reactor_.now() + limit;
    stopping_ = true;
    acceptor_.reset();
    waiting_timer_.cancel();
    if (waiting_ != reactor::kNoHandle) {
        refuse(std::exchange(waiting_, reactor::kNoHandle));
    }
    for (const auto& front_end : front_ends_) {
        front_end->shut_down();
    }
    while (!front_ends_.empty()) {
        const bool notified = co_await front_end_ended_.wait_until(deadline);
        if (!notified && !front_ends_.empty()) {
            co_return core::fail(
                ErrorKind::DeadlineExceeded,
                "volume '" + device_.name() + "' still holds requests of '" + spec_.name + "'");
        }
    }
    co_await close_lanes();
    co_return core::Result<void>{};
}

void Controller::on_lane_geometry(std::size_t lane, const block::Geometry& geometry) {
    CHECK_ON_REACTOR(reactor_);
    lanes_[lane].geometry = geometry;
    for (const auto& front_end : front_ends_) {
        front_end->on_config_changed();
    }
}

// What the guest is told: where the volume grows, that is seen by one lane after another, and a
// request for what is new could go by any.
block::Geometry Controller::geometry() const {
    block::Geometry told = *lanes_.front().geometry;
    for (const OpenLane& at : lanes_) {
        told.block_count = std::min(told.block_count, at.geometry->size_bytes() / told.block_size);
    }
    return told;
}

ControllerStatus Controller::status() const {
    const std::size_t active = with_queues_ == nullptr ? 0 : with_queues_->running();
    return {.connected = any_live(), .active_queues = static_cast<std::uint32_t>(active)};
}

bool Controller::any_live() const {
    return std::ranges::any_of(front_ends_, [](const auto& one) { return one->live(); });
}

reactor::Task<QueueCounters> Controller::counters() {
    QueueCounters sum;
    co_await visit_lanes([&sum](const Lane& lane) { sum.add(lane.counters()); });
    co_return sum;
}

void Controller::on_accept(reactor::Handle connection) {
    if (stopping_) {
        refuse(connection);
    } else if (front_ends_.size() < kMaxFrontEnds) {
        open_front_end(connection);
    } else if (waiting_ == reactor::kNoHandle) {
        waiting_ = connection;
        reactor_.arm(waiting_timer_, reactor_.now() + kSuccessorWait);
    } else {
        refuse(connection);
    }
}

void Controller::on_timer(reactor::Timer& /*timer*/) {
    if (waiting_ == reactor::kNoHandle) {
        return;
    }
    if (std::ranges::all_of(front_ends_, [](const auto& one) { return one->live(); })) {
        log::warn("third front end refused", kv("device", spec_.name));
        refuse(std::exchange(waiting_, reactor::kNoHandle));
        return;
    }
    // One is gone and its last requests drain: this one is next.
    reactor_.arm(waiting_timer_, reactor_.now() + kSuccessorWait);
}

void Controller::refuse(reactor::Handle connection) {
    reactor_.io().close(connection);
}

void Controller::open_front_end(reactor::Handle connection) {
    auto stream = reactor_.io().adopt_stream(connection);
    if (!stream) {
        log::warn("front end lost", kv("device", spec_.name), kv("reason", stream.error().message));
        return;
    }
    log::info("vhost-user session opened", kv("device", spec_.name));
    FrontEndOwner& owner = *this;
    front_ends_.push_back(
        std::make_unique<FrontEnd>(reactor_, std::move(*stream), owner, spec_.name));
}

bool Controller::claim_queues(FrontEnd& front_end) {
    if (with_queues_ == nullptr) {
        with_queues_ = &front_end;
    }
    return with_queues_ == &front_end;
}

void Controller::release_queues(FrontEnd& front_end) {
    if (with_queues_ != &front_end) {
        return;
    }
    with_queues_ = nullptr;
    for (const auto& other : front_ends_) {
        other->start_held();
    }
}

void Controller::on_front_end_ended(FrontEnd& front_end) {
    CHECK(with_queues_ != &front_end);
    std::erase_if(front_ends_, [&](const auto& one) { return one.get() == &front_end; });
    front_end_ended_.notify();
    if (waiting_ != reactor::kNoHandle) {
        waiting_timer_.cancel();
        open_front_end(std::exchange(waiting_, reactor::kNoHandle));
    }
}

std::uint64_t Controller::features() const {
    return offered_features(geometry());
}

std::uint64_t Controller::possible_features() const {
    block::Geometry able;
    able.read_only = able.can_discard = able.can_write_zeroes = true;
    return offered_features(able);
}

void Controller::read_config(std::span<std::byte> config) const {
    const virtio::BlkConfig space = make_config(geometry(), spec_.queues);
    CHECK(config.size() >= sizeof(space));
    std::memcpy(config.data(), &space, sizeof(space));
}

void Controller::on_queue_drained(std::uint16_t index, std::uint32_t base) {
    CHECK(with_queues_ != nullptr);
    with_queues_->on_queue_drained(index, base);
}

void Controller::on_queue_broken(std::uint16_t index, const std::string& reason) {
    CHECK(with_queues_ != nullptr);
    with_queues_->on_queue_broken(index, reason);
}

void Controller::on_queue_updated(std::uint16_t /*index*/) {
    CHECK(with_queues_ != nullptr);
    with_queues_->on_queue_updated();
}

}  // namespace remora::frontends::vhost_user_blk
