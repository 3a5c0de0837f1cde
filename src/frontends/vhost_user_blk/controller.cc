// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/controller.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "core/check.h"
#include "core/log.h"

namespace remora::frontends::vhost_user_blk {

using core::ErrorKind;
using log::kv;
using virtio::vhost_user::Session;

core::Result<std::unique_ptr<Controller>> Controller::create(const ControllerSpec& spec,
                                                             block::Device& device,
                                                             block::ReactorContext& context) {
    CHECK_ON_REACTOR(context.reactor);
    if (spec.queues == 0 || spec.queues > kMaxQueues) {
        return core::fail(
            ErrorKind::InvalidArgument,
            "a virtio-blk device has 1 to 64 queues, not " + std::to_string(spec.queues));
    }
    std::unique_ptr<Controller> self(new Controller(spec, device, context));
    auto channel = device.open_channel();
    if (!channel) {
        return core::fail("open volume '" + device.name() + "'", channel.error());
    }
    self->channel_ = std::move(*channel);
    self->shared_.channel = self->channel_.get();
    device.add_listener(*self);
    auto acceptor =
        context.reactor.io().listen(reactor::Endpoint::unix_path(spec.socket_path), *self);
    if (!acceptor) {
        return std::unexpected(acceptor.error());
    }
    self->acceptor_ = std::move(*acceptor);
    return self;
}

Controller::Controller(const ControllerSpec& spec,
                       block::Device& device,
                       block::ReactorContext& context)
    : spec_(spec), device_(device), reactor_(context.reactor), waiting_timer_(*this) {
    shared_.geometry = device.geometry();
    shared_.identity = make_identity(device.uuid());
    QueueOwner& owner = *this;
    for (std::uint16_t i = 0; i < spec.queues; ++i) {
        queues_.push_back(std::make_unique<Queue>(reactor_, shared_, owner, i));
    }
}

Controller::~Controller() {
    CHECK(session_ == nullptr && waiting_ == reactor::kNoHandle);
    close_channel();
}

void Controller::close_channel() {
    if (channel_ != nullptr) {
        device_.remove_listener(*this);
        channel_.reset();
        shared_.channel = nullptr;
    }
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
    if (session_ != nullptr) {
        session_->shut_down();
    }
    while (session_ != nullptr) {
        const bool notified = co_await session_ended_.wait_until(deadline);
        if (!notified && session_ != nullptr) {
            co_return core::fail(
                ErrorKind::DeadlineExceeded,
                "volume '" + device_.name() + "' still holds requests of '" + spec_.name + "'");
        }
    }
    close_channel();
    co_return core::Result<void>{};
}

void Controller::on_geometry_changed() {
    CHECK_ON_REACTOR(reactor_);
    shared_.geometry = device_.geometry();
    if (session_ != nullptr) {
        session_->on_config_changed();
    }
}

ControllerStatus Controller::status() const {
    if (session_ == nullptr) {
        return {};
    }
    return {.connected = session_->live(), .active_queues = session_->running_queues()};
}

QueueCounters Controller::counters() const {
    QueueCounters sum;
    for (const auto& queue : queues_) {
        const QueueCounters& counters = queue->counters();
        sum.io.add(counters.io);
        sum.batches += counters.batches;
        sum.kicks += counters.kicks;
        sum.interrupts += counters.interrupts;
        sum.refused_chains += counters.refused_chains;
        sum.resubmitted += counters.resubmitted;
    }
    return sum;
}

void Controller::on_accept(reactor::Handle connection) {
    if (stopping_) {
        refuse(connection);
    } else if (session_ == nullptr) {
        open_session(connection);
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
    if (session_ != nullptr && session_->live()) {
        log::warn("second front end refused", kv("device", spec_.name));
        refuse(std::exchange(waiting_, reactor::kNoHandle));
        return;
    }
    // The first front end is gone and its last requests drain: the second one is next.
    reactor_.arm(waiting_timer_, reactor_.now() + kSuccessorWait);
}

void Controller::refuse(reactor::Handle connection) {
    reactor_.io().close(connection);
}

void Controller::open_session(reactor::Handle connection) {
    auto stream = reactor_.io().adopt_stream(connection);
    if (!stream) {
        log::warn("front end lost", kv("device", spec_.name), kv("reason", stream.error().message));
        return;
    }
    log::info("vhost-user session opened", kv("device", spec_.name));
    SessionDevice& device = *this;
    session_ = std::make_unique<Session>(reactor_, std::move(*stream), device, spec_.name);
}

void Controller::on_session_ended() {
    session_.reset();
    session_ended_.notify();
    if (waiting_ != reactor::kNoHandle) {
        waiting_timer_.cancel();
        open_session(std::exchange(waiting_, reactor::kNoHandle));
    }
}

std::uint64_t Controller::features() const {
    return offered_features(shared_.geometry);
}

std::uint64_t Controller::possible_features() const {
    block::Geometry able;
    able.read_only = able.can_discard = able.can_write_zeroes = true;
    return offered_features(able);
}

void Controller::read_config(std::span<std::byte> config) const {
    const virtio::BlkConfig space = make_config(shared_.geometry, spec_.queues);
    CHECK(config.size() >= sizeof(space));
    std::memcpy(config.data(), &space, sizeof(space));
}

core::Result<void> Controller::start_queue(std::uint16_t index,
                                           const virtio::vhost_user::QueueSetup& setup) {
    return queues_[index]->start(setup);
}

void Controller::stop_queue(std::uint16_t index, bool publish) {
    queues_[index]->stop(publish);
}

void Controller::set_call(std::uint16_t index, reactor::Event* call) {
    queues_[index]->set_call(call);
}

void Controller::on_queue_drained(std::uint16_t index, std::uint16_t last_avail) {
    CHECK(session_ != nullptr);
    session_->on_queue_stopped(index, last_avail);
}

void Controller::on_queue_broken(std::uint16_t index, std::string reason) {
    CHECK(session_ != nullptr);
    session_->fail_soon("queue " + std::to_string(index) + ": " + reason);
}

}  // namespace remora::frontends::vhost_user_blk
