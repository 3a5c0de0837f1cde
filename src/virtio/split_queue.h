// SPDX-License-Identifier: Apache-2.0
// SplitQueue: the device side of one split virtqueue. It takes descriptor chains off the available
// ring a batch at a time, checks and translates them, and gives them back through the used ring.
// Owned by a front end's queue, used on its reactor only. It knows nothing of what a chain means.
//
//   take_heads ─► walk (per chain) ─► … ─► push_used ─► publish (once a batch)
//
// The driver is hostile. A chain that breaks the rules (a loop, an address nobody mapped, a
// zero length, readable after writable, more than max_chain descriptors, a bad indirect table) is
// refused by walk(); a ring that breaks them (an index that jumps, a head past the end) is Broken,
// and the caller ends the session. Spec: VIRTIO 1.2 section 2.7.
//
// PackedQueue (section 2.8) has the same verbs, so the queue above takes either.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "core/result.h"
#include "memory/guest_memory.h"
#include "virtio/chain.h"
#include "virtio/ring_layout.h"

namespace remora::virtio {

class SplitQueue {
  public:
    /// VIRTIO allows 32768; QEMU's queues end at 1024.
    static constexpr std::uint16_t kMaxSize = 1024;
    static constexpr std::size_t kMaxBatch = 64;

    struct Options {
        RingMemory rings;
        std::uint16_t size = 0;        ///< Power of two, at most kMaxSize.
        std::uint16_t last_avail = 0;  ///< The available index to go on from.
        std::uint16_t max_chain = 0;   ///< Most descriptors of one chain, in all tables.
        bool event_index = false;
        bool indirect = false;
    };

    /// Goes live on these rings. Errors: InvalidArgument for a size, length or alignment that the
    /// spec does not allow.
    core::Result<void> start(const Options& options);
    /// Whether start() would; looks at nothing in the rings.
    static core::Result<void> check(const Options& options);

    /// Takes the heads of the chains that are available, at most `heads.size()`, reading the index
    /// once. Nothing when the ring is broken: an index or head no driver could have written.
    std::optional<std::size_t> take_heads(std::span<std::uint16_t> heads);

    /// Translates the chain at `head` into `chain`. False when it is refused; what is in `chain`
    /// is then of no use.
    [[nodiscard]] bool walk(const memory::GuestMemory& memory,
                            std::uint16_t head,
                            Chain& chain) const;

    /// Fetches the descriptor of a head that is about to be walked into the cache.
    void prefetch(std::uint16_t head) const {
        __builtin_prefetch(descriptors_ + std::size_t{head} * sizeof(Descriptor));
    }

    /// Writes the next used element. The driver sees it after publish().
    void push_used(std::uint16_t head, std::uint32_t written_bytes);
    /// Publishes what was pushed, with one store. Returns whether the driver wants to be told.
    [[nodiscard]] bool publish();
    /// How much was pushed and not published.
    [[nodiscard]] std::uint16_t unpublished() const {
        return static_cast<std::uint16_t>(used_index_ - published_index_);
    }
    [[nodiscard]] bool has_unpublished() const { return unpublished() != 0; }
    /// Forgets what was pushed and not published.
    void discard_unpublished() { used_index_ = published_index_; }

    /// Asks the driver not to kick; again after each batch, as its event index moves on. It is
    /// written once in many: the driver reads it with every request, on another core.
    void suppress_kicks();
    /// Asks the driver to kick from now on. Returns whether there is work already, seen after
    /// asking (VIRTIO 1.2 section 2.7.10.1: the race with a driver that looked just before).
    [[nodiscard]] bool request_kicks();
    /// How many chains are available, as the driver says it: not checked yet.
    [[nodiscard]] std::size_t offered() const;
    /// Whether chains are available, without taking any.
    [[nodiscard]] bool has_work() const;

    [[nodiscard]] std::uint16_t size() const { return size_; }
    [[nodiscard]] std::uint16_t last_avail() const { return last_avail_; }
    /// The used index the driver can see.
    [[nodiscard]] std::uint16_t published_index() const { return published_index_; }

  private:
    static void append(ChainWalk& walk, const Descriptor& descriptor);
    bool walk_indirect(ChainWalk& walk, const Descriptor& table) const;

    std::byte* descriptors_ = nullptr;
    std::byte* available_ = nullptr;
    std::byte* used_ = nullptr;
    std::uint16_t size_ = 0;
    std::uint16_t mask_ = 0;
    std::uint16_t max_chain_ = 0;
    std::uint16_t last_avail_ = 0;
    std::uint16_t used_index_ = 0;       // with what was pushed
    std::uint16_t published_index_ = 0;  // as the driver sees it
    std::uint16_t parked_event_ = 0;     // the event index, while suppressed
    bool event_index_ = false;
    bool indirect_ = false;
    bool suppressed_ = false;
};

}  // namespace remora::virtio
