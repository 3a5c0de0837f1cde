// SPDX-License-Identifier: Apache-2.0
#include "frontends/vhost_user_blk/front_end.h"

#include <utility>

#include "core/check.h"
#include "core/probe.h"

namespace remora::frontends::vhost_user_blk {

using virtio::vhost_user::QueueParts;
using virtio::vhost_user::QueueSetup;

FrontEnd::FrontEnd(reactor::Reactor& reactor,
                   std::unique_ptr<reactor::Stream> stream,
                   FrontEndOwner& owner,
                   const std::string& name)
    : reactor_(reactor),
      owner_(owner),
      places_(owner.queue_count()),
      session_(reactor, std::move(stream), *this, name) {}

FrontEnd::~FrontEnd() {
    CHECK(running_ == 0);
    unlink();
}

void FrontEnd::start_queue(std::uint16_t index, const QueueSetup& setup) {
    Place& place = places_[index];
    CHECK(place.state == Place::State::Idle);
    place.setup = setup;
    place.stop_wanted = false;
    if (owner_.claim_queues(*this)) {
        start(index);
    } else {
        REMORA_COVER("guest: a second front end's queue waits for the first one's");
        place.state = Place::State::Held;
    }
}

/// Of queues that are its own.
void FrontEnd::start(std::uint16_t index) {
    places_[index].state = Place::State::Running;
    ++running_;
    owner_.start_queue(index, places_[index].setup);
}

void FrontEnd::start_held() {
    for (std::uint16_t i = 0; i < queue_count(); ++i) {
        if (places_[i].state != Place::State::Held) {
            continue;
        }
        if (!owner_.claim_queues(*this)) {
            return;
        }
        start(i);
        if (places_[i].stop_wanted) {
            owner_.stop_queue(i, true);
        }
    }
}

void FrontEnd::stop_queue(std::uint16_t index, bool publish) {
    Place& place = places_[index];
    switch (place.state) {
        case Place::State::Running:
            owner_.stop_queue(index, publish);
            return;
        case Place::State::Held:
            if (publish) {
                // What a dead process left in flight runs before the ring's index is told.
                place.stop_wanted = true;
            } else {
                place.state = Place::State::Leaving;
                if (!linked()) {
                    reactor_.run_soon(*this);  // the session is not told from within its own call
                }
            }
            return;
        case Place::State::Leaving:
            return;
        case Place::State::Idle:
            CHECK(false);
    }
}

bool FrontEnd::update_queue(std::uint16_t index, const QueueParts& parts) {
    Place& place = places_[index];
    place.setup.parts = parts;
    if (place.state == Place::State::Held) {
        return true;  // it will start with them
    }
    CHECK(place.state == Place::State::Running);
    owner_.update_queue(index, parts);
    return false;
}

void FrontEnd::run() {
    for (std::uint16_t i = 0; i < queue_count(); ++i) {
        Place& place = places_[i];
        if (place.state == Place::State::Leaving) {
            place.state = Place::State::Idle;
            session_.on_queue_stopped(i, std::exchange(place.setup, {}).base);
        }
    }
}

void FrontEnd::on_queue_drained(std::uint16_t index, std::uint32_t base) {
    Place& place = places_[index];
    CHECK(place.state == Place::State::Running);
    place.state = Place::State::Idle;
    place.setup = {};
    --running_;
    session_.on_queue_stopped(index, base);  // which may start queues anew
    if (running_ == 0) {
        owner_.release_queues(*this);
    }
}

void FrontEnd::on_queue_broken(std::uint16_t index, const std::string& reason) {
    session_.fail_soon("queue " + std::to_string(index) + ": " + reason);
}

}  // namespace remora::frontends::vhost_user_blk
