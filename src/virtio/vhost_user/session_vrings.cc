// SPDX-License-Identifier: Apache-2.0
// The messages that describe, start and stop vrings. As in session_messages.cc, a handler that
// answers Wait changes nothing before the queues have drained.
#include <bit>
#include <string>
#include <utility>

#include "core/byte_reader.h"
#include "virtio/split_queue.h"
#include "virtio/vhost_user/session.h"

namespace remora::virtio::vhost_user {

namespace {

const std::string kWrongSize = "a payload of the wrong size";
const std::string kWrongHandles = "a wrong number of descriptors";
const std::string kNoSuchQueue = "no such queue";

bool same_rings(const VringAddress& a, const VringAddress& b) {
    return a.descriptors == b.descriptors && a.available == b.available && a.used == b.used;
}

}  // namespace

Session::Vring* Session::find_vring(std::uint64_t index) {
    return index < vrings_.size() ? &vrings_[index] : nullptr;
}

Session::Outcome Session::handle_vring(Message& message) {
    const RequestType type = message.type();
    if (type == RequestType::SetVringNum) {
        return set_vring_num(message);
    }
    if (type == RequestType::SetVringAddr) {
        return set_vring_addr(message);
    }
    if (type == RequestType::SetVringBase) {
        return set_vring_base(message);
    }
    if (type == RequestType::GetVringBase) {
        return get_vring_base(message);
    }
    if (type == RequestType::SetVringEnable) {
        return set_vring_enable(message);
    }
    return set_vring_event(message);
}

Session::Outcome Session::set_vring_num(const Message& message) {
    VringState state;
    if (!message.read(state)) {
        return fatal(kWrongSize);
    }
    Vring* vring = find_vring(state.index);
    if (vring == nullptr) {
        return refused(kNoSuchQueue);
    }
    const std::uint32_t size = state.number;
    // A packed ring may have any size.
    if (size == 0 || size > SplitQueue::kMaxSize || (!packed() && !std::has_single_bit(size))) {
        return refused("a queue size is a power of two up to 1024, not " + std::to_string(size));
    }
    if (!quiesce(state.index)) {
        return wait();
    }
    vring->size = static_cast<std::uint16_t>(size);
    return from(start_if_ready(state.index));
}

Session::Outcome Session::set_vring_addr(const Message& message) {
    VringAddress addresses;
    if (!message.read(addresses)) {
        return fatal(kWrongSize);
    }
    Vring* vring = find_vring(addresses.index);
    if (vring == nullptr) {
        return refused(kNoSuchQueue);
    }
    if (vring->running && vring->addresses && same_rings(*vring->addresses, addresses)) {
        // Logging begins or ends, which no request has to be waited for.
        vring->addresses = addresses;
        update_queue(addresses.index);
        return done();
    }
    if (!quiesce(addresses.index)) {
        return wait();
    }
    vring->addresses = addresses;
    if (vring->size != 0 && !memory_.empty()) {
        if (auto rings = resolve(*vring); !rings) {
            vring->addresses.reset();
            return refused(rings.error().message);
        }
    }
    return from(start_if_ready(addresses.index));
}

Session::Outcome Session::set_vring_base(const Message& message) {
    VringState state;
    if (!message.read(state)) {
        return fatal(kWrongSize);
    }
    Vring* vring = find_vring(state.index);
    // A packed ring's is two places with their wrap counters (see PackedBase).
    if (vring == nullptr || (state.number > 0xffff && !packed())) {
        return refused(vring == nullptr ? kNoSuchQueue : "an index past 65535");
    }
    if (!quiesce(state.index)) {
        return wait();
    }
    vring->base = state.number;
    return from(start_if_ready(state.index));
}

Session::Outcome Session::get_vring_base(const Message& message) {
    VringState state;
    if (!message.read(state)) {
        return fatal(kWrongSize);
    }
    Vring* vring = find_vring(state.index);
    if (vring == nullptr) {
        return fatal(kNoSuchQueue);  // its reply has no room for an error
    }
    if (!quiesce(state.index)) {
        return wait();
    }
    vring->started = false;
    vring->kick.reset();
    vring->call.reset();
    VringState answer;
    answer.index = state.index;
    answer.number = base_of(*vring);
    return reply(RequestType::GetVringBase, core::as_bytes_of(answer));
}

// Kick, call and err: the same payload, at most one descriptor.
Session::Outcome Session::set_vring_event(Message& message) {
    U64 payload;
    if (!message.read(payload)) {
        return fatal(kWrongSize);
    }
    const bool none = (payload.value & kVringNoDescriptor) != 0;
    if (message.handles.count != (none ? 0U : 1U)) {
        return fatal(kWrongHandles);
    }
    const std::uint64_t index = payload.value & kVringIndexMask;
    Vring* vring = find_vring(index);
    if (vring == nullptr) {
        return refused(kNoSuchQueue);
    }
    const bool kick = message.type() == RequestType::SetVringKick;
    if (kick && !quiesce(index)) {
        return wait();
    }
    std::shared_ptr<reactor::EventSource> event;
    if (!none) {
        auto taken = reactor_.io().take_event(message.take_handle(0));
        if (!taken) {
            return refused(taken.error().message);
        }
        event = std::move(*taken);
    }
    if (kick) {
        vring->kick = std::move(event);
        vring->started = true;
        return from(start_if_ready(index));
    }
    if (message.type() == RequestType::SetVringErr) {
        vring->err = event == nullptr ? nullptr : reactor_.io().open_event(std::move(event));
        return done();
    }
    vring->call = std::move(event);
    update_queue(index);
    return done();
}

Session::Outcome Session::set_vring_enable(const Message& message) {
    VringState state;
    if (!message.read(state)) {
        return fatal(kWrongSize);
    }
    Vring* vring = find_vring(state.index);
    if (vring == nullptr || state.number > 1) {
        return refused(vring == nullptr ? kNoSuchQueue : "enable is 0 or 1");
    }
    if (!has(features_, Feature::VhostUserProtocol)) {
        return refused("queues cannot be enabled without the protocol features bit");
    }
    if (state.number == 0 && !quiesce(state.index)) {
        return wait();
    }
    vring->enabled = state.number == 1;
    return from(start_if_ready(state.index));
}

}  // namespace remora::virtio::vhost_user
