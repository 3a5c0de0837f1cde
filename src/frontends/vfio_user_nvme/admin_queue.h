// SPDX-License-Identifier: Apache-2.0
// AdminQueue: the admin submission queue, polled by its reactor. What is the same on every
// transport nvme::Controller does; the commands for queues the function does.
//
// Admin data is small and rare: it is copied through one buffer, and all but Asynchronous Event
// Requests and deletions that wait end within the call. Owned by its function.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "frontends/vfio_user_nvme/completion_queue.h"
#include "frontends/vfio_user_nvme/submission_queue.h"
#include "nvme/controller.h"

namespace remora::frontends::vfio_user_nvme {

/// The function: commands that only a controller on PCIe has.
class QueueCommands {
  public:
    /// Nothing when it is none of those.
    virtual std::optional<nvme::AdminResult> run_queue_command(const nvme::spec::Command& command,
                                                               nvme::CommandToken token) = 0;
    /// What the subsystem as a whole knows.
    virtual nvme::Census take_census() = 0;

  protected:
    ~QueueCommands() = default;
};

/// Its doorbell is 0 when it is made, unless it is restored.
class AdminQueue final : private reactor::Poller, private CompletionOwner {
  public:
    AdminQueue(QueueShared& shared,
               QueueOwner& owner,
               QueueCommands& commands,
               nvme::Controller& controller,
               CompletionQueue& completions,
               const QueueMemory& memory);
    AdminQueue(const AdminQueue&) = delete;
    AdminQueue& operator=(const AdminQueue&) = delete;
    ~AdminQueue();

    /// Nothing is answered any more.
    void discard() { discarding_ = true; }
    /// Ends a command that was left pending.
    void complete_held(nvme::CommandToken token, std::uint16_t status, std::uint32_t dw0);
    /// The command that is being carried out ends with Controller::finish().
    void request_census(nvme::CommandToken token) { census_for_ = token; }

    /// Every command that was taken is answered, or an event request.
    [[nodiscard]] bool can_freeze() const;
    [[nodiscard]] SubmissionQueueState save() const;
    /// Goes on where another one was. False: it has no such place.
    bool restore(const SubmissionQueueState& from);
    /// An event request that another one took; what complete_held() ends it by. Nothing: there is
    /// no room.
    std::optional<nvme::CommandToken> hold_event_request(std::uint16_t cid);

    void locate(const memory::GuestMemory& guest) { memory_.locate(guest); }

  private:
    struct Slot : PendingCompletion, core::QueueHook<Slot> {
        nvme::spec::Command command;
        nvme::CommandToken token = 0;
        bool held = false;
    };
    /// More than Asynchronous Event Requests and deletions of every queue.
    static constexpr std::size_t kSlots = 128;
    static constexpr int kMostInTurn = 8;

    bool poll() override;
    bool prepare_sleep() override;
    void end_sleep() override {}
    void on_posted(PendingCompletion& completion) override;

    [[nodiscard]] std::uint32_t offered();
    [[nodiscard]] bool takes_commands() const {
        return shared_.running && !discarding_ && !broken_ && memory_.reachable();
    }
    void run(Slot& slot);
    nvme::AdminResult execute(Slot& slot);
    std::uint16_t move_data(const Slot& slot, const nvme::AdminPlan& plan, bool to_host);
    void answer(Slot& slot, std::uint16_t status, std::uint32_t dw0);
    void release(Slot& slot);

    QueueShared& shared_;
    QueueOwner& owner_;
    QueueCommands& commands_;
    nvme::Controller& controller_;
    CompletionQueue& completions_;
    QueueMemory memory_;
    std::uint32_t head_ = 0;
    bool discarding_ = false;
    bool broken_ = false;
    // Up to here is what a look takes that finds nothing.
    std::array<Slot, kSlots> slots_;
    core::Queue<Slot> free_;
    std::vector<std::byte> buffer_;
    std::vector<core::Segment> segments_;
    std::optional<nvme::CommandToken> census_for_;
};

}  // namespace remora::frontends::vfio_user_nvme
