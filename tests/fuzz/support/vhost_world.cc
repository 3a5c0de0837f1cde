// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/support/vhost_world.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/byte_reader.h"
#include "virtio/blk_request.h"
#include "virtio/packed_layout.h"
#include "virtio/ring_layout.h"

namespace remora::fuzz {

using frontends::vhost_user_blk::Controller;
using reactor::Task;
using virtio::Descriptor;
using virtio::Feature;
using namespace virtio::vhost_user;

namespace {

const reactor::Endpoint kSocket = reactor::Endpoint::unix_path("/fuzz/disk.sock");

constexpr std::uint64_t guest(std::uint64_t offset) {
    return VhostWorld::kGuestBase + offset;
}
constexpr std::uint64_t user(std::uint64_t offset) {
    return VhostWorld::kUserBase + offset;
}

}  // namespace

VhostWorld::VhostWorld(std::uint16_t queues) {
    ram_ = *world.io.create_shared_memory(kMemoryBytes);
    kick_ = world.io.create_event();
    call_ = world.io.create_event();
    world.run([this, queues]() -> Task<> {
        auto made =
            co_await Controller::create({"disk", kSocket.address, queues}, device, {context_});
        CHECK(made.has_value());
        controller = std::move(*made);
    });
    connect();
}

VhostWorld::~VhostWorld() {
    if (device.hold) {
        world.on_reactor([this] { device.release(); });
    }
    listen();
    world.run([this]() -> Task<> {
        const auto stopped = co_await controller->stop(std::chrono::seconds(5));
        CHECK(stopped.has_value());
        controller.reset();
    });
    CHECK(device.open_channels == 0);
    front_.reset();
    second_.reset();
    for (const Handle handle : {ram_, kick_, call_, inflight_}) {
        if (handle != reactor::kNoHandle) {
            world.io.close(handle);
        }
    }
}

void VhostWorld::connect() {
    front_ = world.io.dial(kSocket);
    replies_.clear();
    world.turn(2);
}

void VhostWorld::connect_second() {
    second_ = world.io.dial(kSocket);
    world.turn(2);
}

void VhostWorld::send_bytes(std::span<const std::byte> bytes, std::span<const Handle> handles) {
    if (front_ == nullptr || bytes.empty()) {
        return;
    }
    const core::Segment segment{const_cast<std::byte*>(bytes.data()), bytes.size()};
    static_cast<void>(front_->send(std::span(&segment, 1), handles));
}

void VhostWorld::send(RequestType type,
                      std::span<const std::byte> payload,
                      std::span<const Handle> handles,
                      std::uint32_t flags) {
    Header header;
    header.request = static_cast<std::uint32_t>(type);
    header.flags = flags;
    header.size = static_cast<std::uint32_t>(payload.size());
    std::vector<std::byte> bytes(sizeof(header) + payload.size());
    std::memcpy(bytes.data(), &header, sizeof(header));
    std::ranges::copy(payload, bytes.begin() + sizeof(header));
    send_bytes(bytes, handles);
}

void VhostWorld::set_up(bool event_index, bool inflight, bool packed) {
    U64 number;
    send(RequestType::SetOwner, {});
    send(RequestType::GetFeatures, {});
    number.value = bit(ProtocolFeature::MultiQueue) | bit(ProtocolFeature::Config) |
                   bit(ProtocolFeature::InflightSharedMemory);
    send_struct(RequestType::SetProtocolFeatures, number);
    number.value = bit(Feature::VhostUserProtocol) | bit(Feature::Version1) |
                   bit(Feature::IndirectDescriptors) |
                   (event_index ? bit(Feature::EventIndex) : std::uint64_t{0}) |
                   (packed ? bit(Feature::RingPacked) : std::uint64_t{0});
    send_struct(RequestType::SetFeatures, number);
    InflightDescription wanted;
    wanted.queue_count = std::uint16_t{1};
    wanted.queue_size = kRingSize;
    if (inflight) {
        send_struct(RequestType::GetInflightFd, wanted);
        world.settle();
        listen();
        if (inflight_ != reactor::kNoHandle) {
            wanted.mmap_size = world.io.memory(inflight_).size();
            send_struct(RequestType::SetInflightFd, wanted, std::span(&inflight_, 1));
        }
    }
    MemoryTableMessage table;
    table.count = 1U;
    table.regions[0].guest_address = kGuestBase;
    table.regions[0].user_address = kUserBase;
    table.regions[0].size = std::uint64_t{kMemoryBytes};
    send(RequestType::SetMemTable, core::as_bytes_of(table).first(40), std::span(&ram_, 1));
    VringState state;
    state.number = std::uint32_t{kRingSize};
    send_struct(RequestType::SetVringNum, state);
    state.number = packed ? virtio::PackedBase::kStart : std::uint32_t{used_index()};
    send_struct(RequestType::SetVringBase, state);
    VringAddress addresses;
    addresses.descriptors = user(0);
    addresses.available = user(kAvailable);
    addresses.used = user(kUsed);
    send_struct(RequestType::SetVringAddr, addresses);
    number.value = std::uint64_t{0};
    send_struct(RequestType::SetVringCall, number, std::span(&call_, 1));
    send_struct(RequestType::SetVringKick, number, std::span(&kick_, 1));
    state.number = 1U;
    send_struct(RequestType::SetVringEnable, state);
}

void VhostWorld::listen() {
    for (auto* stream : {front_.get(), second_.get()}) {
        std::array<std::byte, 1024> bytes;
        std::ptrdiff_t got = stream == nullptr ? 0 : 1;
        while (got > 0) {
            const core::Segment segment{bytes.data(), bytes.size()};
            reactor::HandleBox box;
            got = stream->recv(std::span(&segment, 1), &box);
            for (std::size_t i = 0; i < box.count; ++i) {
                CHECK(!world.io.memory(box.handles[i]).empty());
                if (inflight_ != reactor::kNoHandle) {
                    world.io.close(inflight_);
                }
                inflight_ = box.handles[i];
            }
            if (got > 0 && stream == front_.get()) {
                replies_.insert(replies_.end(), bytes.begin(), bytes.begin() + got);
            }
        }
    }
    take_replies();
}

void VhostWorld::take_replies() {
    Header header;
    while (replies_.size() >= sizeof(header)) {
        std::memcpy(&header, replies_.data(), sizeof(header));
        CHECK(header.flags == (header_flags::kVersion | header_flags::kReply));
        CHECK(header.size <= kMaxPayloadBytes);
        const std::size_t size = sizeof(header) + header.size;
        if (replies_.size() < size) {
            break;
        }
        replies_.erase(replies_.begin(), replies_.begin() + static_cast<std::ptrdiff_t>(size));
    }
}

Handle VhostWorld::make_handle(std::uint8_t kind) {
    switch (kind % 4U) {
        case 0:
            return world.io.create_event();
        case 1:
            return *world.io.create_shared_memory(1 + std::uint64_t{kind} * 64);
        case 2: {
            const Handle event = world.io.create_event();
            world.io.signal(event);
            return event;
        }
        default:
            return world.io.create_socket();
    }
}

bool VhostWorld::offer(std::uint32_t type,
                       std::uint64_t sector,
                       std::uint32_t bytes,
                       bool indirect) {
    reap();
    const auto free = std::ranges::find(busy_, false);
    if (free == busy_.end()) {
        return false;
    }
    *free = true;
    const auto slot = static_cast<std::uint16_t>(free - busy_.begin());
    const std::size_t header_at = 0x1000 + std::size_t{64} * slot;
    const std::size_t data_at = 0x2000 + std::size_t{0x800} * slot;
    virtio::BlkHeader header;
    header.type = type;
    header.sector = sector;
    std::memcpy(ram().data() + header_at, &header, sizeof(header));
    const bool reads = type == 0 || type == 8;
    bytes = std::min<std::uint32_t>(bytes, 0x800);
    Descriptor chain[3];
    std::uint16_t count = 0;
    chain[count++] = {
        guest(header_at), std::uint32_t{sizeof(header)}, virtio::descriptor_flags::kNext, {}};
    if (bytes > 0) {
        const unsigned write = reads ? virtio::descriptor_flags::kWrite : 0U;
        chain[count++] = {guest(data_at),
                          bytes,
                          static_cast<std::uint16_t>(virtio::descriptor_flags::kNext | write),
                          {}};
    }
    chain[count++] = {guest(header_at + 16), 1U, virtio::descriptor_flags::kWrite, {}};
    const auto head = static_cast<std::uint16_t>(slot * 3U);
    for (std::uint16_t i = 0; i < count; ++i) {
        chain[i].next = static_cast<std::uint16_t>((indirect ? 0U : head) + i + 1U);
    }
    const std::size_t table_at = 0x1800 + std::size_t{64} * slot;
    std::memcpy(ram().data() + (indirect ? table_at : std::size_t{16} * head), chain,
                sizeof(Descriptor) * count);
    if (indirect) {
        const Descriptor table{guest(table_at),
                               static_cast<std::uint32_t>(sizeof(Descriptor) * count),
                               virtio::descriptor_flags::kIndirect,
                               {}};
        std::memcpy(ram().data() + std::size_t{16} * head, &table, sizeof(table));
    }
    offer_head(head);
    return true;
}

void VhostWorld::offer_head(std::uint16_t head) {
    std::memcpy(ram().data() + kAvailable + 4 + std::size_t{2} * (offered % kRingSize), &head,
                sizeof(head));
    set_available(++offered);
}

void VhostWorld::reap() {
    const std::uint16_t used = used_index();
    for (int left = kRingSize; left > 0 && reaped_ != used; --left, ++reaped_) {
        std::uint32_t id = 0;
        std::memcpy(&id, ram().data() + kUsed + 4 + std::size_t{8} * (reaped_ % kRingSize),
                    sizeof(id));
        busy_[id / 3U % kSlots] = false;
    }
}

void VhostWorld::set_available(std::uint16_t index) {
    std::memcpy(ram().data() + kAvailable + 2, &index, sizeof(index));
}

std::uint16_t VhostWorld::used_index() const {
    std::uint16_t index = 0;
    std::memcpy(&index, ram().data() + kUsed + 2, sizeof(index));
    return index;
}

}  // namespace remora::fuzz
