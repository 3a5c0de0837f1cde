// SPDX-License-Identifier: Apache-2.0
#include "virtio/vhost_user/inflight.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "virtio/split_queue.h"
#include "virtio/vhost_user/packed_inflight.h"

namespace remora::virtio::vhost_user {

static_assert(InflightQueue::bytes_for(128) == 2112);

// Step 1 of the spec's reconnect procedure: what was published after used_idx was written last is
// done, and is found by following `next` from last_batch_head as many times.
void InflightQueue::clear_last_batch(std::uint16_t size, std::uint16_t used_index) {
    const auto noted = load<std::uint16_t>(part_ + kUsedIndexOffset);
    auto left = static_cast<std::uint16_t>(used_index - noted);
    std::uint16_t head = load<std::uint16_t>(part_ + kLastBatchHeadOffset);
    // More than a queue full cannot be one batch: then the memory lies, and what it says is in
    // flight is checked chain by chain anyway.
    for (left = std::min(left, size); left > 0 && head < size; --left) {
        store<std::uint8_t>(entry_at(head), 0);
        head = load<std::uint16_t>(entry_at(head) + kNextOffset);
    }
    store<std::uint16_t>(part_ + kUsedIndexOffset, used_index);
}

core::Result<InflightQueue::Recovery> InflightQueue::attach(std::span<std::byte> part,
                                                            std::uint16_t size,
                                                            std::uint16_t used_index) {
    if (part.size() < bytes_for(size) ||
        reinterpret_cast<std::uintptr_t>(part.data()) % alignof(std::uint64_t) != 0) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "the in-flight memory is too small for the queue");
    }
    part_ = part.data();
    batch_.clear();
    batch_.reserve(size);
    Recovery recovery;
    if (load<std::uint16_t>(part_ + kVersionOffset) == 0) {
        std::memset(part_, 0, bytes_for(size));
        store<std::uint16_t>(part_ + kSizeOffset, size);
        store<std::uint16_t>(part_ + kUsedIndexOffset, used_index);
        store<std::uint16_t>(part_ + kVersionOffset, kVersion);
        counter_ = 0;
        last_batch_head_ = 0;
        return recovery;
    }
    if (load<std::uint16_t>(part_ + kVersionOffset) != kVersion ||
        load<std::uint16_t>(part_ + kSizeOffset) != size) {
        part_ = nullptr;
        return core::fail(core::ErrorKind::InvalidArgument,
                          "the in-flight memory is of another version or queue size");
    }
    clear_last_batch(size, used_index);
    last_batch_head_ = load<std::uint16_t>(part_ + kLastBatchHeadOffset);
    if (last_batch_head_ >= size) {
        last_batch_head_ = 0;
    }
    recovery.resumed = true;
    std::vector<std::pair<std::uint64_t, std::uint16_t>> found;
    counter_ = 0;
    for (std::uint16_t head = 0; head < size; ++head) {
        const std::byte* entry = entry_at(head);
        if (load<std::uint8_t>(entry) != 0) {
            const auto counter = load<std::uint64_t>(entry + kCounterOffset);
            found.emplace_back(counter, head);
            counter_ = std::max(counter_, counter);
        }
    }
    std::ranges::sort(found);
    for (const auto& [counter, head] : found) {
        recovery.in_flight.push_back(head);
    }
    return recovery;
}

std::uint64_t InflightRegion::bytes_for(std::uint16_t queue_count, std::uint16_t queue_size) {
    return std::uint64_t{queue_count} *
           std::max(InflightQueue::bytes_for(queue_size), PackedInflight::bytes_for(queue_size));
}

core::Result<InflightRegion> InflightRegion::map(reactor::Io& io,
                                                 reactor::Handle handle,
                                                 std::uint64_t size,
                                                 std::uint64_t offset,
                                                 std::uint16_t queue_count,
                                                 std::uint16_t queue_size) {
    if (queue_size == 0 || queue_size > SplitQueue::kMaxSize || queue_count == 0 ||
        size < InflightQueue::bytes_for(queue_size) * queue_count || size > kMaxBytes) {
        return core::fail(core::ErrorKind::InvalidArgument,
                          "the in-flight memory does not hold its queues");
    }
    auto mapping = io.map(handle, offset, size);
    if (!mapping) {
        return core::fail("in-flight memory", mapping.error());
    }
    InflightRegion region;
    region.mapping_ = std::move(*mapping);
    region.queue_count_ = queue_count;
    region.queue_size_ = queue_size;
    return region;
}

std::span<std::byte> InflightRegion::part(std::uint16_t index, bool packed) const {
    const std::size_t stride =
        packed ? PackedInflight::bytes_for(queue_size_) : InflightQueue::bytes_for(queue_size_);
    const std::span<std::byte> all = mapping_->bytes();
    if (index >= queue_count_) {
        return {};
    }
    // One that was made for split rings is too short for packed ones: attach() refuses the rest.
    const std::size_t from = std::min(stride * index, all.size() - 1);
    return all.subspan(from, std::min(stride, all.size() - from));
}

}  // namespace remora::virtio::vhost_user
