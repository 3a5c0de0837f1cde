// SPDX-License-Identifier: Apache-2.0
// CompletionQueue: entries to the host, one interrupt for all that came in, or was polled, in a
// turn.
//
// An entry is visible with its phase tag, so nothing more has to be published. When the host has
// not taken enough, what completes waits here, in order, and its submission queues retry with each
// look at their doorbells. Owned by the function, on its reactor.
//
// NVM Express Base Specification 2.0, Completion Queue Entry, Phase Tag.
#pragma once

#include <cstdint>

#include "core/intrusive_list.h"
#include "frontends/vfio_user_nvme/doorbells.h"
#include "frontends/vfio_user_nvme/function_state.h"
#include "frontends/vfio_user_nvme/queue_memory.h"
#include "nvme/spec/command.h"
#include "reactor/reactor.h"

namespace remora::frontends::vfio_user_nvme {

/// Told when an entry that waited is there. Never from within CompletionQueue::post().
struct PendingCompletion;
class CompletionOwner {
  public:
    virtual void on_posted(PendingCompletion& completion) = 0;

  protected:
    ~CompletionOwner() = default;
};

/// An entry, embedded in the command that it ends.
struct PendingCompletion : core::ListHook<PendingCompletion> {
    nvme::spec::Completion entry;
    CompletionOwner* owner = nullptr;
};

/// Who has the interrupts.
class InterruptSink {
  public:
    /// Entries have been put into a queue with this vector.
    virtual void interrupt(std::uint16_t vector) = 0;
    /// The host has told a head that cannot be: the queue stands still.
    virtual void on_invalid_doorbell() = 0;

  protected:
    ~InterruptSink() = default;
};

struct CompletionQueueSpec {
    std::uint16_t qid = 0;
    QueueMemory memory;
    bool interrupts = false;
    std::uint16_t vector = 0;
};

/// Its doorbell is 0 when it is made, unless it is restored.
class CompletionQueue final : private reactor::Flushable {
  public:
    CompletionQueue(reactor::Reactor& reactor,
                    Doorbells& doorbells,
                    InterruptSink& sink,
                    const CompletionQueueSpec& spec);
    CompletionQueue(const CompletionQueue&) = delete;
    CompletionQueue& operator=(const CompletionQueue&) = delete;
    ~CompletionQueue() { unlink(); }

    /// Of one in which nothing waits.
    [[nodiscard]] CompletionQueueState save() const;
    /// Goes on where another one was. False: it has no such place.
    bool restore(const CompletionQueueState& from);

    /// Puts the entry there. False: it waits, and its owner is told when it is.
    bool post(PendingCompletion& completion);
    /// Puts there what waited and now has room. Returns whether there was any.
    bool retry();
    [[nodiscard]] bool has_waiting() const { return !waiting_.empty(); }
    /// Asks the host to tell when it takes entries, if some wait. Returns whether there is room.
    bool prepare_sleep();

    /// Interrupts now for what this turn has put there.
    void settle();

    void locate(const memory::GuestMemory& guest) { spec_.memory.locate(guest); }
    /// The host has entries that it has not taken.
    [[nodiscard]] bool has_untaken() const;
    [[nodiscard]] std::uint16_t qid() const { return spec_.qid; }
    [[nodiscard]] bool interrupts() const { return spec_.interrupts; }
    [[nodiscard]] std::uint16_t vector() const { return spec_.vector; }
    /// A head that no host writes, or memory that is gone: nothing comes here any more.
    [[nodiscard]] bool broken() const { return broken_; }

    std::uint32_t users = 0;  ///< Submission queues.

  private:
    void flush() override;
    bool has_room();
    void put(const nvme::spec::Completion& entry);

    reactor::Reactor& reactor_;
    Doorbells& doorbells_;
    InterruptSink& sink_;
    CompletionQueueSpec spec_;
    core::List<PendingCompletion, PendingCompletion> waiting_;
    std::uint32_t tail_ = 0;
    std::uint32_t head_ = 0;  // as the host last told
    bool phase_ = true;
    bool broken_ = false;
};

}  // namespace remora::frontends::vfio_user_nvme
