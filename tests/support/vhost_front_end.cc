// SPDX-License-Identifier: Apache-2.0
#include "tests/support/vhost_front_end.h"

#include <array>
#include <cstring>

#include "core/check.h"

namespace remora::test {

namespace vu = virtio::vhost_user;
using virtio::Feature;

VhostFrontEnd::VhostFrontEnd(FrontEndOptions options)
    : options_(std::move(options)), ram_(options_.memory_bytes) {
    for (std::uint16_t i = 0; i < options_.queues; ++i) {
        rings_.emplace_back(ram_, data_offset_, options_.queue_size, options_.event_index,
                            options_.ring);
        data_offset_ += DriverRing::bytes_for(options_.queue_size);
        kicks_.push_back(make_eventfd());
        calls_.push_back(make_eventfd());
    }
    CHECK(data_offset_ < options_.memory_bytes);
}

bool VhostFrontEnd::fail(const std::string& what) {
    error_ = what;
    return false;
}

std::optional<std::uint64_t> VhostFrontEnd::get(RequestType type) {
    if (!socket_->send(type)) {
        return std::nullopt;
    }
    const auto reply = socket_->receive();
    return reply ? reply->u64() : std::nullopt;
}

bool VhostFrontEnd::set(RequestType type,
                        std::span<const std::byte> payload,
                        std::span<const int> fds) {
    const bool acknowledged = vu::has(protocol_features_, vu::ProtocolFeature::ReplyAck);
    if (!socket_->send(type, payload, fds, acknowledged)) {
        return fail(std::string(vu::to_string(type)) + " could not be sent");
    }
    if (acknowledged) {
        const auto reply = socket_->receive();
        if (!reply || reply->u64() != 0U) {
            return fail(std::string(vu::to_string(type)) + " was refused");
        }
    }
    return true;
}

bool VhostFrontEnd::negotiate() {
    socket_ = VhostSocket::connect(options_.path);
    if (!socket_) {
        return fail("cannot connect to " + options_.path);
    }
    protocol_features_ = 0;
    const auto offered = get(RequestType::GetFeatures);
    if (!offered || !virtio::has(*offered, Feature::VhostUserProtocol)) {
        return fail("no protocol features are offered");
    }
    offered_ = *offered;
    const auto protocol = get(RequestType::GetProtocolFeatures);
    if (!protocol) {
        return fail("no answer about protocol features");
    }
    const std::uint64_t wanted =
        vu::bit(vu::ProtocolFeature::MultiQueue) | vu::bit(vu::ProtocolFeature::ReplyAck) |
        vu::bit(vu::ProtocolFeature::Config) | vu::bit(vu::ProtocolFeature::InflightSharedMemory) |
        vu::bit(vu::ProtocolFeature::LogSharedMemory);
    const std::uint64_t agreed = *protocol & wanted;
    if (!socket_->send_u64(RequestType::SetProtocolFeatures, agreed)) {
        return fail("protocol features could not be set");
    }
    protocol_features_ = agreed;
    if (vu::has(agreed, vu::ProtocolFeature::MultiQueue)) {
        device_queues_ = get(RequestType::GetQueueNum).value_or(0);
        if (device_queues_ < options_.queues) {
            return fail("the device has only " + std::to_string(device_queues_) + " queues");
        }
    }
    std::uint64_t refused = 0;
    refused |= options_.event_index ? 0 : virtio::bit(Feature::EventIndex);
    refused |= options_.indirect ? 0 : virtio::bit(Feature::IndirectDescriptors);
    refused |= options_.ring == RingKind::Packed ? 0 : virtio::bit(Feature::RingPacked);
    const std::uint64_t known =
        virtio::bit(Feature::Version1) | virtio::bit(Feature::EventIndex) |
        virtio::bit(Feature::IndirectDescriptors) | virtio::bit(Feature::VhostUserProtocol) |
        virtio::bit(Feature::BlkSegMax) | virtio::bit(Feature::BlkBlkSize) |
        virtio::bit(Feature::BlkFlush) | virtio::bit(Feature::BlkMultiQueue) |
        virtio::bit(Feature::BlkDiscard) | virtio::bit(Feature::BlkWriteZeroes) |
        virtio::bit(Feature::BlkReadOnly) | virtio::bit(Feature::BlkTopology) |
        virtio::bit(Feature::RingPacked);
    features_ = offered_ & known & ~refused;
    if (options_.event_index && !virtio::has(features_, Feature::EventIndex)) {
        return fail("the device does not offer event indices");
    }
    if (options_.ring == RingKind::Packed && !virtio::has(features_, Feature::RingPacked)) {
        return fail("the device does not offer packed rings");
    }
    vu::U64 features;
    features.value = features_;
    return set(RequestType::SetOwner, {}) &&
           set(RequestType::SetFeatures, core::as_bytes_of(features));
}

bool VhostFrontEnd::share_memory() {
    vu::MemoryTableMessage table;
    table.count = 1;
    table.regions[0] = ram_.region();
    const int fd = ram_.fd();
    const auto payload = core::as_bytes_of(table).first(8 + sizeof(vu::MemoryRegion));
    return set(RequestType::SetMemTable, payload, {&fd, 1});
}

bool VhostFrontEnd::share_inflight() {
    if (!options_.inflight ||
        !vu::has(protocol_features_, vu::ProtocolFeature::InflightSharedMemory)) {
        return true;
    }
    std::array<std::byte, vu::kInflightWireBytes> payload{};
    if (!inflight_fd_.valid()) {
        inflight_.queue_count = options_.queues;
        inflight_.queue_size = options_.queue_size;
        std::memcpy(payload.data(), &inflight_, sizeof(inflight_));
        if (!socket_->send(RequestType::GetInflightFd, payload)) {
            return fail("in-flight memory could not be asked for");
        }
        auto reply = socket_->receive();
        if (!reply || reply->fds.size() != 1 || !reply->as<vu::InflightDescription>()) {
            return fail("no in-flight memory came");
        }
        inflight_ = *reply->as<vu::InflightDescription>();
        inflight_fd_ = std::move(reply->fds[0]);
    }
    std::memcpy(payload.data(), &inflight_, sizeof(inflight_));
    const int fd = inflight_fd_.get();
    return set(RequestType::SetInflightFd, payload, {&fd, 1});
}

bool VhostFrontEnd::start_queue(std::uint16_t index) {
    vu::VringState state;
    state.index = index;
    state.number = options_.queue_size;
    const vu::VringAddress addresses = rings_[index].addresses(index);
    vu::VringState base = state;
    base.number = rings_[index].base();
    vu::VringState enable = state;
    enable.number = 1;
    vu::U64 which;
    which.value = index;
    const int call = calls_[index].get();
    const int kick = kicks_[index].get();
    // As QEMU does: the ring runs on a call descriptor that nobody hears until the real one comes.
    const Fd masked = make_eventfd();
    const int unheard = masked.get();
    return set(RequestType::SetVringNum, core::as_bytes_of(state)) &&
           set(RequestType::SetVringBase, core::as_bytes_of(base)) &&
           set(RequestType::SetVringAddr, core::as_bytes_of(addresses)) &&
           set(RequestType::SetVringCall, core::as_bytes_of(which), {&unheard, 1}) &&
           set(RequestType::SetVringKick, core::as_bytes_of(which), {&kick, 1}) &&
           set(RequestType::SetVringEnable, core::as_bytes_of(enable)) &&
           set(RequestType::SetVringCall, core::as_bytes_of(which), {&call, 1});
}

std::optional<std::uint32_t> VhostFrontEnd::stop_queue(std::uint16_t index) {
    vu::VringState state;
    state.index = index;
    if (!socket_->send_struct(RequestType::GetVringBase, state)) {
        return std::nullopt;
    }
    const auto reply = socket_->receive();
    const auto answer = reply ? reply->as<vu::VringState>() : std::nullopt;
    if (!answer) {
        return std::nullopt;
    }
    rings_[index].stopped_at(answer->number);
    return answer->number.get();
}

std::optional<virtio::BlkConfig> VhostFrontEnd::read_config() {
    vu::ConfigHeader header;
    header.size = sizeof(virtio::BlkConfig);
    std::array<std::byte, sizeof(header) + sizeof(virtio::BlkConfig)> payload{};
    std::memcpy(payload.data(), &header, sizeof(header));
    if (!socket_->send(RequestType::GetConfig, payload)) {
        return std::nullopt;
    }
    const auto reply = socket_->receive();
    if (!reply || reply->payload.size() != payload.size()) {
        return std::nullopt;
    }
    virtio::BlkConfig config;
    std::memcpy(&config, reply->payload.data() + sizeof(header), sizeof(config));
    return config;
}

bool VhostFrontEnd::connect() {
    if (!negotiate() || !share_inflight() || !share_memory()) {
        return false;
    }
    for (std::uint16_t i = 0; i < options_.queues; ++i) {
        if (!start_queue(i)) {
            return false;
        }
    }
    return true;
}

void offer_request(GuestRam& ram,
                   DriverRing& ring,
                   const BlkSlot& slot,
                   virtio::BlkType type,
                   std::uint64_t sector,
                   std::uint32_t length) {
    using namespace virtio::descriptor_flags;
    virtio::BlkHeader header;
    header.type = static_cast<std::uint32_t>(type);
    header.sector = sector;
    std::memcpy(ram.at(slot.header_offset), &header, sizeof(header));
    *ram.at(slot.status_offset()) = std::byte{0xff};
    const bool to_guest = type == virtio::BlkType::In || type == virtio::BlkType::GetId;
    const auto data = static_cast<std::uint16_t>(slot.head + 1);
    const auto status = static_cast<std::uint16_t>(slot.head + 2);
    ring.describe(slot.head, GuestRam::guest(slot.header_offset), sizeof(header), kNext,
                  length > 0 ? data : status);
    if (length > 0) {
        ring.describe(data, GuestRam::guest(slot.data_offset), length,
                      static_cast<std::uint16_t>(kNext | (to_guest ? kWrite : 0)), status);
    }
    ring.describe(status, GuestRam::guest(slot.status_offset()), 1, kWrite);
    ring.offer(slot.head);
}

}  // namespace remora::test
