// SPDX-License-Identifier: Apache-2.0
#include "services/fault/fault_stage.h"

#include <utility>

#include "core/probe.h"
#include "reactor/reactor.h"
#include "reactor/signal.h"
#include "reactor/timer.h"
#include "services/fault/due_heap.h"

namespace remora::services::fault {

using block::Request;
using block::RequestBatch;
using block::Status;

class FaultChannel final : public block::StageChannel,
                           public core::ListHook<FaultChannel>,
                           private reactor::Runnable,
                           private reactor::TimerHandler {
  public:
    FaultChannel(FaultStage::PerReactor& here, block::Channel& lower)
        : StageChannel(lower), here_(here), reactor_(reactor::Reactor::current()) {
        here_.channels.push_back(*this);
    }
    FaultChannel(const FaultChannel&) = delete;
    FaultChannel& operator=(const FaultChannel&) = delete;
    ~FaultChannel() override {
        CHECK(waiting_.empty() && failed_.empty());
        core::ListHook<FaultChannel>::unlink();
    }

    void submit(RequestBatch& batch) override {
        if (!here_.plan->may_hit(batch)) [[likely]] {
            lower().submit(batch);
            return;
        }
        count_time();
        RequestBatch passed;
        while (Request* request = batch.pop_front()) {
            take(*request, passed);
        }
        go_on(passed);
    }

    void release() { let_go(core::kNever); }

    /// The time so far belongs to what is counted now.
    void count_time() {
        const Nanos now = reactor_.now();
        here_.delayed_ns += waiting_.size() * static_cast<std::uint64_t>((now - counted_).count());
        counted_ = now;
    }

    reactor::Task<> drain() override {
        release();
        while (!failed_.empty()) {
            REMORA_COVER("a fault stage is taken out while it fails requests");
            co_await drained_.wait_until(core::kNever);  // until the run queue has its turn
        }
    }

  private:
    void take(Request& request, RequestBatch& passed) {
        const Verdict verdict = here_.plan->draw(request, here_.prng, here_.tally);
        here_.errors += verdict.status == Status::Ok ? 0 : 1;
        here_.delayed += verdict.delayed ? 1 : 0;
        if (verdict.delay > Nanos{0}) {
            waiting_.push(request, reactor_.now() + verdict.delay, verdict.status);
        } else {
            decide(request, verdict.status, passed);
        }
    }

    void decide(Request& request, Status status, RequestBatch& passed) {
        if (status == Status::Ok) {
            passed.push_back(request);
            return;
        }
        request.status = status;
        failed_.push_back(request);
        if (!core::ListHook<reactor::Runnable>::linked()) {
            reactor_.run_soon(*this);
        }
    }

    void let_go(Nanos until) {
        count_time();
        RequestBatch passed;
        while (!waiting_.empty() && waiting_.next() <= until) {
            const DueHeap::Due due = waiting_.pop();
            decide(*due.request, due.status, passed);
        }
        go_on(passed);
    }

    void go_on(RequestBatch& passed) {
        if (waiting_.empty()) {
            timer_.cancel();
        } else if (!timer_.armed() || timer_.at() != waiting_.next()) {
            reactor_.arm(timer_, waiting_.next());
        }
        if (!passed.empty()) {
            lower().submit(passed);
        }
    }

    void on_timer(reactor::Timer& /*timer*/) override { let_go(reactor_.now()); }

    void run() override {
        RequestBatch batch = std::move(failed_);
        complete_batch(batch);
        if (failed_.empty()) {
            drained_.notify();
        }
    }

    FaultStage::PerReactor& here_;
    reactor::Reactor& reactor_;
    DueHeap waiting_;
    Nanos counted_{};      // until when waiting_ was counted
    RequestBatch failed_;  // given back from the run queue
    reactor::Signal drained_;
    reactor::Timer timer_{*this};
};

FaultStage::FaultStage(const FaultSettings& settings) {
    set(settings);
    for (PerReactor& reactor : reactors_) {
        reactor.plan = set_;
    }
}

FaultStage::~FaultStage() = default;

FaultStage::PerReactor& FaultStage::here() {
    return const_cast<PerReactor&>(std::as_const(*this).here());
}

const FaultStage::PerReactor& FaultStage::here() const {
    const std::uint32_t id = reactor::Reactor::current().id();
    CHECK(id < kMaxReactors);
    return reactors_[id];
}

void FaultStage::seed(PerReactor& here) {
    reactor::Reactor& current = reactor::Reactor::current();
    const std::uint64_t seed = here.plan->seed();
    here.prng = seed == 0 ? current.prng().fork() : core::Prng(seed + current.id());
    here.seeded = true;
}

void FaultStage::set(const FaultSettings& settings) {
    CHECK(check_settings(settings));
    set_ = std::make_shared<FaultPlan>(settings);
}

void FaultStage::show() {
    PerReactor& now = here();
    now.channels.for_each([](FaultChannel& channel) { channel.count_time(); });
    now.plan = set_;
    now.errors = now.delayed = now.delayed_ns = 0;
    now.tally = {};
    seed(now);
    if (now.plan->empty()) {
        release();
    }
}

void FaultStage::release() {
    here().channels.for_each([](FaultChannel& channel) { channel.release(); });
}

FaultCounts FaultStage::counts_here() const {
    const PerReactor& now = here();
    FaultCounts counts{.errors = now.errors,
                       .delayed = now.delayed,
                       .delayed_ns = now.delayed_ns,
                       .error_hits = {},
                       .delay_hits = {}};
    counts.error_hits.assign(
        now.tally.errors.begin(),
        now.tally.errors.begin() + static_cast<std::ptrdiff_t>(now.plan->errors()));
    counts.delay_hits.assign(
        now.tally.delays.begin(),
        now.tally.delays.begin() + static_cast<std::ptrdiff_t>(now.plan->delays()));
    return counts;
}

core::Result<std::unique_ptr<block::StageChannel>> FaultStage::open_channel(
    block::Channel& lower, std::uint32_t /*block_size*/) {
    PerReactor& now = here();
    if (!now.seeded) {
        seed(now);
    }
    return std::make_unique<FaultChannel>(now, lower);
}

}  // namespace remora::services::fault
