// SPDX-License-Identifier: Apache-2.0
// The session's life: messages in and answers out, queues started and drained, the end.
#include "virtio/vhost_user/session.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "virtio/packed_layout.h"
#include "virtio/vhost_user/device_ring.h"

namespace remora::virtio::vhost_user {

using log::kv;

Session::Session(reactor::Reactor& reactor,
                 std::unique_ptr<reactor::Stream> stream,
                 SessionDevice& device,
                 std::string name)
    : reactor_(reactor),
      device_(device),
      name_(std::move(name)),
      connection_(reactor.io(), std::move(stream), *this),
      vrings_(device.queue_count()) {
    CHECK(vrings_.size() <= kVringIndexMask);
}

Session::~Session() {
    CHECK(running_queues() == 0 && updating_ == 0);
    unlink();
}

std::uint32_t Session::running_queues() const {
    return static_cast<std::uint32_t>(std::ranges::count_if(vrings_, &Vring::running));
}

bool Session::any_stopping() const {
    return std::ranges::any_of(vrings_, &Vring::stopping);
}

bool Session::on_message(Message& message) {
    if (state_ != State::Open || failure_) {
        return false;  // shutting down: the message stays unanswered and the stream closes
    }
    return deal_with(message);
}

bool Session::deal_with(Message& message) {
    Outcome outcome = outcome_ ? std::move(*outcome_) : handle(message);
    outcome_.reset();
    if (updating_ > 0 && outcome.kind != Outcome::Kind::Wait) {
        outcome_ = std::move(outcome);
        return settle(message, wait());
    }
    return settle(message, outcome);
}

// Answers a handled message. Returns whether it is dealt with.
bool Session::settle(const Message& message, const Outcome& outcome) {
    const bool acknowledge =
        message.needs_reply() && has(protocol_features_, ProtocolFeature::ReplyAck);
    switch (outcome.kind) {
        case Outcome::Kind::Replied:
            return true;
        case Outcome::Kind::Echo:
            reply(message.type(), {});
            return true;
        case Outcome::Kind::Wait:
            message_waits_ = true;
            return false;
        case Outcome::Kind::Done:
            if (acknowledge) {
                reply_u64(message.type(), 0);
            }
            return true;
        case Outcome::Kind::Refused:
            if (acknowledge) {
                log::warn("vhost-user message refused", kv("device", name_),
                          kv("message", to_string(message.type())), kv("reason", outcome.reason));
                reply_u64(message.type(), 1);
                return true;
            }
            [[fallthrough]];
        case Outcome::Kind::Fatal:
            close(std::string(to_string(message.type())) + ": " + outcome.reason);
            return true;
    }
    return true;
}

Session::Outcome Session::reply(RequestType type,
                                std::span<const std::byte> payload,
                                reactor::Handle handle) {
    CHECK(payload.size() <= connection_.reply_payload().size());
    Header header;
    header.request = static_cast<std::uint32_t>(type);
    header.flags = header_flags::kVersion | header_flags::kReply;
    header.size = static_cast<std::uint32_t>(payload.size());
    std::ranges::copy(payload, connection_.reply_payload().begin());
    connection_.reply(header, payload.size(), handle);
    return {Outcome::Kind::Replied, {}};
}

Session::Outcome Session::reply_u64(RequestType type, std::uint64_t value) {
    U64 payload;
    payload.value = value;
    return reply(type, core::as_bytes_of(payload));
}

bool Session::quiesce(std::size_t index) {
    Vring& vring = vrings_[index];
    if (vring.running && !vring.stopping) {
        vring.stopping = true;
        device_.stop_queue(static_cast<std::uint16_t>(index), true);
    }
    return !vring.running;
}

bool Session::quiesce_all() {
    bool idle = true;
    for (std::size_t i = 0; i < vrings_.size(); ++i) {
        idle &= quiesce(i);
    }
    return idle;
}

void Session::on_queue_stopped(std::uint16_t index, std::uint32_t base) {
    Vring& vring = vrings_[index];
    CHECK(vring.running && vring.stopping);
    vring.running = false;
    vring.stopping = false;
    vring.base = base;
    go_on();
}

void Session::on_queue_updated() {
    CHECK(updating_ > 0);
    --updating_;
    go_on();
}

// Once the queues are as they were told to be.
void Session::go_on() {
    if (any_stopping() || updating_ > 0) {
        return;
    }
    if (state_ == State::Closed) {
        end_if_drained();
    } else if (state_ == State::Stopping) {
        close("");
    } else if (!failure_ && std::exchange(message_waits_, false)) {
        // Not behind a queue that broke: what it was stopped with may be wrong.
        if (deal_with(connection_.message()) && connection_.open()) {
            connection_.finish_message();
        }
    }
}

std::uint32_t Session::base_of(const Vring& vring) const {
    return vring.base.value_or(packed() ? PackedBase::kStart : 0);
}

core::Result<RingMemory> Session::resolve(const Vring& vring) const {
    const bool event_index = has(features_, Feature::EventIndex);
    const memory::GuestMemory& guest = memory_.guest();
    const VringAddress& at = *vring.addresses;
    const std::size_t available_bytes =
        packed() ? packed_event::kBytes : available_ring_bytes(vring.size, event_index);
    const std::size_t used_bytes =
        packed() ? packed_event::kBytes : used_ring_bytes(vring.size, event_index);
    RingMemory rings;
    rings.descriptors = guest.whole_at_user(at.descriptors, descriptor_table_bytes(vring.size));
    rings.available = guest.whole_at_user(at.available, available_bytes);
    rings.used = guest.whole_at_user(at.used, used_bytes);
    if (rings.descriptors.empty() || rings.available.empty() || rings.used.empty()) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "a ring address is not inside the shared memory");
    }
    return rings;
}

core::Result<void> Session::start_if_ready(std::size_t index) {
    Vring& vring = vrings_[index];
    if (vring.running || !vring.started || !vring.enabled || vring.size == 0 || !vring.addresses ||
        memory_.empty()) {
        return {};
    }
    auto rings = resolve(vring);
    if (!rings) {
        return std::unexpected(rings.error());
    }
    QueueSetup setup{.rings = *rings,
                     .size = vring.size,
                     .base = base_of(vring),
                     .packed = packed(),
                     .event_index = has(features_, Feature::EventIndex),
                     .indirect = has(features_, Feature::IndirectDescriptors),
                     .inflight = {},
                     .kick = vring.kick,
                     .parts = parts_of(vring)};
    if (inflight_) {
        setup.inflight = inflight_->part(static_cast<std::uint16_t>(index), packed());
    }
    if (auto ok = DeviceRing::check(setup); !ok) {
        return ok;
    }
    vring.running = true;
    device_.start_queue(static_cast<std::uint16_t>(index), setup);
    return {};
}

QueueParts Session::parts_of(const Vring& vring) const {
    return {.memory = memory_.view(), .call = vring.call, .log = log_of(vring)};
}

void Session::update_queue(std::size_t index) {
    if (vrings_[index].running) {
        CHECK(!vrings_[index].stopping);
        const bool updated =
            device_.update_queue(static_cast<std::uint16_t>(index), parts_of(vrings_[index]));
        updating_ += updated ? 0 : 1;
    }
}

void Session::update_queues() {
    for (std::size_t i = 0; i < vrings_.size(); ++i) {
        update_queue(i);
    }
}

core::Result<void> Session::start_all() {
    core::Result<void> outcome;
    for (std::size_t i = 0; i < vrings_.size(); ++i) {
        auto started = start_if_ready(i);
        if (!started && outcome) {
            outcome = std::move(started);
        }
    }
    return outcome;
}

/// The front end's memory is as it is to be.
void Session::on_timer(reactor::Timer& /*timer*/) {
    if (message_waits_) {
        reactor_.arm(memory_change_, reactor_.now() + kMemoryChange);
    } else if (state_ == State::Open) {
        static_cast<void>(start_all());
    }
}

void Session::on_connection_lost(std::string reason) {
    close(reason);
}

void Session::fail_soon(std::string reason) {
    if (state_ != State::Closed && !failure_) {
        failure_ = std::move(reason);
        if (!linked()) {
            reactor_.run_soon(*this);
        }
    }
}

void Session::shut_down() {
    if (state_ != State::Open) {
        return;
    }
    state_ = State::Stopping;
    message_waits_ = false;
    if (quiesce_all()) {
        close("");
    }
}

// Ends the connection at once; queues give up what they hold.
void Session::close(const std::string& reason) {
    if (state_ == State::Closed) {
        return;
    }
    state_ = State::Closed;
    if (reason.empty()) {
        log::info("vhost-user session closed", kv("device", name_));
    } else {
        log::warn("vhost-user session failed", kv("device", name_), kv("reason", reason));
    }
    message_waits_ = false;
    connection_.close();
    channel_.close();
    for (std::size_t i = 0; i < vrings_.size(); ++i) {
        if (vrings_[i].running) {
            vrings_[i].stopping = true;
            device_.stop_queue(static_cast<std::uint16_t>(i), false);
        }
    }
    end_if_drained();
}

void Session::end_if_drained() {
    if (running_queues() == 0 && !linked()) {
        reactor_.run_soon(*this);
    }
}

void Session::run() {
    if (state_ != State::Closed) {
        if (auto failure = std::exchange(failure_, std::nullopt)) {
            for (Vring& vring : vrings_) {
                if (vring.err != nullptr) {
                    vring.err->signal();
                }
            }
            close(*failure);
        }
        return;
    }
    if (running_queues() == 0) {
        memory_.clear();
        device_.on_session_ended();  // may have destroyed this session
    }
}

}  // namespace remora::virtio::vhost_user
