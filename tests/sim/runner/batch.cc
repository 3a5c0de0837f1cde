// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/runner/batch.h"

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/check.h"
#include "core/probe.h"

namespace remora::sim {

namespace {

// A seed takes some 30 ms of the processor; sanitizers make it seconds. How long that is by the
// clock is the machine's affair, but for a run that waits for ever.
constexpr unsigned kSecondsEach = 120;
constexpr unsigned kSecondsByTheClock = 3600;
constexpr unsigned kMostJobs = 64;

/// What a child leaves for its parent.
struct Slot {
    bool finished;
    Focus focus;
    std::uint64_t trace_hash;
    std::uint64_t events;
    std::uint64_t operations;
    std::int64_t simulated;
    std::uint64_t struck;  // bits
    char failure[4000];
};

template <typename T>
T* shared(std::size_t count) {
    void* memory =
        mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    return static_cast<T*>(memory);
}

std::uint64_t* shared_marks() {
    static std::uint64_t* counts = nullptr;
#ifdef REMORA_PROBES
    if (counts == nullptr) {
        counts = shared<std::uint64_t>(core::probe::marks().size() + 1);
    }
#endif
    return counts;
}

#ifdef REMORA_PROBES
void count_mark(const core::probe::Mark& mark) {
    ++shared_marks()[&mark - core::probe::marks().data()];
}
#endif

[[noreturn]] void run_child(const RunOptions& options, Slot& slot) {
    const rlimit most{kSecondsEach, kSecondsEach + 1};
    CHECK(setrlimit(RLIMIT_CPU, &most) == 0);
    alarm(kSecondsByTheClock);
#ifdef REMORA_PROBES
    core::probe::hooks.covered = &count_mark;
#endif
    const RunResult result = run_seed(options);
    slot.focus = result.focus;
    slot.trace_hash = result.trace_hash;
    slot.events = result.events;
    slot.operations = result.operations;
    slot.simulated = result.simulated.count();
    for (const Fault fault : result.struck) {
        slot.struck |= std::uint64_t{1} << static_cast<unsigned>(fault);
    }
    std::strncpy(slot.failure, result.failure.c_str(), sizeof slot.failure - 1);
    slot.finished = true;
    std::fflush(nullptr);
    _exit(0);
}

SeedOutcome outcome_of(std::uint64_t seed, const Slot& slot, int status) {
    SeedOutcome outcome;
    outcome.seed = seed;
    outcome.failure = slot.failure;
    outcome.focus = slot.focus;
    outcome.trace_hash = slot.trace_hash;
    outcome.events = slot.events;
    outcome.operations = slot.operations;
    outcome.simulated = core::Nanos(slot.simulated);
    for (std::size_t i = 0; i < kFaultCount; ++i) {
        if ((slot.struck >> i & 1U) != 0) {
            outcome.struck.push_back(static_cast<Fault>(i));
        }
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU) {
        outcome.failure = "took more than " + std::to_string(kSecondsEach) +
                          " s of the processor: it goes round in circles";
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        outcome.failure = "took more than " + std::to_string(kSecondsByTheClock) + " s: it hangs";
    } else if (WIFSIGNALED(status)) {
        outcome.failure = std::string("crashed: ") + strsignal(WTERMSIG(status)) +
                          (slot.failure[0] != 0 ? std::string("; ") + slot.failure : "");
    } else if (!slot.finished) {
        outcome.failure = "ended with status " + std::to_string(WEXITSTATUS(status));
    }
    return outcome;
}

}  // namespace

std::vector<std::uint64_t> mark_counts() {
    std::vector<std::uint64_t> counts;
#ifdef REMORA_PROBES
    for (std::size_t i = 0; i < core::probe::marks().size(); ++i) {
        counts.push_back(shared_marks()[i]);
    }
#endif
    return counts;
}

void run_batch(const RunOptions& options,
               unsigned jobs,
               const SeedSource& next,
               const std::function<void(const SeedOutcome&)>& done) {
    jobs = std::clamp(jobs, 1U, kMostJobs);
    (void)shared_marks();
    struct Running {
        std::uint64_t seed = 0;
        unsigned place = 0;
    };
    static Slot* const slots = shared<Slot>(kMostJobs);
    std::map<pid_t, Running> running;
    std::vector<unsigned> free;
    for (unsigned i = 0; i < jobs; ++i) {
        free.push_back(i);
    }
    bool more = true;
    while (more || !running.empty()) {
        while (more && !free.empty()) {
            const auto seed = next();
            more = seed.has_value();
            if (!more) {
                break;
            }
            const unsigned place = free.back();
            free.pop_back();
            std::memset(&slots[place], 0, sizeof(Slot));
            std::fflush(nullptr);
            const pid_t child = fork();
            CHECK(child >= 0);
            if (child == 0) {
                RunOptions mine = options;
                mine.seed = *seed;
                run_child(mine, slots[place]);
            }
            running.emplace(child, Running{*seed, place});
        }
        if (running.empty()) {
            break;
        }
        int status = 0;
        const pid_t ended = waitpid(-1, &status, 0);
        const auto found = running.find(ended);
        CHECK(found != running.end());
        const SeedOutcome outcome =
            outcome_of(found->second.seed, slots[found->second.place], status);
        free.push_back(found->second.place);
        running.erase(found);
        done(outcome);
    }
}

SeedOutcome run_apart(const RunOptions& options) {
    (void)shared_marks();
    static Slot* const slot = shared<Slot>(1);
    std::memset(slot, 0, sizeof(Slot));
    std::fflush(nullptr);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        run_child(options, *slot);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return outcome_of(options.seed, *slot, status);
}

std::vector<Fault> shrink(const RunOptions& options, const SeedOutcome& failed) {
    RunOptions trial = options;
    trial.seed = failed.seed;
    std::vector<Fault> needed;
    for (const Fault fault : failed.struck) {
        trial.without.push_back(fault);
        if (run_apart(trial).failure.empty()) {
            trial.without.pop_back();
            needed.push_back(fault);
        }
    }
    return needed;
}

}  // namespace remora::sim
