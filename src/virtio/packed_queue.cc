// SPDX-License-Identifier: Apache-2.0
#include "virtio/packed_queue.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>

#include "core/check.h"
#include "core/probe.h"

namespace remora::virtio {

namespace {

using core::ErrorKind;

constexpr std::uint32_t kNothingWritten = 0xffff'ffff;  // no event that we write

core::Result<void> check_part(std::span<const std::byte> part,
                              std::size_t bytes,
                              std::size_t alignment,
                              const char* name) {
    if (part.size() < bytes) {
        return core::fail(ErrorKind::InvalidArgument,
                          std::string(name) + " is not inside one shared memory region");
    }
    if (reinterpret_cast<std::uintptr_t>(part.data()) % alignment != 0) {
        return core::fail(ErrorKind::InvalidArgument,
                          std::string(name) + " is not aligned to " + std::to_string(alignment));
    }
    return {};
}

// VIRTIO 1.2 section 2.8: alignments.
core::Result<void> check_rings(const RingMemory& rings, std::uint16_t size) {
    if (auto ok = check_part(rings.descriptors, descriptor_table_bytes(size), kDescriptorAlignment,
                             "the descriptor ring");
        !ok) {
        return ok;
    }
    if (auto ok = check_part(rings.available, packed_event::kBytes, packed_event::kBytes,
                             "the driver's event suppression area");
        !ok) {
        return ok;
    }
    return check_part(rings.used, packed_event::kBytes, packed_event::kBytes,
                      "the device's event suppression area");
}

// Descriptors from the used end to the available one; nothing when the two cannot be of one ring.
std::optional<std::uint16_t> distance(const PackedBase& base, std::uint16_t size) {
    const int apart = int{base.available.index} - int{base.used.index} +
                      (base.available.wrap == base.used.wrap ? 0 : int{size});
    if (base.available.index >= size || base.used.index >= size || apart < 0 || apart > size) {
        return std::nullopt;
    }
    return static_cast<std::uint16_t>(apart);
}

}  // namespace

core::Result<void> PackedQueue::check(const Options& options) {
    if (options.size == 0 || options.size > kMaxSize) {
        return core::fail(ErrorKind::InvalidArgument, "a queue size is at most " +
                                                          std::to_string(kMaxSize) + ", not " +
                                                          std::to_string(options.size));
    }
    if (auto ok = check_rings(options.rings, options.size); !ok) {
        return ok;
    }
    if (!distance(options.base, options.size)) {
        return core::fail(ErrorKind::InvalidArgument, "the ring cannot be where its base says");
    }
    return {};
}

core::Result<void> PackedQueue::start(const Options& options) {
    CHECK(options.max_chain > 0);
    if (auto ok = check(options); !ok) {
        return ok;
    }
    ring_ = options.rings.descriptors.data();
    driver_event_ = options.rings.available.data();
    device_event_ = options.rings.used.data();
    size_ = options.size;
    max_chain_ = options.max_chain;
    event_index_ = options.event_index;
    indirect_ = options.indirect;
    available_ = options.base.available;
    used_ = options.base.used;
    owned_ = *distance(options.base, options.size);
    device_event_now_ = kNothingWritten;
    if (room_ < size_) {
        copies_ = std::make_unique<PackedDescriptor[]>(size_);
        taken_ = std::make_unique<Taken[]>(size_);
        pushed_ = std::make_unique<Used[]>(size_);
        room_ = size_;
    }
    std::fill_n(taken_.get(), room_, Taken{});
    pushed_count_ = 0;
    pushed_descriptors_ = 0;
    return {};
}

bool PackedQueue::is_available(PackedPlace place) const {
    const std::uint16_t flags = load16_acquire(descriptor_at(place.index) + kPackedFlagsOffset);
    return (flags & packed_flags::kBoth) == packed_flags::available(place.wrap);
}

// The flags of the first one made the whole chain available (VIRTIO 1.2 section 2.8.20).
std::uint16_t PackedQueue::copy_chain(PackedPlace at, std::uint16_t room, std::uint16_t& head) {
    for (std::uint16_t count = 1; count <= room; ++count) {
        const PackedDescriptor descriptor = load_packed_descriptor(descriptor_at(at.index));
        REMORA_GUEST_MOMENT();
        copies_[at.index] = descriptor;
        if ((descriptor.flags & descriptor_flags::kNext) == 0) {
            head = descriptor.id;
            return head < size_ && taken_[head].count == 0 ? count : std::uint16_t{0};
        }
        at = at.after(1, size_);
    }
    return 0;
}

std::optional<std::size_t> PackedQueue::take_heads(std::span<std::uint16_t> heads) {
    PackedPlace at = available_;
    std::uint16_t owned = owned_;
    std::size_t count = 0;
    for (; count < heads.size() && is_available(at); ++count) {
        __builtin_prefetch(descriptor_at(at.index) + 4 * sizeof(PackedDescriptor) * 4);
        const auto room = static_cast<std::uint16_t>(size_ - owned);
        std::uint16_t head = 0;
        const std::uint16_t length = copy_chain(at, room, head);
        if (length == 0) {
            for (const std::uint16_t taken : heads.first(count)) {
                taken_[taken] = {};
            }
            return std::nullopt;
        }
        taken_[head] = {.first = at.index, .count = length};
        heads[count] = head;
        owned = static_cast<std::uint16_t>(owned + length);
        at = at.after(length, size_);
    }
    available_ = at;
    owned_ = owned;
    return count;
}

bool PackedQueue::restore(std::uint16_t head, std::span<const PackedDescriptor> descriptors) {
    if (head >= size_ || taken_[head].count != 0 || descriptors.empty() ||
        descriptors.size() > std::size_t{size_} - owned_) {
        return false;
    }
    const auto count = static_cast<std::uint16_t>(descriptors.size());
    taken_[head] = {.first = available_.index, .count = count};
    for (const PackedDescriptor& descriptor : descriptors) {
        copies_[available_.index] = descriptor;
        available_ = available_.after(1, size_);
    }
    owned_ = static_cast<std::uint16_t>(owned_ + count);
    return true;
}

bool PackedQueue::was_published(PackedPlace place) const {
    return !is_available(place);
}

void PackedQueue::resume_at(PackedPlace used, PackedPlace written) {
    for (PackedPlace at = used; at != written; at = at.after(1, size_)) {
        store16_relaxed(descriptor_at(at.index) + kPackedFlagsOffset,
                        packed_flags::available(at.wrap));
    }
    used_ = used;
    available_ = used;
    owned_ = 0;
    std::fill_n(taken_.get(), room_, Taken{});
}

// VIRTIO 1.2 section 2.8.7: the table's entries follow each other; of their flags only the write
// flag means something, and their ids nothing.
bool PackedQueue::walk_indirect(ChainWalk& walk, const PackedDescriptor& table) const {
    const std::uint32_t bytes = table.length;
    if (bytes == 0 || bytes % sizeof(PackedDescriptor) != 0) {
        return walk.give_up();
    }
    const std::uint64_t entries = bytes / sizeof(PackedDescriptor);
    std::uint64_t end = 0;
    if (entries > std::uint64_t{max_chain_} - walk.descriptors ||
        __builtin_add_overflow(std::uint64_t{table.address}, bytes, &end)) {
        return walk.give_up();
    }
    for (std::uint64_t address = table.address; address < end;
         address += sizeof(PackedDescriptor)) {
        PackedDescriptor descriptor;
        const auto whole = walk.memory.run_at(address, sizeof(PackedDescriptor));
        if (whole.size() == sizeof(PackedDescriptor)) {
            descriptor = load_packed_descriptor(whole.data());
        } else {
            std::byte copy[sizeof(PackedDescriptor)];
            if (!walk.memory.copy_out(address, copy)) {
                return walk.give_up();
            }
            std::memcpy(&descriptor, copy, sizeof(descriptor));
        }
        walk.append(descriptor.address, descriptor.length,
                    (descriptor.flags & descriptor_flags::kWrite) != 0);
    }
    return walk.finish();
}

bool PackedQueue::walk(const memory::GuestMemory& memory, std::uint16_t head, Chain& chain) const {
    DCHECK(head < size_ && taken_[head].count != 0);
    ChainWalk walk(memory, chain);
    const Taken taken = taken_[head];
    if (taken.count > max_chain_) {
        return walk.give_up();
    }
    std::uint16_t index = taken.first;
    for (std::uint16_t i = 0; i < taken.count; ++i) {
        const PackedDescriptor& descriptor = copies_[index];
        const std::uint16_t flags = descriptor.flags;
        if ((flags & descriptor_flags::kIndirect) != 0) {
            // A next flag beside the indirect one is forbidden.
            return indirect_ && (flags & descriptor_flags::kNext) == 0
                       ? walk_indirect(walk, descriptor)
                       : walk.give_up();
        }
        ++walk.descriptors;
        walk.append(descriptor.address, descriptor.length, (flags & descriptor_flags::kWrite) != 0);
        index = index + 1U == size_ ? std::uint16_t{0} : static_cast<std::uint16_t>(index + 1U);
    }
    return walk.finish();
}

void PackedQueue::push_used(std::uint16_t head, std::uint32_t written_bytes) {
    DCHECK(head < size_ && taken_[head].count != 0 && pushed_count_ < size_);
    pushed_[pushed_count_++] = {.length = written_bytes, .head = head};
    pushed_descriptors_ = static_cast<std::uint16_t>(pushed_descriptors_ + taken_[head].count);
}

void PackedQueue::discard_unpublished() {
    pushed_count_ = 0;
    pushed_descriptors_ = 0;
}

void PackedQueue::mark_unpublished() const {
    store16_relaxed(descriptor_at(used_.index) + kPackedFlagsOffset,
                    packed_flags::available(used_.wrap));
}

bool PackedQueue::publish() {
    const PackedPlace first = used_;
    std::uint16_t first_flags = 0;
    PackedPlace at = first;
    for (std::uint16_t i = 0; i < pushed_count_; ++i) {
        const Used& used = pushed_[i];
        PackedDescriptor descriptor;
        descriptor.length = used.length;
        descriptor.id = used.head;
        // Length and id, which lie together; the flags follow on their own.
        std::byte* place = descriptor_at(at.index);
        constexpr std::size_t kFrom = offsetof(PackedDescriptor, length);
        std::memcpy(place + kFrom, reinterpret_cast<const std::byte*>(&descriptor) + kFrom,
                    kPackedFlagsOffset - kFrom);
        REMORA_GUEST_MOMENT();
        const auto flags = static_cast<std::uint16_t>(
            packed_flags::used(at.wrap) | (used.length != 0 ? descriptor_flags::kWrite : 0));
        if (i == 0) {
            first_flags = flags;
        } else {
            store16_release(place + kPackedFlagsOffset, flags);
            REMORA_GUEST_MOMENT();
        }
        Taken& taken = taken_[used.head];
        at = at.after(taken.count, size_);
        taken = {};
    }
    store16_release(descriptor_at(first.index) + kPackedFlagsOffset, first_flags);
    const std::uint16_t count = pushed_descriptors_;
    used_ = at;
    owned_ = static_cast<std::uint16_t>(owned_ - count);
    discard_unpublished();
    // The flags must be visible before the driver's wish is read, or both sides may miss it.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return wants_interrupt(count);
}

// VIRTIO 1.2 section 2.8.14. `published` descriptors were passed up to the used end.
bool PackedQueue::wants_interrupt(std::uint16_t published) const {
    const std::uint32_t event = load32_relaxed(driver_event_);
    const std::uint16_t flags = packed_event::flags_of(event);
    if (flags == packed_event::kDisable) {
        return false;
    }
    if (flags != packed_event::kAtDescriptor || !event_index_) {
        return true;
    }
    const PackedPlace wished = PackedPlace::decode(packed_event::place_of(event));
    const int at = int{wished.index} - (wished.wrap == used_.wrap ? 0 : int{size_});
    const int now = used_.index;
    return now - int{published} <= at && at < now;
}

void PackedQueue::suppress_kicks() {
    constexpr std::uint32_t kNever = packed_event::make(0, packed_event::kDisable);
    if (device_event_now_ != kNever) {
        device_event_now_ = kNever;
        store32_relaxed(device_event_, kNever);
    }
}

bool PackedQueue::request_kicks() {
    device_event_now_ = event_index_
                            ? packed_event::make(available_.encoded(), packed_event::kAtDescriptor)
                            : packed_event::make(0, packed_event::kEnable);
    store32_relaxed(device_event_, device_event_now_);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return has_work();
}

}  // namespace remora::virtio
