// SPDX-License-Identifier: Apache-2.0
#include "virtio/split_queue.h"

#include <atomic>
#include <bit>
#include <string>

#include "core/check.h"
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

core::Result<void> SplitQueue::start(const Options& options) {
    if (!std::has_single_bit(options.size) || options.size > kMaxSize) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "a queue size is a power of two up to " + std::to_string(kMaxSize) +
                              ", not " + std::to_string(options.size));
    }
    CHECK(options.max_chain > 0);
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
    if (auto ok = check_part(rings.used, used_ring_bytes(options.size, options.event_index),
                             kUsedAlignment, "the used ring");
        !ok) {
        return ok;
    }
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
    return {};
}

std::optional<std::size_t> SplitQueue::take_heads(std::span<std::uint16_t> heads) {
    const std::uint16_t index = load16_acquire(available_ + kIndexOffset);
    const auto pending = static_cast<std::uint16_t>(index - last_avail_);
    if (pending == 0) {
        return 0;
    }
    // The driver owns at most `size` descriptors, so it cannot be further ahead than that.
    if (pending > size_) {
        return std::nullopt;
    }
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

// What walk() keeps while it follows a chain.
struct SplitQueue::Walk {
    const memory::GuestMemory& memory;
    Chain& chain;
    std::size_t segments = 0;       // filled in chain.storage
    std::uint16_t descriptors = 0;  // seen, against max_chain_: every loop ends there
};

bool SplitQueue::append(Walk& walk, const Descriptor& descriptor) const {
    Chain& chain = walk.chain;
    const bool writable = (descriptor.flags & descriptor_flags::kWrite) != 0;
    // VIRTIO 1.2 section 2.7.4.2: device-readable parts come before device-writable ones.
    if (!writable && chain.writable != 0) {
        return false;
    }
    std::uint64_t address = descriptor.address;
    std::uint64_t left = descriptor.length;
    if (left == 0) {
        return false;
    }
    (writable ? chain.writable_bytes : chain.readable_bytes) += left;
    while (left > 0) {
        const std::span<std::byte> run = walk.memory.run_at(address, left);
        if (run.empty() || walk.segments == chain.storage.size()) {
            return false;
        }
        chain.storage[walk.segments++] = {run.data(), run.size()};
        ++(writable ? chain.writable : chain.readable);
        address += run.size();
        left -= run.size();
    }
    return true;
}

// VIRTIO 1.2 section 2.7.5.3: the table is a chain of its own that starts at entry 0; it holds no
// further indirect descriptor.
bool SplitQueue::walk_indirect(Walk& walk, const Descriptor& table) const {
    const std::uint32_t bytes = table.length;
    if (bytes == 0 || bytes % sizeof(Descriptor) != 0) {
        return false;
    }
    const std::uint64_t entries = bytes / sizeof(Descriptor);
    const std::uint64_t base = table.address;
    std::uint64_t at = 0;
    for (;;) {
        if (walk.descriptors++ >= max_chain_ || at >= entries) {
            return false;
        }
        std::uint64_t address = 0;
        if (__builtin_add_overflow(base, at * sizeof(Descriptor), &address)) {
            return false;
        }
        Descriptor descriptor;
        const auto whole = walk.memory.run_at(address, sizeof(Descriptor));
        if (whole.size() == sizeof(Descriptor)) {
            descriptor = load_descriptor(whole.data());
        } else {
            std::byte copy[sizeof(Descriptor)];
            if (!walk.memory.copy_out(address, copy)) {
                return false;
            }
            std::memcpy(&descriptor, copy, sizeof(descriptor));
        }
        const std::uint16_t flags = descriptor.flags;
        if ((flags & descriptor_flags::kIndirect) != 0 || !append(walk, descriptor)) {
            return false;
        }
        if ((flags & descriptor_flags::kNext) == 0) {
            return true;
        }
        at = descriptor.next;
    }
}

bool SplitQueue::walk(const memory::GuestMemory& memory, std::uint16_t head, Chain& chain) const {
    DCHECK(head < size_);
    chain.readable = 0;
    chain.writable = 0;
    chain.readable_bytes = 0;
    chain.writable_bytes = 0;
    Walk walk{.memory = memory, .chain = chain};
    std::uint16_t at = head;
    for (;;) {
        if (walk.descriptors >= max_chain_) {
            return false;
        }
        const Descriptor descriptor =
            load_descriptor(descriptors_ + std::size_t{at} * sizeof(Descriptor));
        const std::uint16_t flags = descriptor.flags;
        if ((flags & descriptor_flags::kIndirect) != 0) {
            // The write flag of the descriptor that holds the table means nothing (section
            // 2.7.5.3.2); a next flag beside the indirect one is forbidden (2.7.5.3.1).
            return indirect_ && (flags & descriptor_flags::kNext) == 0 &&
                   walk_indirect(walk, descriptor);
        }
        ++walk.descriptors;
        if (!append(walk, descriptor)) {
            return false;
        }
        if ((flags & descriptor_flags::kNext) == 0) {
            return true;
        }
        at = descriptor.next;
        if (at >= size_) {
            return false;
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
    if (event_index_) {
        // An event index just behind us is the one the driver reaches last.
        store16_relaxed(used_ + kRingOffset + kUsedElementBytes * size_,
                        static_cast<std::uint16_t>(last_avail_ - 1U));
    } else {
        store16_relaxed(used_ + kFlagsOffset, kUsedNoNotify);
    }
}

bool SplitQueue::request_kicks() {
    if (event_index_) {
        store16_relaxed(used_ + kRingOffset + kUsedElementBytes * size_, last_avail_);
    } else {
        store16_relaxed(used_ + kFlagsOffset, 0);
    }
    std::atomic_thread_fence(std::memory_order_seq_cst);
    return has_work();
}

bool SplitQueue::has_work() const {
    return load16_relaxed(available_ + kIndexOffset) != last_avail_;
}

}  // namespace remora::virtio
