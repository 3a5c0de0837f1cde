// SPDX-License-Identifier: Apache-2.0
// Reactor: one core's event loop. Everything of the data path lives on exactly one.
//
//   turn:  io ─► mailbox ─► publish ─► pollers ─► run queue ─► publish, flush ─► timers
//
// A turn reads the clock once, lets the world's events and the virtqueues submit whole batches,
// runs what was deferred (completions, coroutines), then flushes each dirty connection. Rings are
// published before the pollers look, too. Without work it spins for PollPolicy::spin, then blocks
// in the one place, Io::wait(). Other threads reach it only through post().
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "core/check.h"
#include "core/intrusive_list.h"
#include "core/prng.h"
#include "core/segment.h"
#include "reactor/io.h"
#include "reactor/mailbox.h"
#include "reactor/timer.h"

namespace remora::reactor {

/// Something to run later in this turn or the next. Embedded in its owner; may be queued once.
class Runnable : public core::ListHook<Runnable> {
  public:
    virtual void run() = 0;

  protected:
    ~Runnable() = default;
};

/// Something that gathered output during the turn. Queued once: see flush_later, publish_later.
class Flushable : public core::ListHook<Flushable> {
  public:
    virtual void flush() = 0;

  protected:
    ~Flushable() = default;
};

/// Memory that is polled (a virtqueue). Registered for as long as it is live. One that has found
/// nothing for long is looked at more seldom, where there are many; a patient one (what it takes is
/// no I/O) more seldom still, some 0.8 ms apart.
class Poller : public core::ListHook<Poller> {
  public:
    /// Takes a batch of work. Returns whether there was any. May remove pollers, also itself, and
    /// destroy others.
    virtual bool poll() = 0;
    /// The reactor is about to sleep: ask to be notified from now on. Returns whether work is
    /// there already, seen after asking (the reactor then does not sleep).
    virtual bool prepare_sleep() = 0;
    /// The reactor is awake: notifications may be switched off again.
    virtual void end_sleep() = 0;

  protected:
    explicit Poller(bool patient = false) : patient_(patient) {}
    ~Poller() = default;

  private:
    friend class Reactor;
    std::uint32_t idle_polls_ = 0;
    bool resting_ = false;
    const bool patient_;
};

/// Memory that changes without a word to anybody (doorbells that a guest has mapped): looked at
/// while the reactor sleeps, without a turn if it is as it was. A turn visits every poller, whose
/// memory no cache holds after a sleep.
class Watched {
  public:
    /// The reactor is about to sleep: remembers how it is, before the pollers look for the last
    /// time.
    virtual void begin_watch() = 0;
    /// Whether it is not as it was when the sleep began.
    [[nodiscard]] virtual bool changed() const = 0;
    /// When to look again, seen from `now`; kNever: nothing will come that way.
    [[nodiscard]] virtual Nanos next_look(Nanos now) const = 0;

  protected:
    ~Watched() = default;
};

struct PollPolicy {
    Nanos spin{100'000};  ///< How long to look for work before blocking; kNever never blocks.
};

struct ReactorStats {
    std::uint64_t turns = 0;
    std::uint64_t busy_turns = 0;
    std::uint64_t sleeps = 0;
};

class Reactor {
  public:
    Reactor(std::uint32_t id, Io& io, Clock& clock, core::Prng prng, PollPolicy policy);
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;
    ~Reactor();

    /// The reactor whose turn this is. CHECKs that there is one.
    static Reactor& current();
    [[nodiscard]] bool is_current() const;

    /// One turn, with a look at the clock and at all pollers. Returns whether there was work.
    bool turn() { return turn(true, true); }
    /// Turns and sleeps until stop(). The calling thread becomes the reactor's.
    void run();
    /// Ends run(). Any thread.
    void stop();
    /// The two ends of a sleep, for whoever owns the loop: run() here, the world in a simulation.
    /// begin_sleep() asks for notifications from now on; true when nothing is left to do before
    /// next_deadline(). end_sleep() follows it in either case.
    bool begin_sleep();
    void end_sleep();
    /// When the loop has to turn again at the latest.
    [[nodiscard]] Nanos next_deadline() const { return std::min(timers_.next(), next_look_); }
    [[nodiscard]] bool has_queued_work() const {
        return !run_queue_.empty() || !flush_queue_.empty() || !publish_queue_.empty() ||
               !mailbox_.empty();
    }

    [[nodiscard]] std::uint32_t id() const { return id_; }
    /// Time of this turn's start; while spinning without work, of one up to three turns ago.
    [[nodiscard]] Nanos now() const { return now_; }
    /// The clock itself, some 25 ns a call: for tools that measure, not for the data path.
    [[nodiscard]] Nanos measure_now() { return clock_.now(); }
    Io& io() { return io_; }
    core::Prng& prng() { return prng_; }
    [[nodiscard]] const ReactorStats& stats() const { return stats_; }

    /// Runs `message` on this reactor. Any thread.
    void post(Message& message);
    /// Runs `f()` on this reactor. Any thread; allocates.
    template <typename F>
    void post_function(F f);

    void run_soon(Runnable& runnable) { run_queue_.push_back(runnable); }
    /// Flushes it at the end of the turn.
    void flush_later(Flushable& flushable) {
        if (!flushable.core::ListHook<Flushable>::linked()) {
            flush_queue_.push_back(flushable);
        }
    }
    /// Flushes it before the pollers look, or at the end of the turn: for answers to those who fill
    /// what is polled, and may have their next request there by then.
    void publish_later(Flushable& flushable) {
        if (!flushable.core::ListHook<Flushable>::linked()) {
            publish_queue_.push_back(flushable);
        }
    }
    void add_poller(Poller& poller);
    void remove_poller(Poller& poller);
    void arm(Timer& timer, Nanos at) { timers_.arm(timer, at); }
    void watch(Watched& watched) { watched_.push_back(&watched); }
    void unwatch(Watched& watched) { std::erase(watched_, &watched); }

    /// Bytes to receive into and parse at once; contents last until the next receive.
    std::span<std::byte> staging() { return {staging_.get(), kStagingBytes}; }
    static constexpr std::size_t kStagingBytes = std::size_t{128} * 1024;
    /// A list to gather one send or receive in: kept here, since clearing a fresh one costs more
    /// than filling it. Contents last until the next send or receive.
    std::span<core::Segment> segments() { return {segments_.get(), kSegments}; }
    static constexpr std::size_t kSegments = 256;

  private:
    using FlushQueue = core::List<Flushable, Flushable>;

    bool turn(bool timed, bool all);
    bool poll_busy();
    bool poll_resting(core::List<Poller, Poller>& pollers);
    bool run_queued();
    static void flush(FlushQueue& queue);
    void sleep();
    void plan_look(Nanos now);

    std::uint32_t id_;
    Io& io_;
    Clock& clock_;
    core::Prng prng_;
    PollPolicy policy_;
    Nanos now_;
    Nanos last_work_;
    Nanos last_rest_;           // when the resting pollers were polled
    Nanos next_look_ = kNever;  // in a sleep, at what is watched
    Mailbox mailbox_;
    std::atomic<bool> sleeping_{false};
    std::atomic<bool> stopping_{false};
    core::List<Poller, Poller> pollers_;
    core::List<Poller, Poller> resting_;
    core::List<Poller, Poller> patient_;  // resting, too
    std::uint32_t rests_ = 0;             // that ended, of those of resting_
    std::size_t busy_pollers_ = 0;        // in pollers_
    std::vector<Watched*> watched_;
    core::List<Runnable, Runnable> run_queue_;
    FlushQueue flush_queue_;
    FlushQueue publish_queue_;
    TimerHeap timers_;
    ReactorStats stats_;
    std::unique_ptr<std::byte[]> staging_;
    std::unique_ptr<core::Segment[]> segments_;
};

template <typename F>
void Reactor::post_function(F f) {
    class Owned final : public Message {
      public:
        explicit Owned(F function) : function_(std::move(function)) {}
        void run() override {
            F function = std::move(function_);
            delete this;
            function();
        }

      private:
        F function_;
    };
    post(*new Owned(std::move(f)));
}

}  // namespace remora::reactor

/// Asserts that the calling code runs on `reactor`.
#define CHECK_ON_REACTOR(reactor) CHECK((reactor).is_current())
