// SPDX-License-Identifier: Apache-2.0
// PackedInflight: a packed queue's part of the in-flight region. A packed ring forgets a chain when
// what is used first is written over it, so the descriptors themselves are kept here, and the ring
// has no used index that outlives a process, so that is kept, too. Spec: QEMU
// docs/interop/vhost-user.rst, "Inflight I/O tracking", packed virtqueue.
//
//     0  features u64 | 8 version u16 | 10 desc_num u16 | 12 free_head u16 | 14 old_free_head u16
//    16  used_idx u16 | 18 old_used_idx u16 | 20 used_wrap_counter u8 | 21 old_used_wrap_counter u8
//    32  desc[desc_num]: inflight u8, padding, next u16 at 2, last u16 at 4, num u16 at 6,
//        counter u64 at 8, id u16 at 16, flags u16 at 18, len u32 at 20, addr u64 at 24
//
// Entries are a chain's, linked by `next` from its first (where num, last and counter count) to its
// last, or on the list that begins at free_head. Order of the stores:
//   taken:      the entries at the free list's head are filled, then inflight = 1 in the first,
//   then
//               free_head and old_free_head, in one store
//   publishing: each chain goes back to the free list's front, then free_head, then used_idx with
//               its wrap counter, in one store
//   (ring):     the flags of the batch's first descriptor make it used
//   published:  inflight = 0 for the batch, then old_free_head, then old_used_idx with its counter
// A restarted process sees by that descriptor whether the ring was written: if so the update is
// brought to its end, if not it is taken back. Both may be done again after another death.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/probe.h"
#include "core/result.h"
#include "virtio/packed_queue.h"
#include "virtio/vhost_user/inflight.h"
#include "virtio/vhost_user/inflight_memory.h"

namespace remora::virtio::vhost_user {

/// When it is not attached every call does nothing. Used on the queue's reactor. What it needs to
/// know it keeps itself: the region is read in attach() only, and every number of it is checked.
class PackedInflight : private InflightMemory {
  public:
    static constexpr std::size_t kHeaderBytes = 32;
    static constexpr std::size_t kEntryBytes = 32;
    static constexpr std::uint16_t kVersion = 1;

    static constexpr std::size_t bytes_for(std::uint16_t size) {
        constexpr std::size_t kAlignment = 64;
        return (kHeaderBytes + kEntryBytes * size + kAlignment - 1) / kAlignment * kAlignment;
    }

    /// Attaches to `part` for `queue`, which was started and has taken nothing. Makes the part new
    /// when it was never used; else brings the queue to where the dead process left it, with the
    /// chains that were in flight restored. Errors: InvalidArgument when it is for another queue or
    /// contradicts itself.
    core::Result<InflightQueue::Recovery> attach(std::span<std::byte> part, PackedQueue& queue);
    void detach() { part_ = nullptr; }
    [[nodiscard]] bool attached() const { return part_ != nullptr; }

    /// The chain at `head` is about to be run.
    void taken(const PackedQueue& queue, std::uint16_t head);
    /// It was pushed and not published.
    void used(std::uint16_t head) {
        if (part_ != nullptr) {
            batch_.push_back(head);
        }
    }
    /// PackedQueue::publish() is next, and has returned.
    void publishing(const PackedQueue& queue);
    void published();

  private:
    static constexpr std::size_t kVersionOffset = 8;
    static constexpr std::size_t kSizeOffset = 10;
    static constexpr std::size_t kFreeHeadOffset = 12;
    static constexpr std::size_t kOldFreeHeadOffset = 14;
    static constexpr std::size_t kUsedOffset = 16;  // both places, 8 bytes
    static constexpr std::size_t kNextOffset = 2;
    static constexpr std::size_t kLastOffset = 4;
    static constexpr std::size_t kCountOffset = 6;
    static constexpr std::size_t kCounterOffset = 8;
    static constexpr std::size_t kWordOffset = 16;  // id, flags, length
    static constexpr std::size_t kAddressOffset = 24;

    struct Found {
        std::uint64_t counter = 0;
        std::uint16_t entry = 0;
        std::uint16_t count = 0;
    };

    [[nodiscard]] std::byte* entry_at(std::uint16_t entry) const {
        return part_ + kHeaderBytes + kEntryBytes * entry;
    }
    /// Death may strike behind each of these.
    template <typename T>
    static void put(std::byte* at, T value) {
        store<T>(at, value);
        REMORA_GUEST_MOMENT();
    }
    void put_both_free_heads() {
        put<std::uint32_t>(part_ + kFreeHeadOffset,
                           std::uint32_t{free_head_} | (std::uint32_t{free_head_} << 16U));
    }
    void put_used(PackedPlace used, PackedPlace old);
    [[nodiscard]] PackedDescriptor load_entry(std::uint16_t entry) const;
    void make_new(const PackedQueue& queue);
    bool settle_last_batch(PackedQueue& queue);
    std::size_t clear_free_list(std::vector<bool>& seen);
    bool collect(std::vector<Found>& found, std::size_t left, std::vector<bool>& seen);
    std::optional<std::uint16_t> restore(PackedQueue& queue, const Found& found);

    std::byte* part_ = nullptr;
    std::uint16_t size_ = 0;
    std::uint16_t free_head_ = 0;
    PackedPlace used_;        // as published
    PackedPlace publishing_;  // as it is going to be
    std::uint64_t counter_ = 0;
    std::vector<std::uint16_t> next_;         // of each entry, as in the region
    std::vector<std::uint16_t> first_entry_;  // of each head in flight
    std::vector<std::uint16_t> last_entry_;
    std::vector<std::uint16_t> batch_;  // reserved for the whole queue
};

}  // namespace remora::virtio::vhost_user
