// SPDX-License-Identifier: Apache-2.0
// SubmissionQueue: one I/O submission queue, polled by its reactor.
//
//   poll:     tail doorbell ─► copy a batch of commands ─► check, locate data ─► one submit a
//   volume complete: an entry each in the completion queue, which has one interrupt for all that
//   came in, or was polled, in the turn
//
// A slot per entry holds the command, its request and its segments, so what is in flight is bounded
// by the queue and no I/O allocates; what has no slot stays in the queue. Data goes from and to
// guest memory directly. A tail that no host writes breaks the queue: it takes no more.
// Owned by its function; all on the function's reactor.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "block/device.h"
#include "block/reactor_context.h"
#include "frontends/vfio_user_nvme/completion_queue.h"
#include "frontends/vfio_user_nvme/doorbells.h"
#include "frontends/vfio_user_nvme/namespaces.h"
#include "frontends/vfio_user_nvme/queue_memory.h"
#include "nvme/commands.h"
#include "nvme/data_pointer.h"
#include "nvme/health.h"
#include "nvme/spec/pcie.h"
#include "nvme/subsystem.h"
#include "reactor/reactor.h"
#include "vfio_user/dma_map.h"

namespace remora::frontends::vfio_user_nvme {

/// Bytes of one command: MDTS in units of 4 KiB pages, as a power of two.
constexpr std::uint8_t kTransferShift = 6;
constexpr std::uint32_t kMaxTransferBytes = nvme::spec::kPageBytes << kTransferShift;

struct QueueCounters {
    block::DeviceStats io;
    std::uint64_t batches = 0;           ///< Polls that found commands.
    std::uint64_t interrupts = 0;        ///< Signals to the client.
    std::uint64_t doorbells = 0;         ///< That came as messages.
    std::uint64_t refused_commands = 0;  ///< Ended without having reached a volume.
};

/// What all queues of a function share. Outlives them.
struct QueueShared {
    block::ReactorContext& context;
    Doorbells& doorbells;
    const nvme::Subsystem& subsystem;
    const vfio_user::DmaMap* memory = nullptr;  ///< Null: no client.
    bool running = false;  ///< Commands may be taken: ready, and allowed to do DMA.
    nvme::IoCounters smart{};
    nvme::ErrorNotes errors{};
    QueueCounters counters{};
    std::size_t pieces_bytes = 0;  ///< Of the pool, for commands with very many segments.

    [[nodiscard]] OpenNamespace* find(std::uint32_t nsid) const {
        return static_cast<OpenNamespace*>(subsystem.find(nsid));
    }
    [[nodiscard]] const memory::GuestMemory& guest() const { return memory->guest(); }
};

/// The function, as its queues see it. Never calls back from within.
class QueueOwner {
  public:
    /// Requests have ended; something may have waited for that.
    virtual void on_progress() = 0;
    /// The host has told a tail that cannot be: the queue stands still.
    virtual void on_invalid_doorbell() = 0;
    /// The client took memory away behind our back.
    virtual void on_memory_poisoned() = 0;

  protected:
    ~QueueOwner() = default;
};

struct SubmissionQueueSpec {
    std::uint16_t qid = 0;
    QueueMemory memory;
};

/// Its doorbell is 0 when it is made, unless it is restored.
class SubmissionQueue final : private reactor::Poller,
                              private block::Completer,
                              private CompletionOwner {
  public:
    SubmissionQueue(QueueShared& shared,
                    QueueOwner& owner,
                    CompletionQueue& completions,
                    const SubmissionQueueSpec& spec);
    SubmissionQueue(const SubmissionQueue&) = delete;
    SubmissionQueue& operator=(const SubmissionQueue&) = delete;
    ~SubmissionQueue();

    /// Takes no more commands. With `publish` false those under way are not answered any more. It
    /// is idle() at some time after that.
    void stop(bool publish);
    [[nodiscard]] bool stopping() const { return stopping_; }
    /// No request is under way, so it may be destroyed.
    [[nodiscard]] bool idle() const { return in_flight_ == 0; }
    /// Whether a request under way uses these bytes.
    [[nodiscard]] bool uses(std::span<const std::byte> bytes) const;

    /// Of one that was stopped and in which nothing is under way.
    [[nodiscard]] bool can_freeze() const { return idle() && free_.size() == memory_.entries; }
    [[nodiscard]] SubmissionQueueState save() const;
    /// Goes on where another one was. False: it has no such place.
    bool restore(const SubmissionQueueState& from);

    void locate(const memory::GuestMemory& guest) { memory_.locate(guest); }
    [[nodiscard]] std::uint16_t qid() const { return qid_; }
    [[nodiscard]] CompletionQueue& completions() { return completions_; }

  private:
    enum class SlotState : std::uint8_t {
        Free,
        Executing,  ///< In the block layer, or between two of its requests.
        Posting,    ///< Its completion waits for room.
    };
    /// One command.
    struct Slot : block::Request, core::QueueHook<Slot>, PendingCompletion {
        SlotState state = SlotState::Free;
        std::uint16_t index = 0;
        nvme::spec::Command command;
        nvme::IoPlan plan;
        OpenNamespace* target = nullptr;       ///< Entered while Executing.
        std::span<const core::Segment> guest;  ///< Its data.
        std::span<std::byte> pieces;           ///< Of the pool: `guest`, if there are very many.
        std::span<std::byte> list;             ///< Of the pool: ranges of Discard and Copy.
        std::span<std::byte> scratch;          ///< Of the pool: what is read piece by piece.
        core::Segment piece;                   ///< The part of `scratch` in use.
        std::size_t range_index = 0;           ///< Discard, Copy: next range.
        std::uint64_t piece_lba = 0;           ///< Copy: where the next piece goes.
        std::uint64_t blocks_done = 0;         ///< Of the command; Copy: of the range.
        core::Nanos submitted{};
    };
    static constexpr std::size_t kSegments = nvme::max_segments(kMaxTransferBytes);
    /// Commands of one look, and how many are copied before the first is carried out.
    static constexpr std::uint32_t kBatch = 128;
    static constexpr std::uint32_t kGroup = 8;

    bool poll() override;
    bool prepare_sleep() override;
    void end_sleep() override {}
    void complete(block::RequestBatch& batch) override;
    void on_posted(PendingCompletion& completion) override;

    [[nodiscard]] bool takes_commands() const {
        return shared_.running && !stopping_ && !broken_ && memory_.reachable();
    }
    [[nodiscard]] std::uint32_t offered();
    void take(std::uint32_t count);
    void release(Slot& slot);
    void release_buffers(Slot& slot);
    void release_pieces(Slot& slot);
    void break_queue(std::uint32_t tail);

    // execute.cc
    void admit(Slot& slot);
    std::uint16_t plan(Slot& slot);
    std::uint16_t locate(Slot& slot);
    std::span<core::Segment> more_segments(Slot& slot, std::size_t count);
    void execute(Slot& slot);
    void execute_request(Slot& slot);
    void execute_ranges(Slot& slot);
    std::uint16_t load_list(Slot& slot);
    void submit(Slot& slot);
    void submit_batch();
    void request_done(Slot& slot);
    void count(const Slot& slot);
    void answer(Slot& slot, std::uint16_t status, std::uint32_t dw0 = 0);

    // execute_pieces.cc
    void begin_pieces(Slot& slot);
    void read_piece(Slot& slot);
    void write_piece(Slot& slot);
    void piece_done(Slot& slot);
    [[nodiscard]] static bool same_as_data(const Slot& slot, std::uint64_t at);
    [[nodiscard]] static std::uint64_t blocks_left(const Slot& slot);

    [[nodiscard]] std::span<core::Segment> segments_of(const Slot& slot) const {
        return {segments_.get() + kSegments * slot.index, kSegments};
    }

    QueueShared& shared_;
    QueueOwner& owner_;
    CompletionQueue& completions_;
    const std::uint16_t qid_;
    QueueMemory memory_;
    std::uint32_t head_ = 0;
    bool stopping_ = false;
    bool publishing_ = true;
    bool broken_ = false;
    // Up to here is what a look takes that finds nothing.
    std::unique_ptr<Slot[]> slots_;
    std::unique_ptr<core::Segment[]> segments_;
    core::Queue<Slot> free_;
    block::RequestBatch batch_;
    OpenNamespace* batch_target_ = nullptr;
    std::uint32_t in_flight_ = 0;  // requests the channels hold
};

}  // namespace remora::frontends::vfio_user_nvme
