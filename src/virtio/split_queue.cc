// SPDX-License-Identifier: Apache-2.0
#include "virtio/split_queue.h"

#include <atomic>
#include <bit>
#include <string>

#include "core/check.h"
#include "core/prefetch.h"
#include "core/probe.h"

namespace remora::virtio {

namespace {

constexpr std::size_t kFlagsOffset = 0;
constexpr std::size_t kIndexOffset = 2;
constexpr std::size_t kRingOffset = 4;
constexpr std::size_t kUsedElementBytes = 8;

// VIRTIO 1.2 section 2.7.8: struct virtq_used_elem.
struct UsedElement {
    core::le32 id;
    core::le32 length;
};
static_assert(sizeof(UsedElement) == kUsedElementBytes);

core::Result<void> check_part(std::span<const std::byte> part,
                              std::size_t bytes,
                              std::size_t alignment,
                              const char* name) {
    if (part.size() < bytes) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          std::string(name) + " is not inside one shared memory region");
    }
    if (reinterpret_cast<std::uintptr_t>(part.data()) % alignment != 0) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          std::string(name) + " is not aligned to " + std::to_string(alignment));
    }
    return {};
}

}  // namespace

core::Result<void> SplitQueue::check(const Options& options) {
    if (!std::has_single_bit(options.size) || options.size > kMaxSize) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "a queue size is a power of two up to " + std::to_string(kMaxSize) +
                              ", not " + std::to_string(options.size));
    }
    const RingMemory& rings = options.rings;
    if (auto ok = check_part(rings.descriptors, descriptor_table_bytes(options.size),
                             kDescriptorAlignment, "the descriptor table");
        !ok) {
        return ok;
    }
    if (auto ok =
            check_part(rings.available, available_ring_bytes(options.size, options.event_index),
                       kAvailableAlignment, "the available ring");
        !ok) {
        return ok;
    }
    return check_part(rings.used, used_ring_bytes(options.size, options.event_index),
                      kUsedAlignment, "the used ring");
}

core::Result<void> SplitQueue::start(const Options& options) {
    CHECK(options.max_chain > 0);
    if (auto ok = check(options); !ok) {
        return ok;
    }
    const RingMemory& rings = options.rings;
    descriptors_ = rings.descriptors.data();
    available_ = rings.available.data();
    used_ = rings.used.data();
    size_ = options.size;
    mask_ = static_cast<std::uint16_t>(options.size - 1U);
    max_chain_ = options.max_chain;
    last_avail_ = options.last_avail;
    event_index_ = options.event_index;
    indirect_ = options.indirect;
    used_index_ = load16_relaxed(used_ + kIndexOffset);
    published_index_ = used_index_;
    suppressed_ = false;
    return {};
}

std::optional<std::size_t> SplitQueue::take_heads(std::span<std::uint16_t> heads) {
    // The next head's line and the index's are fetched together, not one after the other.
    __builtin_prefetch(available_ + kRingOffset + std::size_t{2} * (last_avail_ & mask_));
    const std::uint16_t index = load16_acquire(available_ + kIndexOffset);
    const auto pending = static_cast<std::uint16_t>(index - last_avail_);
    if (pending == 0) {
        return 0;
    }
    // The driver owns at most `size` descriptors, so it cannot be further ahead than that.
    if (pending > size_) {
        return std::nullopt;
    }
    core::prefetch_to_write(used_ + kRingOffset + kUsedElementBytes * (used_index_ & mask_));
    const std::size_t count = std::min<std::size_t>(pending, heads.size());
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t slot = (last_avail_ + i) & mask_;
        const std::uint16_t head = load16_relaxed(available_ + kRingOffset + 2 * slot);
        REMORA_GUEST_MOMENT();
        if (head >= size_) {
            return std::nullopt;
        }
        heads[i] = head;
    }
    last_avail_ = static_cast<std::uint16_t>(last_avail_ + count);
    return count;
}

void SplitQueue::append(ChainWalk& walk, const Descriptor& descriptor) {
    walk.append(descriptor.address, descriptor.length,
                (descriptor.flags & descriptor_flags::kWrite) != 0);
}

// VIRTIO 1.2 section 2.7.5.3: the table is a chain of its own that starts at entry 0; it holds no
// further indirect descriptor.
bool SplitQueue::walk_indirect(ChainWalk& walk, const Descriptor& table) const {
    const std::uint32_t bytes = table.length;
    if (bytes == 0 || bytes % sizeof(Descriptor) != 0) {
        return walk.give_up();
    }
    const std::uint64_t entries = bytes / sizeof(Descriptor);
    const std::uint64_t base = table.address;
    std::uint64_t at = 0;
    for (;;) {
        if (walk.descriptors++ >= max_chain_ || at >= entries) {
            return walk.give_up();
        }
        std::uint64_t address = 0;
        if (__builtin_add_overflow(base, at * sizeof(Descriptor), &address)) {
            return walk.give_up();
        }
        Descriptor descriptor;
        const auto whole = walk.memory.run_at(address, sizeof(Descriptor));
        if (whole.size() == sizeof(Descriptor)) {
            descriptor = load_descriptor(whole.data());
        } else {
            std::byte copy[sizeof(Descriptor)];
            if (!walk.memory.copy_out(address, copy)) {
                return walk.give_up();
            }
            std::memcpy(&descriptor, copy, sizeof(descriptor));
        }
        const std::uint16_t flags = descriptor.flags;
        if ((flags & descriptor_flags::kIndirect) != 0) {
            return walk.give_up();
        }
        append(walk, descriptor);
        if ((flags & descriptor_flags::kNext) == 0) {
            return walk.finish();
        }
        at = descriptor.next;
    }
}

bool SplitQueue::walk(const memory::GuestMemory& memory, std::uint16_t head, Chain& chain) const {
    DCHECK(head < size_);
    ChainWalk walk(memory, chain);
    std::uint16_t at = head;
    for (;;) {
        if (walk.descriptors >= max_chain_) {
            return walk.give_up();
        }
        const Descriptor descriptor =
            load_descriptor(descriptors_ + std::size_t{at} * sizeof(Descriptor));
        const std::uint16_t flags = descriptor.flags;
        if ((flags & descriptor_flags::kIndirect) != 0) {
            // The write flag of the descriptor that holds the table means nothing (section
            // 2.7.5.3.2); a next flag beside the indirect one is forbidden (2.7.5.3.1).
            return indirect_ && (flags & descriptor_flags::kNext) == 0
                       ? walk_indirect(walk, descriptor)
                       : walk.give_up();
        }
        ++walk.descriptors;
        append(walk, descriptor);
        if ((flags & descriptor_flags::kNext) == 0) {
            return walk.finish();
        }
        at = descriptor.next;
        if (at >= size_) {
            return walk.give_up();
        }
    }
}

void SplitQueue::push_used(std::uint16_t head, std::uint32_t written_bytes) {
    DCHECK(static_cast<std::uint16_t>(used_index_ - published_index_) < size_);
    UsedElement element;
    element.id = head;
    element.length = written_bytes;
    const std::size_t slot = used_index_ & mask_;
    std::memcpy(used_ + kRingOffset + slot * kUsedElementBytes, &element, sizeof(element));
    ++used_index_;
}

bool SplitQueue::publish() {
    const std::uint16_t before = published_index_;
    store16_release(used_ + kIndexOffset, used_index_);
    published_index_ = used_index_;
    // The index must be visible before the driver's wish is read, or both sides may miss it.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (event_index_) {
        const std::uint16_t event =
            load16_relaxed(available_ + kRingOffset + std::size_t{2} * size_);
        return passes_event(event, published_index_, before);
    }
    return (load16_relaxed(available_ + kFlagsOffset) & kAvailNoInterrupt) == 0;
}

void SplitQueue::suppress_kicks() {
    // The driver is at most a ring's size past what was taken, and another one by the next call.
    const auto distance = static_cast<std::uint16_t>(parked_event_ - last_avail_);
    if (suppressed_ && (!event_index_ || distance >= 2U * size_)) {
        return;
    }
    suppressed_ = true;
    if (event_index_) {
        // An event index just behind us is the one the driver reaches last.
        parked_event_ = static_cast<std::uint16_t>(last_avail_ - 1U);
        store16_relaxed(used_ + kRingOffset + kUsedElementBytes * size_, parked_event_);
    } else {
        store16_relaxed(used_ + kFlagsOffset, kUsedNoNotify);
    }
}

bool SplitQueue::request_kicks() {
    suppressed_ = false;
    if (event_index_) {
        store16_relaxed(used_ + kRingOffset + kUsedElementBytes * size_, last_avail_);
    } else {
        store16_relaxed(used_ + kFlagsOffset, 0);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return has_work();
}

std::size_t SplitQueue::offered() const {
    return static_cast<std::uint16_t>(load16_relaxed(available_ + kIndexOffset) - last_avail_);
}

bool SplitQueue::has_work() const {
    return offered() != 0;
}

}  // namespace remora::virtio
