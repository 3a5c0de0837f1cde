// SPDX-License-Identifier: Apache-2.0
#include "reactor/reactor.h"

#include <algorithm>
#include <utility>

namespace remora::reactor {

namespace {

// The reactor whose turn runs on this thread. A thread runs one at a time; a simulation switches.
thread_local Reactor* current_reactor = nullptr;

class CurrentScope {
  public:
    explicit CurrentScope(Reactor* reactor) : before_(current_reactor) {
        current_reactor = reactor;
    }
    CurrentScope(const CurrentScope&) = delete;
    CurrentScope& operator=(const CurrentScope&) = delete;
    ~CurrentScope() { current_reactor = before_; }

  private:
    Reactor* before_;
};

// A turn gives the sockets and rings their chance again after so many deferred runs.
constexpr std::size_t kRunsPerTurn = 4096;

// Asking for the time takes as long as all else in a turn that finds nothing to do: while spinning
// it is asked once in so many, some 0.2 us.
constexpr std::uint32_t kTurnsPerLook = 4;

// A poller that found nothing for so many turns rests, and is polled once in so many then, or after
// that time if turns are long: the virtqueues of idle disks lie in caches that the busy ones need.
// A few cost too little to rest.
constexpr std::uint32_t kPollsToRest = 1024;
constexpr std::uint64_t kTurnsPerRest = 48;
constexpr Nanos kLongestRest{100'000};
constexpr std::size_t kNeverRest = 4;
constexpr std::uint32_t kRestsOfThePatient = 8;

}  // namespace

Reactor::Reactor(std::uint32_t id, Io& io, Clock& clock, core::Prng prng, PollPolicy policy)
    : id_(id),
      io_(io),
      clock_(clock),
      prng_(prng),
      policy_(policy),
      now_(clock.now()),
      last_work_(now_),
      last_rest_(now_),
      staging_(std::make_unique<std::byte[]>(kStagingBytes)),
      segments_(std::make_unique<core::Segment[]>(kSegments)) {}

Reactor::~Reactor() = default;

Reactor& Reactor::current() {
    CHECK(current_reactor != nullptr);
    return *current_reactor;
}

bool Reactor::is_current() const {
    return current_reactor == this;
}

void Reactor::post(Message& message) {
    if (mailbox_.push(message) && sleeping_.load(std::memory_order_seq_cst)) {
        io_.wake();
    }
}

void Reactor::add_poller(Poller& poller) {
    poller.idle_polls_ = 0;
    poller.resting_ = false;
    pollers_.push_back(poller);
    ++busy_pollers_;
}

void Reactor::remove_poller(Poller& poller) {
    if (poller.core::ListHook<Poller>::linked()) {
        busy_pollers_ -= poller.resting_ ? 0 : 1;
        poller.core::ListHook<Poller>::unlink();
    }
}

bool Reactor::poll_busy() {
    bool worked = false;
    pollers_.for_each([this, &worked](Poller& poller) {
        if (poller.poll()) {
            worked = true;
            poller.idle_polls_ = 0;
        } else if (++poller.idle_polls_ >= kPollsToRest && busy_pollers_ > kNeverRest &&
                   poller.core::ListHook<Poller>::linked()) {
            remove_poller(poller);
            poller.resting_ = true;
            (poller.patient_ ? patient_ : resting_).push_back(poller);
        }
    });
    return worked;
}

bool Reactor::poll_resting(core::List<Poller, Poller>& pollers) {
    bool worked = false;
    pollers.for_each([this, &worked](Poller& poller) {
        if (poller.poll()) {
            worked = true;
            if (poller.core::ListHook<Poller>::linked()) {
                remove_poller(poller);
                add_poller(poller);
            }
        }
    });
    return worked;
}

bool Reactor::turn(bool timed, bool all) {
    const CurrentScope scope(this);
    if (timed) {
        now_ = clock_.now();
    }
    bool worked = io_.poll();
    worked |= mailbox_.drain();
    flush(publish_queue_);
    worked |= poll_busy();
    if (all || stats_.turns % kTurnsPerRest == 0 || now_ - last_rest_ >= kLongestRest) {
        last_rest_ = now_;
        worked |= poll_resting(resting_);
        if (all || ++rests_ % kRestsOfThePatient == 0) {
            worked |= poll_resting(patient_);
        }
    }
    worked |= run_queued();
    flush(publish_queue_);
    flush(flush_queue_);
    // What a timer begins is seen as work when it moves; one that only looks costs no spinning.
    const bool fired = timers_.fire(now_) > 0;
    ++stats_.turns;
    if (worked) {
        ++stats_.busy_turns;
        last_work_ = now_;
    }
    return worked || fired;
}

bool Reactor::run_queued() {
    bool worked = false;
    for (std::size_t runs = 0; runs < kRunsPerTurn; ++runs) {
        Runnable* next = run_queue_.pop_front();
        if (next == nullptr) {
            break;
        }
        worked = true;
        next->run();
    }
    return worked;
}

void Reactor::flush(FlushQueue& queue) {
    // What a flush makes dirty again is for the next time.
    FlushQueue batch;
    batch.splice_back(queue);
    while (Flushable* next = batch.pop_front()) {
        next->flush();
    }
}

void Reactor::run() {
    std::uint32_t idle = 0;
    bool woken = true;
    while (!stopping_.load(std::memory_order_relaxed)) {
        const bool timed = idle % kTurnsPerLook == 0;
        const bool all = std::exchange(woken, false);
        ++idle;
        if (turn(timed, all)) {
            idle = 0;
            continue;
        }
        const bool spin = !timed || policy_.spin == kNever || now_ - last_work_ < policy_.spin;
        if (!spin && !has_queued_work()) {
            sleep();
            woken = true;
            idle = 0;
        }
    }
}

void Reactor::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    io_.wake();
}

bool Reactor::begin_sleep() {
    const CurrentScope scope(this);
    std::ranges::for_each(watched_, &Watched::begin_watch);
    plan_look(now_);
    // Ask for notifications, say that we sleep, then look once more: a producer either sees
    // `sleeping` and wakes us, or we see what it produced (both sides use seq_cst).
    bool ready = false;
    for (auto* pollers : {&pollers_, &resting_, &patient_}) {
        pollers->for_each([&ready](Poller& poller) { ready |= poller.prepare_sleep(); });
    }
    ready |= has_queued_work();  // a last look may have found what has to be told
    sleeping_.store(true, std::memory_order_seq_cst);
    ready |= !mailbox_.empty() || stopping_.load(std::memory_order_seq_cst);
    return !ready;
}

void Reactor::end_sleep() {
    const CurrentScope scope(this);
    sleeping_.store(false, std::memory_order_seq_cst);
    next_look_ = kNever;
    for (auto* pollers : {&pollers_, &resting_, &patient_}) {
        pollers->for_each([](Poller& poller) { poller.end_sleep(); });
    }
}

void Reactor::plan_look(Nanos now) {
    next_look_ = kNever;
    for (const Watched* watched : watched_) {
        next_look_ = std::min(next_look_, watched->next_look(now));
    }
}

void Reactor::sleep() {
    if (begin_sleep()) {
        ++stats_.sleeps;
        for (;;) {
            const Nanos next = next_deadline();
            const Nanos now = clock_.now();
            if (io_.wait(next == kNever ? kNever : std::max(next - now, Nanos{0})) ||
                timers_.next() <= clock_.now() ||
                std::ranges::any_of(watched_, &Watched::changed)) {
                break;
            }
            plan_look(clock_.now());
        }
    }
    end_sleep();
}

}  // namespace remora::reactor
