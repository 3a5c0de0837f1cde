// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/host/driver_ring.h"

#include <atomic>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace remora::sim {

namespace {

constexpr std::uint64_t kUsedElementBytes = 8;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace

DriverRing::DriverRing(GuestRam& ram, std::uint64_t offset, std::uint16_t size, Violation violation)
    : ram_(&ram),
      descriptors_(round_up(offset, virtio::kDescriptorAlignment)),
      available_(descriptors_ + virtio::descriptor_table_bytes(size)),
      used_(round_up(available_ + virtio::available_ring_bytes(size, true), 64)),
      size_(size),
      violation_(std::move(violation)),
      chains_(size) {
    for (std::uint16_t i = size; i > 0; --i) {
        free_.push_back(static_cast<std::uint16_t>(i - 1));
    }
}

std::size_t DriverRing::bytes_for(std::uint16_t size) {
    return round_up(virtio::descriptor_table_bytes(size) +
                        virtio::available_ring_bytes(size, true) +
                        virtio::used_ring_bytes(size, true) + 128,
                    GuestRam::kPageBytes);
}

void DriverRing::describe(std::uint64_t at,
                          const ChainPart& part,
                          std::uint16_t flags,
                          std::uint16_t next) {
    virtio::Descriptor descriptor;
    descriptor.address = ram_->guest(part.offset);
    descriptor.length = part.length;
    descriptor.flags = static_cast<std::uint16_t>(
        flags | (part.device_writes ? virtio::descriptor_flags::kWrite : 0));
    descriptor.next = next;
    std::memcpy(ram_->at(at), &descriptor, sizeof(descriptor));
}

void DriverRing::write_chain(std::span<const ChainPart> parts,
                             std::optional<std::uint64_t> table,
                             std::span<const std::uint16_t> taken) {
    using namespace virtio::descriptor_flags;
    const std::uint16_t head = taken.front();
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool last = i + 1 == parts.size();
        const auto index = table ? static_cast<std::uint16_t>(i) : taken[i];
        std::uint16_t next = 0;
        if (!last) {
            next = table ? static_cast<std::uint16_t>(i + 1) : taken[i + 1];
        }
        describe(table.value_or(descriptors_) + sizeof(virtio::Descriptor) * index, parts[i],
                 last ? 0 : kNext, next);
    }
    if (table) {
        const ChainPart whole{
            *table, static_cast<std::uint32_t>(sizeof(virtio::Descriptor) * parts.size()), false};
        describe(descriptors_ + sizeof(virtio::Descriptor) * head, whole, kIndirect, 0);
    }
    const std::uint64_t slot = offered_ & (size_ - 1U);
    virtio::store16_relaxed(ram_->at(available_ + 4 + 2 * slot), head);
}

// The flags of a chain's first descriptor wait for publish().
void DriverRing::write_packed_chain(std::span<const ChainPart> parts,
                                    std::optional<std::uint64_t> table,
                                    std::uint16_t head) {
    using namespace virtio::descriptor_flags;
    const auto write = [&](std::uint64_t at, const ChainPart& part, std::uint16_t flags) {
        virtio::PackedDescriptor descriptor;
        descriptor.address = ram_->guest(part.offset);
        descriptor.length = part.length;
        descriptor.id = head;
        std::memcpy(ram_->at(at), &descriptor, virtio::kPackedFlagsOffset);
        return static_cast<std::uint16_t>(flags | (part.device_writes ? kWrite : 0));
    };
    const auto flags_at = [&](std::uint64_t at) {
        return ram_->at(at + virtio::kPackedFlagsOffset);
    };
    const ChainPart whole{table.value_or(0),
                          static_cast<std::uint32_t>(sizeof(virtio::Descriptor) * parts.size()),
                          false};
    for (std::size_t i = 0; table && i < parts.size(); ++i) {
        const std::uint64_t at = *table + sizeof(virtio::PackedDescriptor) * i;
        virtio::store16_relaxed(flags_at(at), write(at, parts[i], 0));
    }
    const std::span<const ChainPart> in_ring = table ? std::span(&whole, 1) : parts;
    for (std::size_t i = 0; i < in_ring.size(); ++i) {
        const std::uint64_t at = place_at(available_place_.index);
        const auto kind = static_cast<std::uint16_t>(
            table ? kIndirect : (i + 1 == in_ring.size() ? std::uint16_t{0} : kNext));
        const auto flags = static_cast<std::uint16_t>(
            write(at, in_ring[i], kind) | virtio::packed_flags::available(available_place_.wrap));
        if (i == 0) {
            hidden_.emplace_back(available_place_, flags);
        } else {
            virtio::store16_release(flags_at(at), flags);
        }
        available_place_ = available_place_.after(1, size_);
    }
}

std::optional<std::uint16_t> DriverRing::offer(std::span<const ChainPart> parts,
                                               std::optional<std::uint64_t> table) {
    CHECK(!parts.empty());
    const std::size_t wanted = table ? 1 : parts.size();
    if (free_.size() < wanted) {
        return std::nullopt;
    }
    std::vector<std::uint16_t> taken;
    for (std::size_t i = 0; i < wanted; ++i) {
        taken.push_back(free_.back());
        free_.pop_back();
    }
    const std::uint16_t head = taken.front();
    std::uint64_t writable = 0;
    for (const ChainPart& part : parts) {
        writable += part.device_writes ? part.length : 0;
    }
    packed_ ? write_packed_chain(parts, table, head) : write_chain(parts, table, taken);
    Chain& chain = chains_[head];
    CHECK(!chain.in_flight);
    chain = {.in_flight = true, .writable = writable, .descriptors = std::move(taken)};
    ++offered_;
    return head;
}

bool DriverRing::publish_packed() {
    namespace events = virtio::packed_event;
    const virtio::PackedPlace before = hidden_.empty() ? available_place_ : hidden_.front().first;
    in_flight_ = static_cast<std::uint16_t>(in_flight_ + hidden_.size());
    published_ = offered_;
    for (auto at = hidden_.rbegin(); at != hidden_.rend(); ++at) {
        virtio::store16_release(ram_->at(place_at(at->first.index) + virtio::kPackedFlagsOffset),
                                at->second);
    }
    hidden_.clear();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint32_t event = virtio::load32_relaxed(ram_->at(used_));
    if (events::flags_of(event) != events::kAtDescriptor) {
        return events::flags_of(event) != events::kDisable;
    }
    const auto wished = virtio::PackedPlace::decode(events::place_of(event));
    for (virtio::PackedPlace at = before; at != available_place_; at = at.after(1, size_)) {
        if (at == wished) {
            return true;
        }
    }
    return false;
}

bool DriverRing::is_used(virtio::PackedPlace place) const {
    const std::uint16_t flags =
        virtio::load16_acquire(ram_->at(place_at(place.index) + virtio::kPackedFlagsOffset));
    return (flags & virtio::packed_flags::kBoth) == virtio::packed_flags::used(place.wrap);
}

std::optional<DriverRing::Used> DriverRing::take_used_packed() {
    if (broken_ || !is_used(used_place_)) {
        return std::nullopt;
    }
    const auto descriptor = virtio::load_packed_descriptor(ram_->at(place_at(used_place_.index)));
    const std::uint16_t id = descriptor.id;
    if (id >= size_ || !chains_[id].in_flight) {
        broken_ = true;  // how far it goes nobody knows
        violation_("id " + std::to_string(id) + " came back and was not in flight");
        return std::nullopt;
    }
    used_place_ =
        used_place_.after(static_cast<std::uint32_t>(chains_[id].descriptors.size()), size_);
    ++seen_;
    --in_flight_;
    return settle(id, descriptor.length);
}

bool DriverRing::publish() {
    if (packed_) {
        return publish_packed();
    }
    const std::uint16_t before = published_;
    in_flight_ = static_cast<std::uint16_t>(in_flight_ + (offered_ - published_));
    virtio::store16_release(ram_->at(available_ + 2), offered_);
    published_ = offered_;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (event_index_) {
        const std::uint16_t event =
            virtio::load16_relaxed(ram_->at(used_ + 4 + kUsedElementBytes * size_));
        return virtio::passes_event(event, published_, before);
    }
    return (virtio::load16_relaxed(ram_->at(used_)) & virtio::kUsedNoNotify) == 0;
}

std::optional<DriverRing::Used> DriverRing::take_used() {
    if (packed_) {
        return take_used_packed();
    }
    const auto ready = static_cast<std::uint16_t>(used_index() - seen_);
    if (ready == 0) {
        return std::nullopt;
    }
    if (broken_) {
        return std::nullopt;
    }
    if (ready > in_flight_) {
        broken_ = true;
        violation_("the used index is " + std::to_string(used_index()) + ", " +
                   std::to_string(ready) + " ahead with " + std::to_string(in_flight_) +
                   " in flight");
        return std::nullopt;
    }
    const std::uint64_t slot = seen_ & (size_ - 1U);
    std::uint32_t words[2];
    std::memcpy(words, ram_->at(used_ + 4 + kUsedElementBytes * slot), sizeof(words));
    ++seen_;
    --in_flight_;
    if (words[0] >= size_ || !chains_[words[0]].in_flight) {
        violation_("head " + std::to_string(words[0]) + " came back and was not in flight");
        return take_used();
    }
    return settle(words[0], words[1]);
}

// The chain is the driver's again.
std::optional<DriverRing::Used> DriverRing::settle(std::uint32_t head, std::uint32_t length) {
    Chain& chain = chains_[head];
    if (length > chain.writable) {
        violation_("head " + std::to_string(head) + " came back with " + std::to_string(length) +
                   " bytes written, and has room for " + std::to_string(chain.writable));
    }
    chain.in_flight = false;
    while (!chain.descriptors.empty()) {
        free_.push_back(chain.descriptors.back());
        chain.descriptors.pop_back();
    }
    return Used{static_cast<std::uint16_t>(head), length};
}

bool DriverRing::request_interrupt() {
    if (packed_) {
        namespace events = virtio::packed_event;
        virtio::store32_relaxed(ram_->at(available_),
                                event_index_
                                    ? events::make(used_place_.encoded(), events::kAtDescriptor)
                                    : events::make(0, events::kEnable));
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return is_used(used_place_);
    }
    if (event_index_) {
        virtio::store16_relaxed(ram_->at(available_ + 4 + std::uint64_t{2} * size_), seen_);
    } else {
        virtio::store16_relaxed(ram_->at(available_), 0);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return used_index() != seen_;
}

void DriverRing::suppress_interrupts() {
    if (packed_) {
        namespace events = virtio::packed_event;
        virtio::store32_relaxed(ram_->at(available_), events::make(0, events::kDisable));
        return;
    }
    if (event_index_) {
        virtio::store16_relaxed(ram_->at(available_ + 4 + std::uint64_t{2} * size_),
                                static_cast<std::uint16_t>(seen_ - 1U));
    } else {
        virtio::store16_relaxed(ram_->at(available_), virtio::kAvailNoInterrupt);
    }
}

std::uint32_t DriverRing::stopped_base() const {
    if (!packed_) {
        return used_index();
    }
    virtio::PackedPlace at = used_place_;
    for (std::uint16_t left = in_flight_; left > 0 && is_used(at); --left) {
        const std::uint16_t id = virtio::load_packed_descriptor(ram_->at(place_at(at.index))).id;
        at = at.after(id < size_ ? static_cast<std::uint32_t>(chains_[id].descriptors.size()) : 0,
                      size_);
    }
    return virtio::PackedBase{at, at}.encoded();
}

std::uint16_t DriverRing::used_index() const {
    CHECK(!packed_);
    return virtio::load16_acquire(ram_->at(used_ + 2));
}

virtio::vhost_user::VringAddress DriverRing::addresses(std::uint32_t index) const {
    virtio::vhost_user::VringAddress address;
    address.index = index;
    address.descriptors = ram_->user(descriptors_);
    address.available = ram_->user(available_);
    address.used = ram_->user(used_);
    return address;
}

}  // namespace remora::sim
