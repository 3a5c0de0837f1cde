// SPDX-License-Identifier: Apache-2.0
// remora-sim: runs seeds of the simulated world, and replays one with a readable trace.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <sys/random.h>
#include <unistd.h>
#include <vector>

#include <CLI/CLI.hpp>

#include "core/probe.h"
#include "tests/sim/runner/batch.h"

namespace {

using namespace remora::sim;  // NOLINT(google-build-using-namespace): this program is its surface

struct Arguments {
    std::optional<std::uint64_t> seed;
    std::optional<std::uint64_t> from;
    std::uint64_t count = 0;
    unsigned seconds = 0;
    unsigned jobs = 2;
    bool trace = false;
    bool twice = false;
    bool marks = false;
    bool keep_going = false;
    std::string focus;
    std::vector<std::string> without;
    std::string regressions;
};

constexpr const char* kExamples = R"(
Examples:
  remora-sim --seconds 60                     fresh seeds for a minute
  remora-sim --from 1 --count 2000            these seeds
  remora-sim --seed 4711 --trace              one seed, with everything that happens in it
  remora-sim --seed 4711 --without reset      the same without one kind of fault
  remora-sim --regressions tests/sim/regressions.txt
)";

std::uint64_t fresh_seed() {
    std::uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed)) {
        seed =
            static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
    }
    return seed >> 24U;  // short enough to be copied by hand
}

[[noreturn]] void refuse(const std::string& why) {
    std::cerr << "remora-sim: " << why << "\n";
    std::exit(2);
}

RunOptions options_of(const Arguments& arguments) {
    RunOptions options;
    if (!arguments.focus.empty()) {
        options.focus = parse_focus(arguments.focus);
        if (!options.focus) {
            std::string all;
            for (std::size_t i = 0; i < kFocusCount; ++i) {
                all += (i == 0 ? "" : ", ") + std::string(to_string(static_cast<Focus>(i)));
            }
            refuse("there is no scenario '" + arguments.focus + "'; there are " + all);
        }
    }
    for (const std::string& name : arguments.without) {
        const auto fault = parse_fault(name);
        if (!fault) {
            std::string all;
            for (std::size_t i = 0; i < kFaultCount; ++i) {
                all += (i == 0 ? "" : ", ") + std::string(to_string(static_cast<Fault>(i)));
            }
            refuse("there is no fault '" + name + "'; there are " + all);
        }
        options.without.push_back(*fault);
    }
    return options;
}

/// One seed a line, `SEED [SCENARIO]`, `#` begins a comment.
struct Regression {
    std::uint64_t seed = 0;
    std::optional<Focus> focus;
};
std::vector<Regression> read_regressions(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
        refuse("cannot read the seed file '" + path + "'");
    }
    std::vector<Regression> seeds;
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
        std::istringstream words(line.substr(0, line.find('#')));
        Regression one;
        std::string seed;
        std::string focus;
        if (!(words >> seed)) {
            continue;
        }
        const bool digits =
            std::ranges::all_of(seed, [](unsigned char c) { return c >= '0' && c <= '9'; });
        words >> focus;
        one.focus = focus.empty() ? std::nullopt : parse_focus(focus);
        if (!digits || seed.size() > 19 || (!focus.empty() && !one.focus) || words >> focus) {
            refuse(path + ":" + std::to_string(number) +
                   ": a line is a seed and, where it needs one, a scenario; this is not: " + line);
        }
        one.seed = std::stoull(seed);
        seeds.push_back(one);
    }
    return seeds;
}

class Report {
  public:
    explicit Report(const Arguments& arguments) : arguments_(arguments) {}

    void take(const SeedOutcome& outcome, const RunOptions& options) {
        ++seeds_;
        events_ += outcome.events;
        operations_ += outcome.operations;
        simulated_ += outcome.simulated;
        ++by_focus_[outcome.focus];
        for (const Fault fault : outcome.struck) {
            ++by_fault_[fault];
        }
        if (arguments_.twice && outcome.failure.empty()) {
            check_again(outcome, options);
        }
        if (!outcome.failure.empty()) {
            failed_.push_back({outcome, options});
            std::cout << "seed " << outcome.seed << " FAILED: " << outcome.failure << "\n"
                      << std::flush;
        }
    }

    [[nodiscard]] bool may_go_on() const { return arguments_.keep_going || failed_.size() < 5; }

    int finish(double seconds) {
        explain_failures();
        std::printf(
            "%llu seeds in %.1f s (%.0f a minute), %llu operations of guests, "
            "%.0f s of simulated time, %llu events",
            static_cast<unsigned long long>(seeds_), seconds,
            static_cast<double>(seeds_) / seconds * 60,
            static_cast<unsigned long long>(operations_),
            std::chrono::duration<double>(simulated_).count(),
            static_cast<unsigned long long>(events_));
        std::printf("%s; %zu failed\n", arguments_.twice ? ", each run twice" : "", failed_.size());
        if (arguments_.marks) {
            report_marks();
        }
        return failed_.empty() ? 0 : 1;
    }

  private:
    struct Failed {
        SeedOutcome outcome;
        RunOptions options;
    };

    void check_again(const SeedOutcome& outcome, RunOptions options) {
        options.seed = outcome.seed;
        const SeedOutcome second = run_apart(options);
        if (second.trace_hash != outcome.trace_hash) {
            SeedOutcome differs = outcome;
            differs.failure = "two runs of the seed differ: something is not simulated";
            failed_.push_back({differs, options});
            std::cout << "seed " << outcome.seed << " FAILED: " << differs.failure << "\n";
        }
    }

    void explain_failures() {
        constexpr std::size_t kExplained = 3;
        for (std::size_t i = 0; i < std::min(failed_.size(), kExplained); ++i) {
            const auto& [outcome, options] = failed_[i];
            std::cout << "\nseed " << outcome.seed << " (" << to_string(outcome.focus)
                      << "): " << outcome.failure << "\n";
            const std::vector<Fault> needed = shrink(options, outcome);
            std::cout << "  needs of the faults that struck:";
            for (const Fault fault : needed) {
                std::cout << " " << to_string(fault);
            }
            std::cout << (needed.empty() ? " none" : "") << "\n  replay: remora-sim --seed "
                      << outcome.seed;
            if (options.focus) {
                std::cout << " --scenario " << to_string(*options.focus);
            }
            for (const Fault fault : outcome.struck) {
                if (std::ranges::find(needed, fault) == needed.end()) {
                    std::cout << " --without " << to_string(fault);
                }
            }
            std::cout << " --trace\n";
        }
    }

    void report_marks() const {
#ifdef REMORA_PROBES
        const auto counts = mark_counts();
        const auto marks = remora::core::probe::marks();
        std::size_t reached = 0;
        for (std::size_t i = 0; i < marks.size(); ++i) {
            reached += counts[i] > 0 ? 1 : 0;
        }
        std::printf("\nmarks reached: %zu of %zu\n", reached, marks.size());
        for (std::size_t i = 0; i < marks.size(); ++i) {
            std::printf("%10llu  %s%s (%s:%d)\n", static_cast<unsigned long long>(counts[i]),
                        marks[i].name, counts[i] == 0 ? "   NEVER" : "", marks[i].file,
                        marks[i].line);
        }
        std::printf("\nfaults that struck, in seeds:\n");
        for (std::size_t i = 0; i < kFaultCount; ++i) {
            const auto found = by_fault_.find(static_cast<Fault>(i));
            std::printf("%10zu  %s\n", found == by_fault_.end() ? 0 : found->second,
                        std::string(to_string(static_cast<Fault>(i))).c_str());
        }
#else
        std::printf("\nno marks: this build is without REMORA_PROBES\n");
#endif
    }

    const Arguments& arguments_;
    std::size_t seeds_ = 0;
    std::uint64_t events_ = 0;
    std::uint64_t operations_ = 0;
    remora::core::Nanos simulated_{};
    std::map<Focus, std::size_t> by_focus_;
    std::map<Fault, std::size_t> by_fault_;
    std::vector<Failed> failed_;
};

int run_one(const Arguments& arguments, RunOptions options) {
    options.seed = *arguments.seed;
    options.trace = arguments.trace ? stdout : nullptr;
    const RunResult result = run_seed(options);
    std::printf(
        "seed %llu (%s): %s; %llu operations, %.3f s simulated, %llu events, trace %016llx\n",
        static_cast<unsigned long long>(options.seed), std::string(to_string(result.focus)).c_str(),
        result.failure.empty() ? "well" : result.failure.c_str(),
        static_cast<unsigned long long>(result.operations),
        std::chrono::duration<double>(result.simulated).count(),
        static_cast<unsigned long long>(result.events),
        static_cast<unsigned long long>(result.trace_hash));
    std::fflush(nullptr);
    _exit(result.failure.empty() ? 0 : 1);  // what the world abandoned is never taken apart
}

int run_many(const Arguments& arguments, const RunOptions& options) {
    const auto began = std::chrono::steady_clock::now();
    const auto elapsed = [began] {
        return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    };
    Report report(arguments);
    if (!arguments.regressions.empty()) {
        for (const Regression& one : read_regressions(arguments.regressions)) {
            RunOptions mine = options;
            mine.seed = one.seed;
            mine.focus = one.focus;
            report.take(run_apart(mine), mine);
        }
    }
    const std::uint64_t first = arguments.from.value_or(fresh_seed());
    if (arguments.count > 0 || arguments.seconds > 0) {
        std::cout << "seeds from " << first << "\n" << std::flush;
    }
    std::uint64_t given = 0;
    const auto next = [&]() -> std::optional<std::uint64_t> {
        const bool counted_out = arguments.count > 0 && given >= arguments.count;
        const bool timed_out = arguments.seconds > 0 && elapsed() >= arguments.seconds;
        const bool nothing = arguments.count == 0 && arguments.seconds == 0;
        if (counted_out || timed_out || nothing || !report.may_go_on()) {
            return std::nullopt;
        }
        return first + given++;
    };
    run_batch(options, arguments.jobs, next,
              [&](const SeedOutcome& outcome) { report.take(outcome, options); });
    return report.finish(elapsed());
}

}  // namespace

int main(int argc, char** argv) {
    Arguments arguments;
    CLI::App app{"Runs Remora in a simulated world, with faults from a seed."};
    app.footer(kExamples);
    app.add_option("--seed", arguments.seed, "Run this seed alone, in this process");
    app.add_flag("--trace", arguments.trace, "Print everything that happens (with --seed)");
    app.add_option("--from", arguments.from, "The first seed; fresh ones without");
    app.add_option("--count", arguments.count, "How many seeds");
    app.add_option("--seconds", arguments.seconds, "Run seeds for so long");
    app.add_option("--jobs", arguments.jobs, "Seeds at a time")->check(CLI::Range(1, 64));
    app.add_option("--scenario", arguments.focus,
                   "What every run is about; the seed's choice without");
    app.add_option("--without", arguments.without, "Switch a kind of fault off; may be repeated");
    app.add_option("--regressions", arguments.regressions, "Run the seeds of this file first");
    app.add_flag("--twice", arguments.twice, "Run each seed twice and compare the traces");
    app.add_flag("--marks", arguments.marks, "Say which rare paths were reached, and which never");
    app.add_flag("--keep-going", arguments.keep_going, "Do not stop after five failures");
    CLI11_PARSE(app, argc, argv);
    const RunOptions options = options_of(arguments);
    if (arguments.seed) {
        return run_one(arguments, options);
    }
    if (arguments.count == 0 && arguments.seconds == 0 && arguments.regressions.empty()) {
        refuse("say which seeds: --seed N, --count N, --seconds N or --regressions FILE (--help)");
    }
    return run_many(arguments, options);
}
