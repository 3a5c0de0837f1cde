// SPDX-License-Identifier: Apache-2.0
// IntegrityChannel: the I/O of an IntegrityDevice on one reactor.
//
//   read:     page ─► below ─► sums ─► compared ─► up
//                                        └─ no match: again, alone with its blocks, into a buffer
//   write:    copied and summed ─► page, blocks ─► {old, new} ─► page written ─► below ─► noted ─►
//   up zeroes:   page, blocks ─► {never} ─► page written ─► up           (discard: then also below)
//
// A request goes part by part (integrity_slot.h). What writes change in a page while that is being
// written goes with its next write, together: the busier a page, the more share one.
//
// A write is copied, because a guest may change its memory while it is written; and a read is
// blamed on the disk only when it did not match in a buffer of our own.
//
// Buffers are those of the reactor's pool, a quarter at most, or the channel's own reserve. Nobody
// waits for a buffer who has a page, and for a page who has another: so every wait ends.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "block/deferred.h"
#include "block/device.h"
#include "memory/buffer_pool.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "reactor/timer.h"
#include "services/integrity/checksum_cache.h"
#include "services/integrity/integrity_shared.h"
#include "services/integrity/integrity_slot.h"

namespace remora::services::integrity {

/// A step of a scrub: a read that is compared, and whose bytes nobody gets. Its range is of the
/// volume; a block that does not match is reported, and does not make it fail.
struct ScrubRequest : block::Request {
    std::uint64_t blocks_read = 0;  ///< Those that were ever written.
};

class IntegrityChannel final : public block::Channel,
                               private block::Completer,
                               private reactor::TimerHandler,
                               private reactor::Runnable {
  public:
    static constexpr std::size_t kSlots = 128;
    static constexpr std::size_t kPageIos = 32;
    static constexpr std::size_t kReserveBytes = std::size_t{64} * 1024;
    /// Bytes summed in one turn, some 0.2 ms: neighbours on the reactor do not wait for more.
    static constexpr std::size_t kBytesPerTurn = std::size_t{2} << 20U;

    /// `shared` outlives it. Errors: ResourceExhausted, those of the device below.
    static core::Result<std::unique_ptr<IntegrityChannel>> create(IntegrityShared& shared);
    IntegrityChannel(const IntegrityChannel&) = delete;
    IntegrityChannel& operator=(const IntegrityChannel&) = delete;
    ~IntegrityChannel() override;

    void submit(block::RequestBatch& batch) override;
    /// The wait of one of its slots is over. On its reactor.
    void resume(Slot& slot);

    // For the keeper.
    void submit_scrub(ScrubRequest& request);
    enum class Settle : std::uint8_t { Idle, All };
    struct Unsettled {
        bool needs_flush = false;  ///< Some pages wait for one.
        bool any = false;          ///< Something is not below yet.
    };
    /// Begins to write pages that memory has newer: those not written to since the last call, or
    /// all. What is not durable yet waits for a flush.
    Unsettled settle(Settle which);
    /// Begins a flush below, if none is under way.
    void flush();
    /// Nothing of its own is under way; `signal` is told when that comes to be.
    [[nodiscard]] bool quiet() const;
    void tell_when_quiet(reactor::Signal* signal) { quiet_signal_ = signal; }

  private:
    enum class Progress : std::uint8_t {
        Next,   ///< The next stage, at once.
        Waits,  ///< Somebody has the slot and will send it on. It may be elsewhere already.
        Later,  ///< In the next turn.
    };
    /// I/O of our own: a page, or a block that is looked at.
    struct PageIo : core::QueueHook<PageIo> {
        enum class Kind : std::uint8_t { Load, Write, Look };
        Kind kind = Kind::Load;
        CachedPage* page = nullptr;
        Slot* slot = nullptr;  // Look
        std::uint32_t entry = 0;
        bool again = false;  // Load: it was damaged, and is read once more
        std::span<std::byte> buffer;
        core::Segment segment;
        block::Request request;
    };
    class OwnCompleter final : public block::Completer {
      public:
        explicit OwnCompleter(IntegrityChannel& channel) : channel_(channel) {}
        void complete(block::RequestBatch& batch) override { channel_.complete_own(batch); }

      private:
        IntegrityChannel& channel_;
    };
    using Memory = std::unique_ptr<std::byte, void (*)(std::byte*)>;

    IntegrityChannel(IntegrityShared& shared, std::unique_ptr<block::Channel> lower, Memory memory);

    // The order of things.
    void complete(block::RequestBatch& batch) override;
    void complete_own(block::RequestBatch& batch);
    void on_timer(reactor::Timer& timer) override;
    void run() override;
    void begin_turn();
    void go_on_next_turn();
    [[nodiscard]] bool spend(std::size_t bytes);
    void work();
    void hand_up(bool within_submit);
    void admit();
    void advance(Slot& slot);
    Progress step(Slot& slot);
    void wake();

    // Slots: integrity_parts.cc
    Progress begin_part(Slot& slot);
    Progress claim(Slot& slot);
    Progress release(Slot& slot);
    void release_page(Slot& slot);
    void finish(Slot& slot);
    Progress wait_for_flush(Slot& slot, std::uint64_t needed);
    [[nodiscard]] bool take_buffer(Slot& slot, std::size_t bytes);
    void give_buffer(Slot& slot);

    // Reads: integrity_read.cc
    Progress look(Slot& slot);
    Progress read_below(Slot& slot);
    Progress zero(Slot& slot);
    Progress check(Slot& slot);
    void sum(Slot& slot);
    bool judge(Slot& slot);
    bool judge_exact(Slot& slot);
    bool judge_block(Slot& slot, std::uint32_t i);

    // Writes: integrity_write.cc
    void copy_in(Slot& slot);
    Progress prepare(Slot& slot);
    Progress prepare_zeroes(Slot& slot);
    Progress commit(Slot& slot);
    void revert(Slot& slot);
    Progress write_below(Slot& slot);
    Progress note(Slot& slot);

    // Pages: integrity_pages.cc
    Progress obtain(PageSet& set, Slot& slot);
    Progress evicted(Slot& slot);
    PageIo* take_page_io();
    void give_page_io(PageIo& io);
    void submit_own(PageIo& io, block::Opcode opcode, std::uint64_t lba, std::uint32_t blocks);
    void want_write(CachedPage& page, Slot& slot);
    bool lead_write(Slot& slot);
    void write_pages();
    [[nodiscard]] bool page_io_done(PageIo& io);
    [[nodiscard]] bool loaded(PageIo& io);
    [[nodiscard]] bool written(PageIo& io);
    [[nodiscard]] bool looked(PageIo& io);
    Progress look_at_block(Slot& slot, std::uint32_t entry);

    // integrity_settle.cc
    void flush_below();
    void flush_done();
    void settle_set(PageSet& set, Settle which, Unsettled& found);

    IntegrityShared& shared_;
    std::unique_ptr<block::Channel> lower_;
    memory::BufferPool* pool_;
    const block::Geometry geometry_;  // of the volume
    const std::size_t block_size_;
    const bool volatile_below_;
    reactor::Reactor& reactor_;
    OwnCompleter own_;

    Memory memory_;  // the reserve, then a page for each PageIo
    bool reserve_used_ = false;
    std::size_t pool_bytes_ = 0;  // held

    reactor::Timer next_turn_;
    core::Nanos turn_{-1};  // that bytes_left_ belongs to
    std::size_t bytes_left_ = 0;

    std::vector<std::unique_ptr<Slot>> slots_;
    SlotQueue free_;
    SlotQueue ready_;
    SlotQueue later_;  // in the next turn
    SlotQueue woken_;  // of any channel, to be sent on once no lock is held
    SlotQueue waiting_buffer_;
    SlotQueue waiting_page_io_;
    SlotQueue waiting_flush_;
    block::RequestBatch waiting_;  // without a slot
    block::RequestBatch down_;
    block::RequestBatch up_;
    block::DeferredCompletions deferred_;

    std::vector<std::unique_ptr<PageIo>> page_ios_;
    core::Queue<PageIo> free_page_ios_;
    core::Queue<PageIo> later_page_ios_;  // done, but a lock was taken
    core::Queue<CachedPage> page_writes_;

    block::Request flush_;
    bool flushing_ = false;
    std::uint64_t flush_number_ = 0;
    reactor::Signal* quiet_signal_ = nullptr;
};

}  // namespace remora::services::integrity
