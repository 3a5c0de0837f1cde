// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/vhost_master.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace remora::sim {

using reactor::Nanos;
using reactor::Task;

VhostMaster::VhostMaster(reactor::Reactor& reactor,
                         HostWorld& world,
                         std::string path,
                         MasterLimits limits)
    : reactor_(reactor),
      world_(world),
      path_(std::move(path)),
      limits_(limits),
      channel_(
          reactor,
          [this] { changed_.notify(); },
          [this](const std::string& what) { world_.violation(path_ + ": " + what); }) {}

VhostMaster::~VhostMaster() {
    CHECK(device_ == nullptr);
}

void VhostMaster::open() {
    gate_.spawn([](VhostMaster* self) -> Task<> { co_await self->run(); }, this);
}

Task<> VhostMaster::close() {
    closing_ = true;
    channel_.close();
    changed_.notify();
    co_await gate_.close();
}

void VhostMaster::attach(VhostDevice& device) {
    CHECK(device_ == nullptr && state_ == State::Idle);
    device_ = &device;
    has_features_ = false;
    features_ = 0;
    bases_.assign(device.options().queues, std::nullopt);
    wanted_ = State::Idle;
}

Task<> VhostMaster::detach() {
    wanted_ = State::Idle;
    if (stepping_) {
        channel_.close();  // What it waits for will not come.
    }
    while (stepping_) {
        reactor::Signal changed;
        waiting_.push_back(&changed);
        co_await changed.wait_until(core::kNever);  // step() has deadlines
        std::erase(waiting_, &changed);
    }
    state_ = State::Idle;
    device_ = nullptr;
    share_wanted_ = false;
    forget_inflight();
    for (const reactor::Handle handle : std::exchange(masked_calls_, {})) {
        reactor_.io().close(handle);
    }
}

void VhostMaster::start() {
    CHECK(device_ != nullptr);
    wanted_ = State::Running;
    changed_.notify();
}

void VhostMaster::forget_rings() {
    CHECK(wanted_ != State::Running && state_ != State::Running);
    bases_.assign(bases_.size(), std::nullopt);
    forget_inflight();
}

void VhostMaster::share_memory_again() {
    share_wanted_ = state_ == State::Running;
    changed_.notify();
}

void VhostMaster::drop_connection() {
    drop_wanted_ = channel_.is_open();
    changed_.notify();
}

Task<bool> VhostMaster::reach(State wanted, bool up, Nanos deadline) {
    wanted_ = wanted;
    changed_.notify();
    while (reactor_.now() < deadline && !closing_ &&
           (stepping_ || (up ? state_ < wanted : state_ > wanted))) {
        reactor::Signal changed;
        waiting_.push_back(&changed);
        co_await changed.wait_until(deadline);
        std::erase(waiting_, &changed);
    }
    co_return up ? state_ >= wanted : state_ <= wanted;
}

Task<bool> VhostMaster::realize(Nanos deadline) {
    CHECK(device_ != nullptr);
    co_return co_await reach(State::Realized, true, deadline);
}

Task<bool> VhostMaster::stop(Nanos deadline) {
    const bool stopped = co_await reach(State::Realized, false, deadline);
    if (!stopped) {
        channel_.close();
        changed_.notify();
    }
    co_return stopped&& channel_.is_open();
}

void VhostMaster::come_to(State state) {
    state_ = state;
    for (reactor::Signal* waiting : waiting_) {
        waiting->notify();
    }
}

bool VhostMaster::settled() const {
    return device_ == nullptr || (state_ == wanted_ && !share_wanted_);
}

// Up or down by one state. False: the connection is of no more use.
Task<bool> VhostMaster::step() {
    share_wanted_ = false;  // Rings that start or stop are told their memory anyway.
    if (state_ == State::Running && wanted_ == State::Running) {
        co_return co_await share_memory();
    }
    if (state_ < wanted_) {
        if (state_ == State::Idle) {
            if (!co_await negotiate()) {
                co_return false;
            }
            state_ = State::Realized;
            co_return true;
        }
        if (!co_await start_rings()) {
            co_return false;
        }
        state_ = State::Running;
        world_.trace("rings started", bases_.size(), bases_.front().value_or(0));
        device_->on_started();
        co_return true;
    }
    if (state_ == State::Running) {
        if (!co_await stop_rings()) {
            co_return false;
        }
        state_ = State::Realized;
        co_return true;
    }
    state_ = State::Idle;
    co_return true;
}

void VhostMaster::drop() {
    channel_.close();
    drop_wanted_ = false;
    share_wanted_ = false;
    if (device_ != nullptr && state_ != State::Idle) {
        // No answer tells where the rings stopped: what is used is what counts.
        for (std::uint16_t i = 0; i < bases_.size(); ++i) {
            if (!device_->ring(i).packed()) {
                bases_[i] = device_->ring(i).used_index();
            }
        }
    }
    world_.trace("connection down", connections_, static_cast<std::uint64_t>(state_));
    come_to(State::Idle);
}

Task<> VhostMaster::run() {
    while (!closing_) {
        const auto opened = co_await channel_.open(path_, reactor_.now() + limits_.connect);
        if (!opened) {
            if (!closing_) {
                co_await changed_.wait_until(reactor_.now() + limits_.reconnect);
            }
            continue;
        }
        ++connections_;
        world_.trace("connection up", connections_, static_cast<std::uint64_t>(wanted_));
        while (!closing_ && channel_.is_open() && !drop_wanted_) {
            if (settled()) {
                co_await changed_.wait_until(core::kNever);  // a request or the end of the stream
                continue;
            }
            stepping_ = true;
            const bool good = co_await step();
            stepping_ = false;
            come_to(state_);
            if (!good) {
                break;
            }
        }
        drop();
        const Nanos again = reactor_.now() + limits_.reconnect;
        while (!closing_ && reactor_.now() < again) {
            co_await changed_.wait_until(again);
        }
    }
}

}  // namespace remora::sim
