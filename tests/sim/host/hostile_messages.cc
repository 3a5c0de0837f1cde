// SPDX-License-Identifier: Apache-2.0
// What a hostile guest's front end says: QEMU's messages, some of them spoilt on the way out.
#include <algorithm>
#include <array>
#include <cstring>

#include "core/check.h"
#include "tests/sim/host/hostile.h"
#include "tests/sim/host/message_bytes.h"

namespace remora::sim {

namespace vu = virtio::vhost_user;
using reactor::Handle;
using reactor::Nanos;
using reactor::Task;

namespace {

constexpr Nanos kAnswer = std::chrono::milliseconds(50);
constexpr std::uint64_t kShortMemory = 4096;

std::vector<std::byte> state_bytes(std::uint32_t index, std::uint32_t number) {
    return bytes_of(vring_state(index, number));
}

}  // namespace

Handle HostileGuest::scrap_event() {
    scrap_.push_back(world_.create_event());
    return scrap_.back();
}

Handle HostileGuest::scrap_memory(std::uint64_t bytes) {
    auto made = reactor_.io().create_shared_memory(bytes);
    CHECK(made.has_value());
    scrap_.push_back(*made);
    return *made;
}

void HostileGuest::clear_scrap() {
    for (const Handle handle : std::exchange(scrap_, {})) {
        reactor_.io().close(handle);
    }
}

// The length in the header, or what is behind it, is another one.
void HostileGuest::spoil_size(Bytes& message) {
    vu::Header header;
    std::memcpy(&header, message.data(), sizeof(header));
    switch (prng_.below(4)) {
        case 0:
            header.size = 0;
            message.resize(sizeof(header));
            break;
        case 1:
            header.size = static_cast<std::uint32_t>(prng_.below(600));
            message.resize(sizeof(header) + header.size);
            break;
        case 2:
            header.size = static_cast<std::uint32_t>(prng_.next());
            break;
        default:
            header.flags = static_cast<std::uint32_t>(prng_.next());
            break;
    }
    std::memcpy(message.data(), &header, sizeof(header));
}

void HostileGuest::spoil_handles(Handles& handles) {
    switch (prng_.below(5)) {
        case 0:
            handles.clear();
            break;
        case 1:
            for (std::uint64_t i = 1 + prng_.below(9); i > 0; --i) {
                handles.push_back(scrap_event());
            }
            break;
        case 2:
            handles.push_back(scrap_memory(kShortMemory));
            break;
        case 3:  // memory that is shorter than it says, or no event
            std::ranges::fill(handles, scrap_memory(kShortMemory));
            break;
        default:  // no memory
            std::ranges::fill(handles, scrap_event());
            break;
    }
}

void HostileGuest::send_unknown() {
    std::vector<std::byte> payload(prng_.below(65));
    std::ranges::fill(payload, static_cast<std::byte>(prng_.next() & 0xffU));
    const auto request = static_cast<std::uint32_t>(one_in(2) ? prng_.below(64) : prng_.next());
    const auto flags = static_cast<std::uint32_t>(vu::header_flags::kVersion |
                                                  (one_in(2) ? vu::header_flags::kNeedReply : 0U));
    channel_.send_bytes(VhostChannel::encode(request, flags, payload));
}

Task<bool> HostileGuest::say(RequestType type, Bytes payload, Handles handles) {
    co_return co_await say_raw(static_cast<std::uint32_t>(type), std::move(payload),
                               std::move(handles));
}

Task<bool> HostileGuest::say_raw(std::uint32_t request, Bytes payload, Handles handles) {
    if (!channel_.is_open()) {
        co_return false;
    }
    if (spoils_ && has(HostileMode::UnknownMessages) && one_in(8)) {
        send_unknown();
    }
    Bytes message = VhostChannel::encode(
        request, vu::header_flags::kVersion | vu::header_flags::kNeedReply, payload);
    if (spoils_ && has(HostileMode::BadSizes) && one_in(20)) {
        spoil_size(message);
    }
    if (spoils_ && has(HostileMode::BadHandles) && one_in(12)) {
        spoil_handles(handles);
    }
    const bool cut = spoils_ && has(HostileMode::DisconnectMidMessage) && one_in(20);
    if (cut) {
        message.resize(1 + prng_.below(message.size()));
    }
    channel_.send_bytes(std::move(message), std::move(handles),
                        has(HostileMode::ByteByByte) ? 1 : 0);
    if (cut) {
        (void)co_await channel_.sent(reactor_.now() + kAnswer);
        channel_.close();
        co_return false;
    }
    // A message that stalls the back end's reading is answered late or never: both will do.
    (void)co_await channel_.receive(reactor_.now() + kAnswer);
    co_return channel_.is_open();
}

HostileGuest::Bytes HostileGuest::memory_table(std::uint32_t& count) {
    const auto regions = ram_->regions();
    vu::MemoryTableMessage table;
    count = static_cast<std::uint32_t>(regions.size());
    for (std::size_t i = 0; i < regions.size(); ++i) {
        table.regions[i] = regions[i];
        if (spoils_ && has(HostileMode::MemoryReplaced) && one_in(8)) {
            table.regions[i].size = prng_.next() >> prng_.below(64);
        }
        if (spoils_ && has(HostileMode::MemoryReplaced) && one_in(8)) {
            table.regions[i].guest_address = prng_.next() >> prng_.below(64);
        }
        if (spoils_ && has(HostileMode::MemoryReplaced) && one_in(8)) {
            table.regions[i].mmap_offset = prng_.next() >> prng_.below(64);
        }
    }
    if (spoils_ && has(HostileMode::MemoryUnmapped) && one_in(2)) {
        --count;
    }
    table.count = count;
    auto payload = bytes_of(table);
    payload.resize(offsetof(vu::MemoryTableMessage, regions) + count * sizeof(vu::MemoryRegion));
    return payload;
}

Task<bool> HostileGuest::share_memory() {
    std::uint32_t count = 0;
    Bytes payload = memory_table(count);
    co_return co_await say(RequestType::SetMemTable, std::move(payload),
                           Handles(count, ram_->handle()));
}

// Of its own making, with anything in it.
Task<bool> HostileGuest::share_inflight() {
    vu::InflightDescription description;
    description.queue_count = static_cast<std::uint16_t>(rings_.size());
    description.queue_size = HostileRing::kSize;
    const std::uint64_t size = 2 * GuestRam::kPageBytes * rings_.size();
    description.mmap_size = one_in(4) ? prng_.next() >> prng_.below(64) : size;
    const Handle handle = scrap_memory(size);
    if (auto mapping = reactor_.io().map(handle, 0, size); mapping) {
        const auto bytes = (*mapping)->bytes();
        for (std::size_t at = 0; at + sizeof(std::uint64_t) <= bytes.size(); at += 8) {
            // Flags of an entry look believable half of the time.
            const std::uint64_t word = one_in(2) ? prng_.below(2) : prng_.next();
            std::memcpy(bytes.data() + at, &word, sizeof(word));
        }
        // Half of the time of the version and size that make it be believed.
        for (std::size_t i = 0; i < rings_.size() && one_in(2); ++i) {
            const std::size_t stride = 16 + std::size_t{16} * HostileRing::kSize;
            std::byte* part = (*mapping)->bytes().data() + (stride + 63) / 64 * 64 * i;
            const std::uint16_t words[4] = {1, HostileRing::kSize,
                                            static_cast<std::uint16_t>(prng_.next()), 0};
            std::memcpy(part + 8, words, sizeof(words));
        }
    }
    Bytes payload(vu::kInflightWireBytes);
    std::memcpy(payload.data(), &description, sizeof(description));
    co_return co_await say(RequestType::SetInflightFd, std::move(payload), {handle});
}

Task<bool> HostileGuest::set_up_queue(std::uint16_t queue) {
    const auto addresses = rings_[queue]->addresses(queue);
    (void)co_await say(RequestType::SetVringNum, state_bytes(queue, HostileRing::kSize));
    const std::uint32_t base = rings_[queue]->packed() ? virtio::PackedBase::kStart : 0;
    (void)co_await say(RequestType::SetVringBase, state_bytes(queue, base));
    (void)co_await say(RequestType::SetVringAddr, bytes_of(addresses));
    (void)co_await say(RequestType::SetVringCall, u64_bytes(queue), {scrap_event()});
    (void)co_await say(RequestType::SetVringKick, u64_bytes(queue), {kicks_[queue].first});
    co_return co_await say(RequestType::SetVringEnable, state_bytes(queue, 1));
}

Task<bool> HostileGuest::set_up() {
    const std::uint64_t features =
        virtio::bit(virtio::Feature::Version1) | virtio::bit(virtio::Feature::VhostUserProtocol) |
        virtio::bit(virtio::Feature::IndirectDescriptors) |
        virtio::bit(virtio::Feature::BlkMultiQueue) | virtio::bit(virtio::Feature::BlkFlush) |
        (one_in(2) ? virtio::bit(virtio::Feature::EventIndex) : 0) |
        (!rings_.empty() && rings_.front()->packed() ? virtio::bit(virtio::Feature::RingPacked)
                                                     : 0);
    const std::uint64_t protocol =
        vu::bit(vu::ProtocolFeature::MultiQueue) | vu::bit(vu::ProtocolFeature::ReplyAck) |
        vu::bit(vu::ProtocolFeature::Config) | vu::bit(vu::ProtocolFeature::InflightSharedMemory) |
        vu::bit(vu::ProtocolFeature::ConfigureMemSlots);
    (void)co_await say(RequestType::GetFeatures, {});
    (void)co_await say(RequestType::SetProtocolFeatures, u64_bytes(protocol));
    (void)co_await say(RequestType::SetFeatures, u64_bytes(features));
    if (spoils_ && has(HostileMode::BadInflight)) {
        (void)co_await share_inflight();
    }
    bool open = co_await share_memory();
    for (std::uint16_t i = 0; i < rings_.size() && open; ++i) {
        open = co_await set_up_queue(i);
    }
    co_return open;
}

Task<> HostileGuest::message_act() {
    const auto queue = static_cast<std::uint16_t>(prng_.below(rings_.size() + 1));
    const auto value = static_cast<std::uint32_t>(prng_.next() >> prng_.below(64));
    if (has(HostileMode::MemoryReplaced) || has(HostileMode::MemoryUnmapped)) {
        if (one_in(2)) {
            vu::SingleRegion single;
            const auto regions = ram_->regions();
            single.region = regions[prng_.below(regions.size())];
            const bool add = has(HostileMode::MemoryReplaced) && one_in(2);
            (void)co_await say(add ? RequestType::AddMemReg : RequestType::RemMemReg,
                               bytes_of(single), add ? Handles{ram_->handle()} : Handles{});
        } else {
            (void)co_await share_memory();
        }
    }
    if (has(HostileMode::BadInflight)) {
        (void)co_await share_inflight();
    }
    if (!has(HostileMode::VringChurn)) {
        (void)co_await say(RequestType::GetQueueNum, {});
        co_return;
    }
    switch (prng_.below(7)) {
        case 0:
            (void)co_await say(RequestType::SetVringNum,
                               state_bytes(queue, one_in(2) ? 1U << prng_.below(12) : value));
            break;
        case 1:
            (void)co_await say(RequestType::SetVringBase, state_bytes(queue, value));
            break;
        case 2:
            (void)co_await say(RequestType::SetVringEnable, state_bytes(queue, value & 1U));
            break;
        case 3:
            (void)co_await say(RequestType::GetVringBase, state_bytes(queue, 0));
            break;
        case 4:
            (void)co_await say(RequestType::SetVringKick, u64_bytes(queue), {scrap_event()});
            break;
        case 5: {
            auto addresses = rings_[queue % rings_.size()]->addresses(queue);
            addresses.used = addresses.used + prng_.below(16);
            addresses.descriptors = addresses.descriptors + prng_.below(3) * 16;
            (void)co_await say(RequestType::SetVringAddr, bytes_of(addresses));
            break;
        }
        default:
            (void)co_await say(one_in(2) ? RequestType::ResetOwner : RequestType::ResetDevice, {});
            break;
    }
}

}  // namespace remora::sim
