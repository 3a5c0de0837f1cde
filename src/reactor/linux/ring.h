// SPDX-License-Identifier: Apache-2.0
// Ring: the reactor's io_uring. Used for readiness, files and the one blocking wait; socket bytes
// go by plain recvmsg and sendmsg, which measured as fast or faster (docs/PERFORMANCE.md).
//
// Idle polling costs three memory reads and no system call: completion tail, the kernel's
// task-run flag, and our own unsubmitted count (IORING_SETUP_TASKRUN_FLAG).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <liburing.h>

#include "core/intrusive_list.h"
#include "core/result.h"
#include "reactor/clock.h"

namespace remora::reactor {

/// What a completion entry is delivered to; its address is the entry's user data.
class Completion {
  public:
    virtual void on_completion(int result, bool more) = 0;

  protected:
    ~Completion() = default;
};

class WatchOwner {
  public:
    /// The poll events that are set. Never called once the watch was dropped.
    virtual void on_poll(unsigned tag, unsigned events) = 0;

  protected:
    ~WatchOwner() = default;
};

class Ring;

/// A poll of one descriptor, the ring's own because the kernel may still hold it after its owner is
/// gone; it goes back to the ring with its last completion. Made by Ring::watch.
class Watch final : public Completion, public core::ListHook<Watch> {
  public:
    void on_completion(int result, bool more) override;
    /// The owner lets go: no more events.
    void drop();

  private:
    friend class Ring;
    Watch(Ring& ring, WatchOwner& owner, unsigned tag, int fd, unsigned events, bool repeat)
        : ring_(ring), owner_(&owner), tag_(tag), fd_(fd), events_(events), repeat_(repeat) {}
    ~Watch();
    void arm();

    Ring& ring_;
    WatchOwner* owner_;
    unsigned tag_;
    int fd_;
    unsigned events_;
    bool repeat_;
    bool armed_ = false;
};

/// Adds one to an eventfd by the ring, never by a call: the descriptor's other holder may have made
/// it blocking and filled its counter, and a reactor must not wait for that. One write is under way
/// at a time; signals meanwhile become one more. Made by Ring::doorbell.
class Doorbell final : public Completion, public core::ListHook<Doorbell> {
  public:
    void on_completion(int result, bool more) override;
    void signal();
    /// The owner lets go of it, and may close the descriptor: what was signalled is on its way.
    void drop();

  private:
    friend class Ring;
    Doorbell(Ring& ring, int fd) : ring_(ring), fd_(fd) {}
    ~Doorbell();
    void write();

    Ring& ring_;
    int fd_;
    bool writing_ = false;
    bool again_ = false;
    bool dropped_ = false;
};

class Ring {
  public:
    static core::Result<std::unique_ptr<Ring>> create();
    Ring(const Ring&) = delete;
    Ring& operator=(const Ring&) = delete;
    ~Ring();

    /// Watches `fd` for `events` (POLLIN...): edge-triggered for ever when `repeat`, else once
    /// (then drop it). on_poll comes from reap().
    Watch* watch(WatchOwner& owner, unsigned tag, int fd, unsigned events, bool repeat);
    /// For signalling the eventfd `fd`. Drop it when done.
    Doorbell* doorbell(int fd);
    /// Watches and doorbells whose last completion has not come; for tests.
    [[nodiscard]] std::size_t live() const { return live_; }
    /// A free submission entry; submits what is queued when there is none.
    io_uring_sqe* entry();
    /// Submits what is queued.
    void submit();
    /// Submits what is queued and delivers what has completed. Returns whether anything had.
    bool reap();
    /// Blocks until a completion or for `timeout`.
    /// False: the time has passed.
    bool wait(Nanos timeout);

  private:
    friend class Watch;
    friend class Doorbell;
    /// The watch has ended. Its memory is kept for the next: those of connections in use come and
    /// go (busy_poll.h).
    void release(Watch& watch);
    // Not a poll removal: the kernel refuses to remove a poll whose event is on its way (EALREADY),
    // and a multishot one then lives on and keeps its socket.
    void cancel(Completion& of);
    Ring() = default;

    static constexpr unsigned kEntries = 1024;
    static constexpr std::size_t kSpares = 64;
    io_uring ring_{};
    bool ready_ = false;
    std::size_t live_ = 0;
    core::List<Watch, Watch> watches_;
    std::vector<void*> spares_;  // memory of a Watch each
    core::List<Doorbell, Doorbell> doorbells_;
};

}  // namespace remora::reactor
