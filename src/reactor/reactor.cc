// SPDX-License-Identifier: Apache-2.0
#include "reactor/reactor.h"

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

}  // namespace

Reactor::Reactor(std::uint32_t id, Io& io, Clock& clock, core::Prng prng, PollPolicy policy)
    : id_(id),
      io_(io),
      clock_(clock),
      prng_(prng),
      policy_(policy),
      now_(clock.now()),
      last_work_(now_),
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

bool Reactor::turn() {
    const CurrentScope scope(this);
    now_ = clock_.now();
    bool worked = io_.poll();
    worked |= mailbox_.drain();
    pollers_.for_each([&worked](Poller& poller) { worked |= poller.poll(); });
    worked |= run_queued();
    flush_queued();
    worked |= timers_.fire(now_) > 0;
    ++stats_.turns;
    if (worked) {
        ++stats_.busy_turns;
        last_work_ = now_;
    }
    return worked;
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

void Reactor::flush_queued() {
    // What a flush makes dirty again is flushed in the next turn.
    core::List<Flushable, Flushable> batch;
    batch.splice_back(flush_queue_);
    while (Flushable* next = batch.pop_front()) {
        next->flush();
    }
}

void Reactor::run() {
    while (!stopping_.load(std::memory_order_relaxed)) {
        const bool worked = turn();
        const bool spin = policy_.spin == kNever || now_ - last_work_ < policy_.spin;
        if (!worked && !spin && !has_queued_work()) {
            sleep();
        }
    }
}

void Reactor::stop() {
    stopping_.store(true, std::memory_order_relaxed);
    io_.wake();
}

bool Reactor::begin_sleep() {
    const CurrentScope scope(this);
    // Ask for notifications, say that we sleep, then look once more: a producer either sees
    // `sleeping` and wakes us, or we see what it produced (both sides use seq_cst).
    bool ready = has_queued_work();
    pollers_.for_each([&ready](Poller& poller) { ready |= poller.prepare_sleep(); });
    sleeping_.store(true, std::memory_order_seq_cst);
    ready |= !mailbox_.empty() || stopping_.load(std::memory_order_seq_cst);
    return !ready;
}

void Reactor::end_sleep() {
    const CurrentScope scope(this);
    sleeping_.store(false, std::memory_order_seq_cst);
    pollers_.for_each([](Poller& poller) { poller.end_sleep(); });
    last_work_ = clock_.now();
}

void Reactor::sleep() {
    if (begin_sleep()) {
        ++stats_.sleeps;
        const Nanos next = timers_.next();
        const Nanos now = clock_.now();
        io_.wait(next == kNever ? kNever : std::max(next - now, Nanos{0}));
    }
    end_sleep();
}

}  // namespace remora::reactor
