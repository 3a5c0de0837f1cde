// SPDX-License-Identifier: Apache-2.0
// stage_cost: what the stages of a volume's chain cost. One reactor reads 4 KiB blocks at random
// places of a RAM volume, bare and through each chain in turn.
//
// Each round measures each chain once and the bare volume before and after it; a row's ratio is
// that of its rate to the mean of the two, the median over the rounds. Rates are by the thread's
// processor time. Ends with exit code 1 when a stage alone costs more than its bar or anything
// allocates.
#include <algorithm>
#include <cstdio>
#include <ranges>
#include <vector>

#include <CLI/CLI.hpp>

#include "backends/ram/ram_device.h"
#include "bench/stages/chains.h"
#include "bench/stages/load.h"
#include "core/histogram.h"
#include "memory/buffer_pool.h"
#include "tests/support/block_client.h"
#include "tests/support/one_reactor.h"

namespace remora::bench {

namespace {

struct Options {
    int rounds = 101;
    int slice_ms = 20;
    std::uint64_t mib = 512;
    std::size_t depth = 128;
    int changes = 1000;
    double bar = 0.97;
};

struct Slice {
    double rate = 0;  ///< I/Os a second of processor time.
    std::uint64_t allocations = 0;
};

struct Row {
    const Chain* chain;
    std::unique_ptr<block::Channel> channel;
    std::vector<double> ns;      ///< Processor time of an I/O.
    std::vector<double> ratios;  ///< To the bare volume.
    std::uint64_t allocations = 0;
};

/// What was never written is one page of zeros, and in the cache.
reactor::Task<> fill(block::Device& ram) {
    auto channel = std::move(*ram.open_channel());
    test::BlockClient client(*channel);
    std::vector<std::byte> data = test::pattern(core::kMiB, 1);
    const core::Segment whole{data.data(), data.size()};
    constexpr auto kBlocks = static_cast<std::uint32_t>(core::kMiB / kBlockSize);
    for (std::uint64_t lba = 0; lba < ram.geometry().block_count; lba += kBlocks) {
        const block::Status status =
            co_await client.perform(block::Opcode::Write, lba, kBlocks, std::span(&whole, 1));
        CHECK(status == block::Status::Ok);
    }
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

void stop(test::OneReactor& reactor, ReadLoad& load) {
    load.pause();
    reactor.turn_until([&load] { return load.idle(); });
}

Slice measure(test::OneReactor& reactor,
              ReadLoad& load,
              block::Channel& channel,
              const Options& options) {
    constexpr std::uint64_t kNanosPerMs = 1'000'000;
    constexpr int kTurnsALook = 8;  // at the clock, which is a system call
    reactor.run([&]() -> reactor::Task<> {
        load.start(channel);
        co_return;
    });
    reactor.turn(kTurnsALook);
    const std::uint64_t ended = load.ended();
    const std::uint64_t allocated = allocations();
    const std::uint64_t begin = thread_ns();
    std::uint64_t now = begin;
    while (now - begin < static_cast<std::uint64_t>(options.slice_ms) * kNanosPerMs) {
        reactor.turn(kTurnsALook);
        now = thread_ns();
    }
    const Slice slice{
        static_cast<double>(load.ended() - ended) * 1e9 / static_cast<double>(now - begin),
        allocations() - allocated};
    stop(reactor, load);
    return slice;
}

void measure_round(test::OneReactor& reactor,
                   ReadLoad& load,
                   std::vector<Row>& rows,
                   const Options& options) {
    Row& bare = rows.front();
    Slice before = measure(reactor, load, *bare.channel, options);
    for (Row& row : rows | std::views::drop(1)) {
        const Slice got = measure(reactor, load, *row.channel, options);
        const Slice after = measure(reactor, load, *bare.channel, options);
        row.ratios.push_back(2 * got.rate / (before.rate + after.rate));
        row.ns.push_back(1e9 / got.rate);
        row.allocations += got.allocations;
        bare.ns.push_back(1e9 / after.rate);
        bare.allocations += after.allocations;
        before = after;
    }
}

/// Whether all bars were met.
bool show(const std::vector<Row>& rows, const Options& options) {
    bool met = true;
    std::printf(
        "| chain | ns an I/O | of the bare rate | bar | allocations | |\n"
        "|---|---|---|---|---|---|\n");
    for (const Row& row : rows) {
        const bool bare = row.ratios.empty();
        const bool alone = !row.chain->name().starts_with("as a volume");
        const double ratio = bare ? 1.0 : median(row.ratios);
        const bool judged = !bare && alone;
        const bool pass = row.allocations == 0 && (!judged || ratio >= options.bar);
        met = met && pass;
        std::printf("| %s | %.1f | %.3f | ", row.chain->name().c_str(), median(row.ns), ratio);
        judged ? std::printf(">= %g", options.bar) : 0;
        std::printf(" | %llu | %s |\n", static_cast<unsigned long long>(row.allocations),
                    pass ? "PASS" : "MISS");
    }
    return met;
}

reactor::detail::Detached change(block::Junction& junction,
                                 services::fault::FaultStage& stage,
                                 const block::ReactorContext& context,
                                 int times,
                                 bool& done) {
    for (int i = 0; i < times; ++i) {
        const auto inserted = co_await junction.insert(stage, std::span(&context, 1));
        CHECK(inserted);
        co_await junction.remove(stage, std::span(&context, 1));
    }
    done = true;
}

void show_latency(const char* name, const core::Histogram& ns) {
    const auto at = [&ns](double part) { return static_cast<double>(ns.percentile(part)) / 1e3; };
    std::printf("| %s | %llu | %.0f us | %.0f us | %.0f us | %.0f us |\n", name,
                static_cast<unsigned long long>(ns.count()), at(0.5), at(0.99), at(0.999),
                static_cast<double>(ns.max()) / 1e3);
}

constexpr int kTurns = 5000;  // without changes, for comparison

/// What a request waits for while a fault stage comes and goes.
void measure_changes(test::OneReactor& reactor,
                     ReadLoad& load,
                     block::Device& ram,
                     const Options& options) {
    const auto pool = std::move(*memory::BufferPool::create(core::kMiB));
    const block::ReactorContext context{reactor.reactor(), *pool};
    services::fault::FaultStage stage{services::fault::FaultSettings{}};
    block::Junction junction(ram);
    std::unique_ptr<block::Channel> channel;
    reactor.run([&]() -> reactor::Task<> {
        channel = std::move(*junction.open_channel());
        load.start(*channel);
        co_return;
    });
    core::Histogram without;
    core::Histogram during;
    reactor.turn(100);
    load.record(&without);
    reactor.turn(kTurns);
    load.record(&during);
    bool done = false;
    reactor.reactor().post_function(
        [&] { change(junction, stage, context, options.changes, done); });
    reactor.turn_until([&done] { return done; }, std::chrono::minutes(5));
    load.record(nullptr);
    stop(reactor, load);
    reactor.run([&]() -> reactor::Task<> {
        channel.reset();
        co_return;
    });
    std::printf(
        "\n| latency, %zu requests at once | requests | p50 | p99 | p99.9 | most |\n"
        "|---|---|---|---|---|---|\n",
        options.depth);
    show_latency("no change", without);
    const std::string name = std::to_string(options.changes) + " times a stage in and out";
    show_latency(name.c_str(), during);
}

/// Whether all bars were met.
bool run(const Options& options) {
    test::OneReactor reactor;
    const auto ram = std::move(*backends::ram::RamDevice::create(
        "ram", {}, kBlockSize, options.mib * core::kMiB / kBlockSize));
    reactor.run([&]() -> reactor::Task<> { co_await fill(*ram); });
    std::vector<std::unique_ptr<Chain>> chains;
    std::vector<Row> rows;
    std::unique_ptr<ReadLoad> load;
    reactor.run([&]() -> reactor::Task<> {
        load = std::make_unique<ReadLoad>(options.depth, ram->geometry().block_count);
        chains = all_chains(*ram);
        for (const auto& chain : chains) {
            rows.push_back({.chain = chain.get(),
                            .channel = std::move(*chain->top().open_channel()),
                            .ns = {},
                            .ratios = {}});
        }
        co_return;
    });
    for (int round = 0; round < options.rounds; ++round) {
        measure_round(reactor, *load, rows, options);
    }
    const bool met = show(rows, options);
    reactor.run([&]() -> reactor::Task<> {
        for (Row& row : rows) {
            row.channel.reset();
        }
        co_return;
    });
    if (options.changes > 0) {
        measure_changes(reactor, *load, *ram, options);
    }
    return met;
}

}  // namespace

}  // namespace remora::bench

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    remora::bench::Options options;
    CLI::App app{"What the stages of a volume cost: 4 KiB reads of a RAM volume through each"};
    app.add_option("--rounds", options.rounds, "turns of each chain")
        ->check(CLI::Range(1, 10'000))
        ->capture_default_str();
    app.add_option("--slice-ms", options.slice_ms, "processor time of a turn")
        ->check(CLI::Range(1, 10'000))
        ->capture_default_str();
    app.add_option("--mib", options.mib, "size of the volume")
        ->check(CLI::Range(1, 65'536))
        ->capture_default_str();
    app.add_option("--depth", options.depth, "requests at once")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--changes", options.changes, "insertions under load; 0: none")
        ->check(CLI::Range(0, 10'000))
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    return remora::bench::run(options) ? 0 : 1;
}
