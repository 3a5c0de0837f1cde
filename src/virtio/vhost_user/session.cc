// SPDX-License-Identifier: Apache-2.0
// The session's life: messages in and answers out, queues started and drained, the end.
#include "virtio/vhost_user/session.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/log.h"

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
    CHECK(running_queues() == 0);
    unlink();
}

std::uint32_t Session::running_queues() const {
    return static_cast<std::uint32_t>(std::ranges::count_if(vrings_, &Vring::running));
}

bool Session::any_stopping() const {
    return std::ranges::any_of(vrings_, &Vring::stopping);
}

bool Session::on_message(Message& message) {
    if (state_ != State::Open) {
        return false;  // shutting down: the message stays unanswered and the stream closes
    }
    return settle(message, handle(message));
}

// Answers a handled message. Returns whether it is dealt with.
bool Session::settle(const Message& message, const Outcome& outcome) {
    const bool acknowledge =
        message.needs_reply() && has(protocol_features_, ProtocolFeature::ReplyAck);
    switch (outcome.kind) {
        case Outcome::Kind::Replied:
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
    connection_.reply(static_cast<std::uint32_t>(type), payload, handle);
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

void Session::on_queue_stopped(std::uint16_t index, std::uint16_t last_avail) {
    Vring& vring = vrings_[index];
    CHECK(vring.running && vring.stopping);
    vring.running = false;
    vring.stopping = false;
    vring.base = last_avail;
    if (any_stopping()) {
        return;
    }
    if (state_ == State::Closed) {
        end_if_drained();
    } else if (state_ == State::Stopping) {
        close("");
    } else if (std::exchange(message_waits_, false)) {
        if (settle(connection_.message(), handle(connection_.message())) && connection_.open()) {
            connection_.finish_message();
        }
    }
}

core::Result<RingMemory> Session::resolve(const Vring& vring) const {
    const bool event_index = has(features_, Feature::EventIndex);
    const memory::GuestMemory& guest = memory_.guest();
    const VringAddress& at = *vring.addresses;
    RingMemory rings;
    rings.descriptors = guest.whole_at_user(at.descriptors, descriptor_table_bytes(vring.size));
    rings.available =
        guest.whole_at_user(at.available, available_ring_bytes(vring.size, event_index));
    rings.used = guest.whole_at_user(at.used, used_ring_bytes(vring.size, event_index));
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
                     .base = vring.base,
                     .event_index = has(features_, Feature::EventIndex),
                     .indirect = has(features_, Feature::IndirectDescriptors),
                     .memory = &memory_,
                     .inflight = {},
                     .kick = vring.kick.get(),
                     .call = vring.call.get()};
    if (inflight_) {
        setup.inflight = inflight_->part(static_cast<std::uint16_t>(index));
    }
    auto started = device_.start_queue(static_cast<std::uint16_t>(index), setup);
    vring.running = started.has_value();
    return started;
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
