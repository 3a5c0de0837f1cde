// SPDX-License-Identifier: Apache-2.0
#include "tests/support/driver_ring.h"

#include <atomic>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

#include "core/check.h"

namespace remora::test {

namespace vu = virtio::vhost_user;
using virtio::PackedPlace;

namespace {

constexpr std::size_t kUsedElementBytes = 8;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t to) {
    return (value + to - 1) / to * to;
}

}  // namespace

GuestRam::GuestRam(std::size_t bytes) : fd_(memfd_create("guest", MFD_CLOEXEC)), size_(bytes) {
    CHECK(fd_.valid() && ftruncate(fd_.get(), static_cast<off_t>(bytes)) == 0);
    void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(), 0);
    CHECK(base != MAP_FAILED);
    base_ = static_cast<std::byte*>(base);
}

GuestRam::~GuestRam() {
    munmap(base_, size_);
}

vu::MemoryRegion GuestRam::region() const {
    vu::MemoryRegion region;
    region.guest_address = kGuestBase;
    region.size = size_;
    region.user_address = kUserBase;
    region.mmap_offset = 0;
    return region;
}

DriverRing::DriverRing(
    GuestRam& ram, std::uint64_t offset, std::uint16_t size, bool event_index, RingKind kind)
    : ram_(&ram),
      descriptors_(round_up(offset, 16)),
      available_(descriptors_ + virtio::descriptor_table_bytes(size)),
      used_(round_up(available_ + virtio::available_ring_bytes(size, true), 64)),
      size_(size),
      event_index_(event_index),
      kind_(kind),
      table_(size),
      lengths_(size) {}

std::size_t DriverRing::bytes_for(std::uint16_t size) {
    return round_up(virtio::descriptor_table_bytes(size) +
                        virtio::available_ring_bytes(size, true) +
                        virtio::used_ring_bytes(size, true) + 128,
                    4096);
}

void DriverRing::describe(std::uint16_t index,
                          std::uint64_t guest_address,
                          std::uint32_t length,
                          std::uint16_t flags,
                          std::uint16_t next) {
    virtio::Descriptor descriptor;
    descriptor.address = guest_address;
    descriptor.length = length;
    descriptor.flags = flags;
    descriptor.next = next;
    if (kind_ == RingKind::Packed) {
        table_[index] = descriptor;
        return;
    }
    std::memcpy(ram_->at(descriptors_ + sizeof(descriptor) * index), &descriptor,
                sizeof(descriptor));
}

void DriverRing::write_table(std::uint64_t offset,
                             std::span<const virtio::Descriptor> table) const {
    for (const virtio::Descriptor& from : table) {
        if (kind_ == RingKind::Split) {
            std::memcpy(ram_->at(offset), &from, sizeof(from));
        } else {
            virtio::PackedDescriptor descriptor;
            descriptor.address = from.address;
            descriptor.length = from.length;
            descriptor.flags = from.flags;
            std::memcpy(ram_->at(offset), &descriptor, sizeof(descriptor));
        }
        offset += sizeof(from);
    }
}

// A chain that goes in circles goes once around the ring.
void DriverRing::offer_packed(std::uint16_t head) {
    const PackedPlace first = available_place_;
    std::uint16_t first_flags = 0;
    std::uint16_t index = head;
    std::uint16_t length = 0;
    for (bool more = true; more && length < size_; ++length) {
        const virtio::Descriptor& from = table_[index % size_];
        virtio::PackedDescriptor descriptor;
        descriptor.address = from.address;
        descriptor.length = from.length;
        descriptor.id = head;
        const auto flags =
            static_cast<std::uint16_t>((from.flags & ~virtio::packed_flags::kBoth) |
                                       virtio::packed_flags::available(available_place_.wrap));
        std::byte* place = this->descriptor(available_place_.index);
        std::memcpy(place, &descriptor, virtio::kPackedFlagsOffset);
        if (length == 0) {
            first_flags = flags;
        } else {
            virtio::store16_release(place + virtio::kPackedFlagsOffset, flags);
        }
        more = (from.flags & virtio::descriptor_flags::kNext) != 0;
        index = from.next;
        available_place_ = available_place_.after(1, size_);
    }
    if (head < size_) {
        lengths_[head] = length;
    }
    hidden_.emplace_back(first, first_flags);
    ++offered_;
}

// VIRTIO 1.2 section 2.8.21: the heads' flags come last, and the earliest of all at the end.
bool DriverRing::publish_packed() {
    const PackedPlace before = hidden_.empty() ? available_place_ : hidden_.front().first;
    for (auto at = hidden_.rbegin(); at != hidden_.rend(); ++at) {
        virtio::store16_release(descriptor(at->first.index) + virtio::kPackedFlagsOffset,
                                at->second);
    }
    hidden_.clear();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::uint32_t event = virtio::load32_relaxed(ram_->at(used_));
    const std::uint16_t flags = virtio::packed_event::flags_of(event);
    if (flags != virtio::packed_event::kAtDescriptor) {
        return flags != virtio::packed_event::kDisable;
    }
    const auto wished = PackedPlace::decode(virtio::packed_event::place_of(event));
    for (PackedPlace at = before; at != available_place_; at = at.after(1, size_)) {
        if (at == wished) {
            return true;
        }
    }
    return false;
}

bool DriverRing::is_used(PackedPlace place) const {
    const std::uint16_t flags =
        virtio::load16_acquire(descriptor(place.index) + virtio::kPackedFlagsOffset);
    return (flags & virtio::packed_flags::kBoth) == virtio::packed_flags::used(place.wrap);
}

std::optional<DriverRing::Used> DriverRing::take_used_packed() {
    if (!is_used(used_place_)) {
        return std::nullopt;
    }
    const auto descriptor = virtio::load_packed_descriptor(this->descriptor(used_place_.index));
    const std::uint16_t id = descriptor.id;
    if (id >= size_ || lengths_[id] == 0) {
        return std::nullopt;  // somebody scribbles over the ring
    }
    used_place_ = used_place_.after(std::exchange(lengths_[id], std::uint16_t{0}), size_);
    ++seen_;
    return Used{id, descriptor.length};
}

void DriverRing::offer(std::uint16_t head) {
    if (kind_ == RingKind::Packed) {
        offer_packed(head);
        return;
    }
    const std::uint64_t slot = offered_ & (size_ - 1U);
    virtio::store16_relaxed(ram_->at(available_ + 4 + 2 * slot), head);
    ++offered_;
}

bool DriverRing::publish() {
    if (kind_ == RingKind::Packed) {
        return publish_packed();
    }
    const std::uint16_t before = published_;
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

bool DriverRing::wants_kick() const {
    if (kind_ == RingKind::Packed) {
        const std::uint32_t event = virtio::load32_relaxed(ram_->at(used_));
        const std::uint16_t flags = virtio::packed_event::flags_of(event);
        return flags == virtio::packed_event::kAtDescriptor
                   ? virtio::packed_event::place_of(event) == available_place_.encoded()
                   : flags == virtio::packed_event::kEnable;
    }
    if (event_index_) {
        const auto* event = ram_->at(used_ + 4 + kUsedElementBytes * size_);
        return virtio::load16_relaxed(event) == published_;
    }
    return (virtio::load16_relaxed(ram_->at(used_)) & virtio::kUsedNoNotify) == 0;
}

std::optional<DriverRing::Used> DriverRing::take_used() {
    if (kind_ == RingKind::Packed) {
        return take_used_packed();
    }
    if (virtio::load16_acquire(ram_->at(used_ + 2)) == seen_) {
        return std::nullopt;
    }
    const std::uint64_t slot = seen_ & (size_ - 1U);
    std::uint32_t words[2];
    std::memcpy(words, ram_->at(used_ + 4 + kUsedElementBytes * slot), sizeof(words));
    ++seen_;
    return Used{words[0], words[1]};
}

bool DriverRing::request_interrupt() {
    suppressed_ = false;
    if (kind_ == RingKind::Packed) {
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
    // The device reads the wish with every batch, on another core: it is written when it must be.
    // An event index is behind us until the device has gone around all others.
    const bool moves = kind_ == RingKind::Split && event_index_;
    const auto distance = static_cast<std::uint16_t>(parked_event_ - seen_);
    if (suppressed_ && (!moves || distance >= 2U * size_)) {
        return;
    }
    suppressed_ = true;
    if (kind_ == RingKind::Packed) {
        namespace events = virtio::packed_event;
        virtio::store32_relaxed(ram_->at(available_), events::make(0, events::kDisable));
    } else if (event_index_) {
        parked_event_ = static_cast<std::uint16_t>(seen_ - 1U);
        virtio::store16_relaxed(ram_->at(available_ + 4 + std::uint64_t{2} * size_), parked_event_);
    } else {
        virtio::store16_relaxed(ram_->at(available_), virtio::kAvailNoInterrupt);
    }
}

void DriverRing::set_available_index(std::uint16_t index) {
    CHECK(kind_ == RingKind::Split);
    virtio::store16_release(ram_->at(available_ + 2), index);
}

std::uint16_t DriverRing::used_index() const {
    if (kind_ == RingKind::Packed) {
        std::uint16_t count = seen_;
        for (PackedPlace at = used_place_; is_used(at) && count - seen_ < size_; ++count) {
            const std::uint16_t id = virtio::load_packed_descriptor(descriptor(at.index)).id;
            at = at.after(id < size_ ? lengths_[id] : std::uint16_t{1}, size_);
        }
        return count;
    }
    return virtio::load16_acquire(ram_->at(used_ + 2));
}

void DriverRing::reset() {
    std::memset(ram_->at(descriptors_), 0,
                used_ + virtio::used_ring_bytes(size_, true) - descriptors_);
    offered_ = published_ = seen_ = 0;
    suppressed_ = false;
    base_ = virtio::PackedBase::kStart;
    lengths_.assign(size_, 0);
    hidden_.clear();
    available_place_ = used_place_ = {};
}

vu::VringAddress DriverRing::addresses(std::uint32_t index) const {
    vu::VringAddress address;
    address.index = index;
    address.descriptors = GuestRam::user(descriptors_);
    address.available = GuestRam::user(available_);
    address.used = GuestRam::user(used_);
    return address;
}

}  // namespace remora::test
