// SPDX-License-Identifier: Apache-2.0
// What VhostMaster says on the socket, in QEMU's order. Each of these is false when the connection
// ended, an answer did not come in time or was no.
#include <array>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "tests/sim/host/message_bytes.h"
#include "tests/sim/host/vhost_master.h"
#include "virtio/ring_layout.h"

namespace remora::sim {

namespace vu = virtio::vhost_user;
using reactor::Handle;
using reactor::Task;
using virtio::Feature;

namespace {

std::vector<std::byte> inflight_bytes(const vu::InflightDescription& description) {
    std::vector<std::byte> bytes(vu::kInflightWireBytes);
    std::memcpy(bytes.data(), &description, sizeof(description));
    return bytes;
}

}  // namespace

Task<std::optional<VhostReply>> VhostMaster::ask(RequestType type, std::vector<std::byte> payload) {
    channel_.send(type, payload, {}, false, true);
    auto reply = co_await channel_.receive(reactor_.now() + limits_.answer);
    if (!reply) {
        world_.trace("no answer", static_cast<std::uint64_t>(type), channel_.is_open() ? 1 : 0);
        co_return std::nullopt;
    }
    if (reply->header.request != static_cast<std::uint32_t>(type)) {
        world_.violation(path_ + ": the answer to " + std::string(vu::to_string(type)) +
                         " is one to request " + std::to_string(reply->header.request.get()));
        co_return std::nullopt;
    }
    co_return reply;
}

Task<std::optional<std::uint64_t>> VhostMaster::ask_u64(RequestType type) {
    const auto reply = co_await ask(type, {});
    co_return reply ? reply->u64() : std::nullopt;
}

// Without REPLY_ACK, or when few answers are asked for, a refusal ends the connection instead.
Task<bool> VhostMaster::set(RequestType type,
                            std::vector<std::byte> payload,
                            std::vector<Handle> handles) {
    const bool acknowledged =
        vu::has(protocol_features_, vu::ProtocolFeature::ReplyAck) &&
        (device_->options().acknowledge_all || type == RequestType::SetMemTable);
    channel_.send(type, payload, handles, acknowledged, acknowledged);
    if (!acknowledged) {
        co_return channel_.is_open();
    }
    const auto reply = co_await channel_.receive(reactor_.now() + limits_.answer);
    const bool done = reply && reply->u64() == 0U;
    if (!done) {
        world_.trace(reply ? "refused" : "not acknowledged", static_cast<std::uint64_t>(type), 0);
    }
    co_return done;
}

Task<bool> VhostMaster::set_u64(RequestType type, std::uint64_t value) {
    co_return co_await set(type, u64_bytes(value));
}

void VhostMaster::make_masked_calls() {
    while (masked_calls_.size() < bases_.size()) {
        masked_calls_.push_back(world_.create_event());
    }
}

void VhostMaster::forget_inflight() {
    if (inflight_handle_ != reactor::kNoHandle) {
        reactor_.io().close(std::exchange(inflight_handle_, reactor::kNoHandle));
    }
}

Task<bool> VhostMaster::negotiate() {
    protocol_features_ = 0;
    const auto offered = co_await ask_u64(RequestType::GetFeatures);
    if (!offered || !virtio::has(*offered, Feature::VhostUserProtocol)) {
        co_return false;
    }
    const auto protocol = co_await ask_u64(RequestType::GetProtocolFeatures);
    if (!protocol) {
        co_return false;
    }
    std::uint64_t wanted = vu::bit(vu::ProtocolFeature::MultiQueue) |
                           vu::bit(vu::ProtocolFeature::ReplyAck) |
                           vu::bit(vu::ProtocolFeature::Config);
    if (device_->options().inflight) {
        wanted |= vu::bit(vu::ProtocolFeature::InflightSharedMemory);
    }
    channel_.send(RequestType::SetProtocolFeatures, u64_bytes(*protocol & wanted), {}, false,
                  false);
    protocol_features_ = *protocol & wanted;
    if (vu::has(protocol_features_, vu::ProtocolFeature::MultiQueue)) {
        const auto queues = co_await ask_u64(RequestType::GetQueueNum);
        if (!queues || *queues < bases_.size()) {
            world_.trace("too few queues", queues.value_or(0), bases_.size());
            co_return false;
        }
    }
    if (!has_features_) {
        features_ = device_->choose_features(*offered) | virtio::bit(Feature::VhostUserProtocol);
        has_features_ = true;
    }
    if (!co_await set(RequestType::SetOwner, {})) {
        co_return false;
    }
    // A ring runs on a call that nobody hears until the real one comes.
    make_masked_calls();
    for (std::uint16_t i = 0; i < bases_.size(); ++i) {
        if (!co_await set(RequestType::SetVringCall, u64_bytes(i), {masked_calls_[i]})) {
            co_return false;
        }
    }
    co_return co_await read_config();
}

Task<bool> VhostMaster::read_config() {
    vu::ConfigHeader header;
    header.size = sizeof(virtio::BlkConfig);
    std::vector<std::byte> payload(sizeof(header) + sizeof(virtio::BlkConfig));
    std::memcpy(payload.data(), &header, sizeof(header));
    const std::size_t size = payload.size();
    const auto reply = co_await ask(RequestType::GetConfig, std::move(payload));
    if (!reply) {
        co_return false;
    }
    if (reply->payload.size() != size) {
        world_.violation(path_ + ": the configuration space is cut short");
        co_return false;
    }
    virtio::BlkConfig config;
    std::memcpy(&config, reply->payload.data() + sizeof(header), sizeof(config));
    device_->on_config(config);
    co_return true;
}

// QEMU keeps the memory for as long as the device is there.
Task<bool> VhostMaster::share_inflight() {
    if (!vu::has(protocol_features_, vu::ProtocolFeature::InflightSharedMemory)) {
        co_return true;
    }
    if (inflight_handle_ == reactor::kNoHandle) {
        vu::InflightDescription wanted;
        wanted.queue_count = static_cast<std::uint16_t>(bases_.size());
        wanted.queue_size = device_->options().queue_size;
        auto reply = co_await ask(RequestType::GetInflightFd, inflight_bytes(wanted));
        if (!reply) {
            co_return false;
        }
        const auto made = reply->as<vu::InflightDescription>();
        if (!made || reply->handles.size() != 1 || made->mmap_size == 0U) {
            world_.violation(path_ + ": no in-flight memory came");
            co_return false;
        }
        inflight_ = *made;
        inflight_handle_ = reply->handles.front();
        reply->handles.clear();
    }
    co_return co_await set(RequestType::SetInflightFd, inflight_bytes(inflight_),
                           {inflight_handle_});
}

Task<bool> VhostMaster::share_memory() {
    const GuestRam& ram = device_->ram();
    const auto regions = ram.regions();
    vu::MemoryTableMessage table;
    table.count = static_cast<std::uint32_t>(regions.size());
    for (std::size_t i = 0; i < regions.size(); ++i) {
        table.regions[i] = regions[i];
    }
    auto payload = bytes_of(table);
    payload.resize(offsetof(vu::MemoryTableMessage, regions) +
                   regions.size() * sizeof(vu::MemoryRegion));
    co_return co_await set(RequestType::SetMemTable, std::move(payload),
                           std::vector<Handle>(regions.size(), ram.handle()));
}

Task<bool> VhostMaster::start_ring(std::uint16_t queue) {
    const std::uint16_t size = device_->ring(queue).size();
    const std::uint32_t base = bases_[queue].value_or(
        device_->ring(queue).packed() ? virtio::PackedBase::kStart : std::uint32_t{0});
    if (!co_await set(RequestType::SetVringNum, bytes_of(vring_state(queue, size))) ||
        !co_await set(RequestType::SetVringBase, bytes_of(vring_state(queue, base))) ||
        !co_await set(RequestType::SetVringAddr, bytes_of(device_->ring(queue).addresses(queue)))) {
        co_return false;
    }
    co_return co_await set(RequestType::SetVringKick, u64_bytes(queue), {device_->kick(queue)});
}

Task<bool> VhostMaster::start_rings() {
    if (!co_await share_inflight() || !co_await set_u64(RequestType::SetFeatures, features_) ||
        !co_await share_memory()) {
        co_return false;
    }
    const auto count = static_cast<std::uint16_t>(bases_.size());
    const bool early = device_->options().early_calls;
    for (std::uint16_t i = 0; i < count; ++i) {
        if (early && !co_await set(RequestType::SetVringCall, u64_bytes(i), {device_->call(i)})) {
            co_return false;
        }
        if (!co_await start_ring(i)) {
            co_return false;
        }
    }
    for (std::uint16_t i = 0; i < count; ++i) {
        if (!co_await set(RequestType::SetVringEnable, bytes_of(vring_state(i, 1)))) {
            co_return false;
        }
    }
    for (std::uint16_t i = 0; i < count && !early; ++i) {
        if (!co_await set(RequestType::SetVringCall, u64_bytes(i), {device_->call(i)})) {
            co_return false;
        }
    }
    co_return true;
}

Task<bool> VhostMaster::stop_rings() {
    for (std::uint16_t i = 0; i < bases_.size(); ++i) {
        const auto reply = co_await ask(RequestType::GetVringBase, bytes_of(vring_state(i, 0)));
        const auto state = reply ? reply->as<vu::VringState>() : std::nullopt;
        if (!state) {
            co_return false;
        }
        const std::uint32_t base = state->number;
        const std::uint32_t right = device_->ring(i).stopped_base();
        if (state->index != i || base != right) {
            world_.violation(path_ + ": queue " + std::to_string(i) + " stopped at " +
                             std::to_string(base) + " and should at " + std::to_string(right));
        }
        bases_[i] = base;
    }
    co_return true;
}

}  // namespace remora::sim
