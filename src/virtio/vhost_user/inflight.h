// SPDX-License-Identifier: Apache-2.0
// The in-flight region: memory that the front end keeps while the back end restarts, in which each
// queue notes what it has taken and not given back. Spec: QEMU docs/interop/vhost-user.rst,
// "Inflight I/O tracking", split virtqueue. PackedInflight is the same for packed ones.
//
//   region: one part per queue, each
//     0  features u64 | 8 version u16 | 10 desc_num u16 | 12 last_batch_head u16 | 14 used_idx u16
//    16  desc[desc_num]: inflight u8, padding, next u16 at 6, counter u64 at 8
//
// Order of the stores, so that a kill at any instruction loses nothing:
//   taken:     counter, then inflight = 1
//   given up:  next = last_batch_head, last_batch_head = head (once per used element),
//              then used->idx, then inflight = 0 for the batch, then used_idx
// A restarted process sees used_idx behind used->idx when the last batch was published but not yet
// cleared, clears it, and runs again what is still in flight, in the order of the counters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/probe.h"
#include "core/result.h"
#include "reactor/io.h"
#include "virtio/vhost_user/inflight_memory.h"

namespace remora::virtio::vhost_user {

/// One queue's part of the region. When it is not attached every call does nothing. Used on the
/// queue's reactor; the memory belongs to the session and outlives the queue's run.
class InflightQueue : private InflightMemory {
  public:
    static constexpr std::size_t kHeaderBytes = 16;
    static constexpr std::size_t kEntryBytes = 16;
    static constexpr std::uint16_t kVersion = 1;

    /// Bytes of one queue's part.
    static constexpr std::size_t bytes_for(std::uint16_t size) {
        constexpr std::size_t kAlignment = 64;
        return (kHeaderBytes + kEntryBytes * size + kAlignment - 1) / kAlignment * kAlignment;
    }

    /// What a queue goes on from.
    struct Recovery {
        bool resumed = false;                  ///< The region was in use before: a reconnect.
        std::vector<std::uint16_t> in_flight;  ///< Heads to run again, oldest first.
    };

    /// Attaches to `part` for a queue of `size` whose used index is `used_index`; makes it new when
    /// it was never used. Errors: InvalidArgument when it is for another queue.
    core::Result<Recovery> attach(std::span<std::byte> part,
                                  std::uint16_t size,
                                  std::uint16_t used_index);
    void detach() { part_ = nullptr; }
    [[nodiscard]] bool attached() const { return part_ != nullptr; }

    /// The chain at `head` is about to be run.
    void taken(std::uint16_t head) {
        if (part_ != nullptr) {
            std::byte* entry = entry_at(head);
            store<std::uint64_t>(entry + kCounterOffset, ++counter_);
            REMORA_GUEST_MOMENT();
            store<std::uint8_t>(entry, 1);
        }
    }
    /// Its used element is written but not published.
    void used(std::uint16_t head) {
        if (part_ != nullptr) {
            store<std::uint16_t>(entry_at(head) + kNextOffset, last_batch_head_);
            REMORA_GUEST_MOMENT();
            store<std::uint16_t>(part_ + kLastBatchHeadOffset, head);
            last_batch_head_ = head;
            batch_.push_back(head);
        }
    }
    /// used->idx has become `used_index`.
    void published(std::uint16_t used_index) {
        if (part_ != nullptr) {
            std::atomic_signal_fence(std::memory_order_seq_cst);
            for (const std::uint16_t head : batch_) {
                store<std::uint8_t>(entry_at(head), 0);
                REMORA_GUEST_MOMENT();
            }
            batch_.clear();
            store<std::uint16_t>(part_ + kUsedIndexOffset, used_index);
        }
    }

  private:
    static constexpr std::size_t kVersionOffset = 8;
    static constexpr std::size_t kSizeOffset = 10;
    static constexpr std::size_t kLastBatchHeadOffset = 12;
    static constexpr std::size_t kUsedIndexOffset = 14;
    static constexpr std::size_t kNextOffset = 6;
    static constexpr std::size_t kCounterOffset = 8;

    [[nodiscard]] std::byte* entry_at(std::uint16_t head) const {
        return part_ + kHeaderBytes + kEntryBytes * head;
    }
    void clear_last_batch(std::uint16_t size, std::uint16_t used_index);

    std::byte* part_ = nullptr;
    std::uint64_t counter_ = 0;
    std::uint16_t last_batch_head_ = 0;
    std::vector<std::uint16_t> batch_;  // reserved for the whole queue
};

/// The whole region, mapped. Owned by a session.
class InflightRegion {
  public:
    /// Far more than 64 queues of 1024 need.
    static constexpr std::uint64_t kMaxBytes = std::uint64_t{16} << 20U;

    /// Bytes of a region that has room for queues of either kind: which one they are may be agreed
    /// on later.
    static std::uint64_t bytes_for(std::uint16_t queue_count, std::uint16_t queue_size);
    /// Maps what the front end sent. Errors: InvalidArgument for sizes that do not fit.
    static core::Result<InflightRegion> map(reactor::Io& io,
                                            reactor::Handle handle,
                                            std::uint64_t size,
                                            std::uint64_t offset,
                                            std::uint16_t queue_count,
                                            std::uint16_t queue_size);

    /// The part of one queue, split or packed; empty when the region has none for it.
    [[nodiscard]] std::span<std::byte> part(std::uint16_t index, bool packed) const;
    [[nodiscard]] bool poisoned() const { return mapping_->poisoned(); }

  private:
    std::unique_ptr<reactor::Mapping> mapping_;
    std::uint16_t queue_count_ = 0;
    std::uint16_t queue_size_ = 0;
};

}  // namespace remora::virtio::vhost_user
