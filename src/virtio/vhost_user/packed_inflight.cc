// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/packed_inflight.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"

namespace remora::virtio::vhost_user {

static_assert(PackedInflight::bytes_for(128) == 4160);

void PackedInflight::put_used(PackedPlace used, PackedPlace old) {
    const std::uint64_t word = std::uint64_t{used.index} | (std::uint64_t{old.index} << 16U) |
                               (std::uint64_t{used.wrap} << 32U) | (std::uint64_t{old.wrap} << 40U);
    put<std::uint64_t>(part_ + kUsedOffset, word);
}

void PackedInflight::taken(const PackedQueue& queue, std::uint16_t head) {
    if (part_ == nullptr) {
        return;
    }
    const PackedQueue::Taken chain = queue.taken(head);
    const std::uint16_t first = free_head_;
    std::uint16_t last = first;
    std::uint16_t index = chain.first;
    for (std::uint16_t i = 0; i < chain.count; ++i) {
        const PackedDescriptor& descriptor = queue.copied(index);
        CHECK(free_head_ < size_);  // there are as many entries as descriptors
        last = free_head_;
        std::byte* entry = entry_at(last);
        put<std::uint64_t>(entry + kWordOffset, std::uint64_t{descriptor.id} |
                                                    (std::uint64_t{descriptor.flags} << 16U) |
                                                    (std::uint64_t{descriptor.length} << 32U));
        put<std::uint64_t>(entry + kAddressOffset, descriptor.address);
        free_head_ = next_[last];
        index = index + 1U == size_ ? std::uint16_t{0} : static_cast<std::uint16_t>(index + 1U);
    }
    std::byte* entry = entry_at(first);
    put<std::uint16_t>(entry + kLastOffset, last);
    put<std::uint16_t>(entry + kCountOffset, chain.count);
    put<std::uint64_t>(entry + kCounterOffset, ++counter_);
    put<std::uint8_t>(entry, 1);
    put_both_free_heads();
    first_entry_[head] = first;
    last_entry_[head] = last;
}

void PackedInflight::publishing(const PackedQueue& queue) {
    if (part_ == nullptr) {
        return;
    }
    queue.mark_unpublished();
    for (const std::uint16_t head : batch_) {
        const std::uint16_t last = last_entry_[head];
        put<std::uint16_t>(entry_at(last) + kNextOffset, free_head_);
        next_[last] = free_head_;
        free_head_ = first_entry_[head];
    }
    put<std::uint16_t>(part_ + kFreeHeadOffset, free_head_);
    publishing_ = queue.pushed_place();
    put_used(publishing_, used_);
}

void PackedInflight::published() {
    if (part_ == nullptr) {
        return;
    }
    std::atomic_signal_fence(std::memory_order_seq_cst);
    for (const std::uint16_t head : batch_) {
        put<std::uint8_t>(entry_at(first_entry_[head]), 0);
    }
    batch_.clear();
    put<std::uint16_t>(part_ + kOldFreeHeadOffset, free_head_);
    used_ = publishing_;
    put_used(used_, used_);
}

void PackedInflight::make_new(const PackedQueue& queue) {
    std::memset(part_, 0, bytes_for(size_));
    for (std::uint16_t i = 0; i < size_; ++i) {
        next_[i] = static_cast<std::uint16_t>(i + 1U);
        put<std::uint16_t>(entry_at(i) + kNextOffset, next_[i]);
    }
    put<std::uint16_t>(part_ + kSizeOffset, size_);
    used_ = queue.base().used;
    put_used(used_, used_);
    put<std::uint16_t>(part_ + kVersionOffset, kVersion);
    free_head_ = 0;
    counter_ = 0;
}

// Steps 1 and 2 of the spec's reconnect procedure. False when it cannot be of this queue.
bool PackedInflight::settle_last_batch(PackedQueue& queue) {
    const auto word = load<std::uint64_t>(part_ + kUsedOffset);
    const PackedPlace used{static_cast<std::uint16_t>(word & 0xffffU), (word >> 32U & 0xffU) != 0};
    const PackedPlace old{static_cast<std::uint16_t>(word >> 16U & 0xffffU),
                          (word >> 40U & 0xffU) != 0};
    if (used.index >= size_ || old.index >= size_) {
        return false;
    }
    used_ = old;
    if (used != old && queue.was_published(old)) {
        REMORA_COVER("guest: a packed batch was published and not settled");
        used_ = used;
        free_head_ = load<std::uint16_t>(part_ + kFreeHeadOffset);
        put<std::uint16_t>(part_ + kOldFreeHeadOffset, free_head_);
    } else if (used != old) {
        REMORA_COVER("guest: a packed batch was noted and not published");
    }
    queue.resume_at(used_, used);
    put_used(used_, used_);
    free_head_ = load<std::uint16_t>(part_ + kOldFreeHeadOffset);
    put<std::uint16_t>(part_ + kFreeHeadOffset, free_head_);
    return true;
}

// Step 3: what is free is not in flight. Returns how many that are.
std::size_t PackedInflight::clear_free_list(std::vector<bool>& seen) {
    std::size_t count = 0;
    for (std::uint16_t entry = free_head_; entry < size_ && !seen[entry]; entry = next_[entry]) {
        seen[entry] = true;
        next_[entry] = load<std::uint16_t>(entry_at(entry) + kNextOffset);
        put<std::uint8_t>(entry_at(entry), 0);
        ++count;
    }
    return count;
}

PackedDescriptor PackedInflight::load_entry(std::uint16_t entry) const {
    const auto word = load<std::uint64_t>(entry_at(entry) + kWordOffset);
    PackedDescriptor descriptor;
    descriptor.id = static_cast<std::uint16_t>(word & 0xffffU);
    descriptor.flags = static_cast<std::uint16_t>(word >> 16U & 0xffffU);
    descriptor.length = static_cast<std::uint32_t>(word >> 32U);
    descriptor.address = load<std::uint64_t>(entry_at(entry) + kAddressOffset);
    return descriptor;
}

// Finds the chains in flight and follows each. Every entry belongs to one chain or is free.
bool PackedInflight::collect(std::vector<Found>& found, std::size_t left, std::vector<bool>& seen) {
    for (std::uint16_t first = 0; first < size_; ++first) {
        if (load<std::uint8_t>(entry_at(first)) == 0) {
            continue;
        }
        const Found chain{.counter = load<std::uint64_t>(entry_at(first) + kCounterOffset),
                          .entry = first,
                          .count = load<std::uint16_t>(entry_at(first) + kCountOffset)};
        if (chain.count == 0 || chain.count > left) {
            return false;
        }
        std::uint16_t entry = first;
        for (std::uint16_t i = 0; i < chain.count; ++i) {
            if (entry >= size_ || seen[entry]) {
                return false;
            }
            seen[entry] = true;
            next_[entry] = load<std::uint16_t>(entry_at(entry) + kNextOffset);
            entry = next_[entry];
        }
        left -= chain.count;
        found.push_back(chain);
    }
    std::ranges::sort(found, {},
                      [](const Found& one) { return std::pair(one.counter, one.entry); });
    return left == 0;
}

std::optional<std::uint16_t> PackedInflight::restore(PackedQueue& queue, const Found& found) {
    std::vector<PackedDescriptor> descriptors;
    std::uint16_t entry = found.entry;
    std::uint16_t last = entry;
    for (std::uint16_t i = 0; i < found.count; ++i) {
        last = entry;
        descriptors.push_back(load_entry(entry));
        entry = next_[entry];
    }
    const std::uint16_t head = descriptors.back().id;
    if (!queue.restore(head, descriptors)) {
        return std::nullopt;
    }
    first_entry_[head] = found.entry;
    last_entry_[head] = last;
    counter_ = std::max(counter_, found.counter);
    return head;
}

core::Result<InflightQueue::Recovery> PackedInflight::attach(std::span<std::byte> part,
                                                             PackedQueue& queue) {
    const std::uint16_t size = queue.size();
    const auto refuse = [this](const char* why) {
        part_ = nullptr;
        return core::fail(core::ErrorKind::InvalidArgument, why);
    };
    if (part.size() < bytes_for(size) ||
        reinterpret_cast<std::uintptr_t>(part.data()) % alignof(std::uint64_t) != 0) {
        return refuse("the in-flight memory is too small for the packed queue");
    }
    part_ = part.data();
    size_ = size;
    batch_.clear();
    batch_.reserve(size);
    next_.assign(size, 0);
    first_entry_.assign(size, 0);
    last_entry_.assign(size, 0);
    InflightQueue::Recovery recovery;
    if (load<std::uint16_t>(part_ + kVersionOffset) == 0) {
        make_new(queue);
        return recovery;
    }
    if (load<std::uint16_t>(part_ + kVersionOffset) != kVersion ||
        load<std::uint16_t>(part_ + kSizeOffset) != size) {
        return refuse("the in-flight memory is of another version or queue size");
    }
    recovery.resumed = true;
    counter_ = 0;
    std::vector<bool> seen(size, false);
    std::vector<Found> found;
    if (!settle_last_batch(queue) || !collect(found, size - clear_free_list(seen), seen)) {
        return refuse("the in-flight memory contradicts itself");
    }
    for (const Found& chain : found) {
        const auto head = restore(queue, chain);
        if (!head) {
            return refuse("the in-flight memory contradicts itself");
        }
        recovery.in_flight.push_back(*head);
    }
    return recovery;
}

}  // namespace remora::virtio::vhost_user
