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

std::optional<std::uint16_t> DriverRing::offer(std::span<const ChainPart> parts,
                                               std::optional<std::uint64_t> table) {
    using namespace virtio::descriptor_flags;
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
    for (std::size_t i = 0; i < parts.size(); ++i) {
        const bool last = i + 1 == parts.size();
        const auto index = table ? static_cast<std::uint16_t>(i) : taken[i];
        std::uint16_t next = 0;
        if (!last) {
            next = table ? static_cast<std::uint16_t>(i + 1) : taken[i + 1];
        }
        describe(table.value_or(descriptors_) + sizeof(virtio::Descriptor) * index, parts[i],
                 last ? 0 : kNext, next);
        writable += parts[i].device_writes ? parts[i].length : 0;
    }
    if (table) {
        const ChainPart whole{
            *table, static_cast<std::uint32_t>(sizeof(virtio::Descriptor) * parts.size()), false};
        describe(descriptors_ + sizeof(virtio::Descriptor) * head, whole, kIndirect, 0);
    }
    Chain& chain = chains_[head];
    CHECK(!chain.in_flight);
    chain = {.in_flight = true, .writable = writable, .descriptors = std::move(taken)};
    const std::uint64_t slot = offered_ & (size_ - 1U);
    virtio::store16_relaxed(ram_->at(available_ + 4 + 2 * slot), head);
    ++offered_;
    return head;
}

bool DriverRing::publish() {
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
    Chain& chain = chains_[words[0]];
    if (words[1] > chain.writable) {
        violation_("head " + std::to_string(words[0]) + " came back with " +
                   std::to_string(words[1]) + " bytes written, and has room for " +
                   std::to_string(chain.writable));
    }
    chain.in_flight = false;
    while (!chain.descriptors.empty()) {
        free_.push_back(chain.descriptors.back());
        chain.descriptors.pop_back();
    }
    return Used{static_cast<std::uint16_t>(words[0]), words[1]};
}

bool DriverRing::request_interrupt() {
    if (event_index_) {
        virtio::store16_relaxed(ram_->at(available_ + 4 + std::uint64_t{2} * size_), seen_);
    } else {
        virtio::store16_relaxed(ram_->at(available_), 0);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return used_index() != seen_;
}

void DriverRing::suppress_interrupts() {
    if (event_index_) {
        virtio::store16_relaxed(ram_->at(available_ + 4 + std::uint64_t{2} * size_),
                                static_cast<std::uint16_t>(seen_ - 1U));
    } else {
        virtio::store16_relaxed(ram_->at(available_), virtio::kAvailNoInterrupt);
    }
}

std::uint16_t DriverRing::used_index() const {
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
