// SPDX-License-Identifier: Apache-2.0
// PackedQueue: the device side of one packed virtqueue, with the verbs of SplitQueue. Owned by a
// front end's queue, used on its reactor only. It knows nothing of what a chain means.
//
//   take_heads ─► walk (per chain) ─► … ─► push_used ─► publish (once a batch)
//
// A head is a chain's buffer id here. take_heads() copies each descriptor out of the ring once and
// walk() reads the copies, since the ring's own are overwritten by whatever is used first. Nothing
// is written to the ring before publish(), which writes the batch backwards in effect: the flags of
// its first descriptor come last, and with them the driver sees all of it.
//
// The driver is hostile. An id past the end or in flight already, and descriptors of the device
// offered as if they were the driver's (a chain without end, too), make the ring Broken; a chain
// that walk() refuses is one of the split queue's. Spec: VIRTIO 1.2 section 2.8.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/result.h"
#include "memory/guest_memory.h"
#include "virtio/chain.h"
#include "virtio/packed_layout.h"
#include "virtio/ring_layout.h"

namespace remora::virtio {

class PackedQueue {
  public:
    /// VIRTIO allows 32768; QEMU's queues end at 1024.
    static constexpr std::uint16_t kMaxSize = 1024;

    struct Options {
        RingMemory rings;
        std::uint16_t size = 0;  ///< At most kMaxSize; any number.
        PackedBase base;         ///< Where to go on.
        std::uint16_t max_chain = 0;
        bool event_index = false;
        bool indirect = false;
    };

    /// A chain in the device's hands: `count` descriptors in the copy of the ring, from `first`.
    struct Taken {
        std::uint16_t first = 0;
        std::uint16_t count = 0;  ///< 0: the id is not in flight.
    };

    /// Goes live on these rings. Errors: InvalidArgument for a size, length, alignment or base that
    /// the spec does not allow.
    core::Result<void> start(const Options& options);
    /// Whether start() would; looks at nothing in the rings.
    static core::Result<void> check(const Options& options);

    /// Takes chains that are available, at most `heads.size()`. Nothing when the ring is broken;
    /// then none is taken.
    std::optional<std::size_t> take_heads(std::span<std::uint16_t> heads);
    /// Puts a chain that is in flight already into place, as a process before this one took it:
    /// oldest first, before anything is taken. False when that cannot be.
    bool restore(std::uint16_t head, std::span<const PackedDescriptor> descriptors);

    /// See SplitQueue::walk.
    [[nodiscard]] bool walk(const memory::GuestMemory& memory,
                            std::uint16_t head,
                            Chain& chain) const;
    void prefetch(std::uint16_t head) const { __builtin_prefetch(&taken_[head]); }

    /// Notes that the chain is done. The driver sees it after publish().
    void push_used(std::uint16_t head, std::uint32_t written_bytes);
    /// Where the used end will be with what was pushed.
    [[nodiscard]] PackedPlace pushed_place() const {
        return used_.after(pushed_descriptors_, size_);
    }
    /// Makes the descriptor at the used end say that it is not used, whatever the driver left in
    /// it, so that it tells later whether publish() came to its end.
    void mark_unpublished() const;
    /// Writes what was pushed. Returns whether the driver wants to be told.
    [[nodiscard]] bool publish();
    /// How many chains were pushed and not published.
    [[nodiscard]] std::uint16_t unpublished() const { return pushed_count_; }
    [[nodiscard]] bool has_unpublished() const { return pushed_count_ != 0; }
    /// Forgets what was pushed and not published.
    void discard_unpublished();

    void suppress_kicks();
    [[nodiscard]] bool request_kicks();
    [[nodiscard]] bool has_work() const { return is_available(available_); }

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] PackedBase base() const { return {available_, used_}; }

    /// For the in-flight region. What a head's descriptors were, and the copy they are in.
    [[nodiscard]] Taken taken(std::uint16_t head) const { return taken_[head]; }
    [[nodiscard]] const PackedDescriptor& copied(std::uint16_t index) const {
        return copies_[index];
    }
    /// Whether a batch that began at `place` was published, by a process that is gone.
    [[nodiscard]] bool was_published(PackedPlace place) const;
    /// Goes on from `used` with nothing in flight; then restore() what is. Descriptors up to
    /// `written` say that they are not used: what a dead process wrote and did not publish.
    void resume_at(PackedPlace used, PackedPlace written);

  private:
    struct Used {
        std::uint32_t length = 0;
        std::uint16_t head = 0;
    };
    [[nodiscard]] std::byte* descriptor_at(std::uint16_t index) const {
        return ring_ + std::size_t{index} * sizeof(PackedDescriptor);
    }
    [[nodiscard]] bool is_available(PackedPlace place) const;
    /// Copies the chain at `at`, which is available. Its length; 0 when the ring is broken.
    std::uint16_t copy_chain(PackedPlace at, std::uint16_t room, std::uint16_t& head);
    bool walk_indirect(ChainWalk& walk, const PackedDescriptor& table) const;
    [[nodiscard]] bool wants_interrupt(std::uint16_t published) const;

    std::byte* ring_ = nullptr;
    std::byte* driver_event_ = nullptr;
    std::byte* device_event_ = nullptr;
    std::uint16_t size_ = 0;
    std::uint16_t max_chain_ = 0;
    PackedPlace available_;                 // the next one to take
    PackedPlace used_;                      // the next one to publish
    std::uint16_t owned_ = 0;               // descriptors from used_ to available_
    std::uint16_t pushed_count_ = 0;        // chains in pushed_
    std::uint16_t pushed_descriptors_ = 0;  // and their descriptors
    std::uint32_t device_event_now_ = 0;    // what we wrote there last
    bool event_index_ = false;
    bool indirect_ = false;
    std::uint16_t room_ = 0;                      // size of the three below
    std::unique_ptr<PackedDescriptor[]> copies_;  // by place in the ring
    std::unique_ptr<Taken[]> taken_;              // by id
    std::unique_ptr<Used[]> pushed_;
};

}  // namespace remora::virtio
