// SPDX-License-Identifier: Apache-2.0
// raid_speed: what an array makes of what it stands on, on one core.
//
// Parity: core::xor_of(), which is what RAID 5 computes parity by, beside ISA-L's xor_gen() called
// as it is, over the same warm memory. The two take turns and each is the best of its turns,
// because other programs only ever add time.
//
// Mirror: random reads of a RAID 1 of two members beside those of one such member. A member serves
// one request at a time, each for `--service-us`, as a disk of so many operations a second does;
// it shows whether the array keeps both busy. They take turns, too.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>
#include <isa-l/raid.h>

#include "bench/micro/one_core.h"
#include "core/parity.h"
#include "reactor/call.h"
#include "reactor/timer.h"
#include "services/raid/raid_device.h"

namespace {

namespace block = remora::block;
namespace core = remora::core;
namespace raid = remora::services::raid;
namespace reactor = remora::reactor;
using remora::bench::Load;
using remora::bench::OneCore;
using std::chrono::steady_clock;

struct Options {
    int rounds = 300;
    int round_us = 300;
    int mirror_rounds = 10;
    int mirror_ms = 250;
    int service_us = 200;
};

struct FreeMemory {
    void operator()(std::byte* memory) const { std::free(memory); }
};
using Memory = std::unique_ptr<std::byte, FreeMemory>;

Memory make_memory(std::size_t bytes) {
    Memory memory(static_cast<std::byte*>(std::aligned_alloc(4096, bytes)));
    CHECK(memory != nullptr);
    std::memset(memory.get(), 0x5a, bytes);
    return memory;
}

/// Bytes of sources a second, in GB.
template <typename F>
double speed_of(std::size_t bytes, int round_us, F compute) {
    constexpr int kBetweenLooks = 4;
    std::uint64_t done = 0;
    const auto begin = steady_clock::now();
    std::chrono::duration<double> passed{};
    while (passed < std::chrono::microseconds(round_us)) {
        for (int i = 0; i < kBetweenLooks; ++i) {
            compute();
        }
        done += kBetweenLooks * bytes;
        passed = steady_clock::now() - begin;
    }
    return static_cast<double>(done) / passed.count() / 1e9;
}

void measure_parity(const Options& options, std::size_t sources, std::size_t bytes) {
    std::vector<Memory> memory;
    std::vector<const std::byte*> from;
    std::vector<void*> all;
    for (std::size_t i = 0; i <= sources; ++i) {
        memory.push_back(make_memory(bytes));
        all.push_back(memory.back().get());
        if (i < sources) {
            from.push_back(memory.back().get());
        }
    }
    std::byte* const to = memory.back().get();
    std::array<double, 2> best{};
    for (int round = 0; round < options.rounds; ++round) {
        best[0] = std::max(best[0], speed_of(sources * bytes, options.round_us, [&] {
                               CHECK(xor_gen(static_cast<int>(all.size()), static_cast<int>(bytes),
                                             all.data()) == 0);
                           }));
        best[1] = std::max(best[1], speed_of(sources * bytes, options.round_us,
                                             [&] { core::xor_of(from, to, bytes); }));
    }
    std::printf("parity of %zu x %3zu KiB: ISA-L %6.1f GB/s, RAID %6.1f GB/s: %.2f\n", sources,
                bytes / 1024, best[0], best[1], best[1] / best[0]);
}

/// Zeros, one request after the other; writes take no time and leave nothing.
class SlowDevice final : public block::Device {
  public:
    SlowDevice(std::string name, std::uint64_t blocks, core::Nanos service)
        : Device(std::move(name), {}), blocks_(blocks), service_(service) {}
    [[nodiscard]] block::Geometry geometry() const override {
        block::Geometry shape;
        shape.block_size = 4096;
        shape.block_count = blocks_;
        return shape;
    }
    core::Result<std::unique_ptr<block::Channel>> open_channel() override {
        return std::make_unique<Channel>(*this);
    }
    std::uint64_t reads = 0;

  private:
    class Channel final : public block::Channel, private reactor::TimerHandler {
      public:
        explicit Channel(SlowDevice& device) : device_(device) {}
        void submit(block::RequestBatch& batch) override {
            reactor::Reactor& here = reactor::Reactor::current();
            const bool was_idle = queue_.empty();
            while (block::Request* request = batch.pop_front()) {
                queue_.push_back(*request);
            }
            if (was_idle && !queue_.empty()) {
                free_at_ = std::max(free_at_, here.now());
                here.arm(timer_, free_at_ + device_.service_);
            }
        }

      private:
        /// All whose time has come: a turn may be late, the disk is not.
        void on_timer(reactor::Timer& /*timer*/) override {
            reactor::Reactor& here = reactor::Reactor::current();
            block::RequestBatch done;
            while (!queue_.empty() && free_at_ + device_.service_ <= here.now()) {
                block::Request& request = *queue_.pop_front();
                device_.reads += request.opcode == block::Opcode::Read ? 1 : 0;
                if (request.opcode == block::Opcode::Read) {
                    for (const core::Segment& segment : request.data) {
                        std::memset(segment.data, 0, segment.size);
                    }
                }
                free_at_ += device_.service_;
                done.push_back(request);
            }
            if (!queue_.empty()) {
                here.arm(timer_, free_at_ + device_.service_);
            }
            block::complete_batch(done);
        }
        SlowDevice& device_;
        block::RequestBatch queue_;
        core::Nanos free_at_{};
        reactor::Timer timer_{*this};
    };

    std::uint64_t blocks_;
    core::Nanos service_;
};

void measure_mirror(OneCore& one_core, const Options& options) {
    const std::uint64_t blocks = 4 * core::kMiB / 4096;
    const core::Nanos service = std::chrono::microseconds(options.service_us);
    SlowDevice single("single", blocks, service);
    std::array<SlowDevice, 2> members{SlowDevice("m0", blocks, service),
                                      SlowDevice("m1", blocks, service)};
    std::unique_ptr<raid::RaidDevice> array;
    std::array<std::unique_ptr<block::Channel>, 2> channels;
    const block::ReactorContext context = one_core.context();
    one_core.run([&]() -> reactor::Task<> {
        raid::RaidOptions shape;
        shape.name = "r";
        shape.level = raid::Level::Raid1;
        auto made = co_await raid::RaidDevice::create(
            shape, {{"m0", &members[0]}, {"m1", &members[1]}}, std::span(&context, 1));
        array = std::move(*made);
        do {
            co_await reactor::sleep_for(std::chrono::milliseconds(10));
        } while (array->status().progress.kind != raid::Progress::Kind::None);
        channels = {std::move(*single.open_channel()), std::move(*array->open_channel())};
    });
    Load of_one(*channels[0], single.geometry());
    Load of_both(*channels[1], array->geometry());
    const std::array<std::uint64_t, 2> before{members[0].reads, members[1].reads};
    std::array<double, 2> best{};
    for (int round = 0; round < options.mirror_rounds; ++round) {
        best[0] =
            std::max(best[0], one_core.rate_of(of_one, block::Opcode::Read, options.mirror_ms));
        best[1] =
            std::max(best[1], one_core.rate_of(of_both, block::Opcode::Read, options.mirror_ms));
    }
    const std::uint64_t first = members[0].reads - before[0];
    const std::uint64_t second = members[1].reads - before[1];
    std::printf(
        "mirror of two, random read 4 KiB QD32: one member %.1f k/s, RAID 1 %.1f k/s: %.2f; "
        "reads of the first %llu, of the second %llu\n",
        best[0] / 1e3, best[1] / 1e3, best[1] / best[0], static_cast<unsigned long long>(first),
        static_cast<unsigned long long>(second));
    one_core.run([&]() -> reactor::Task<> {
        channels = {};
        co_await array->stop();
    });
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    Options options;
    CLI::App app{"RAID's parity beside ISA-L's, and reads of a mirror beside those of one member"};
    app.add_option("--rounds", options.rounds, "turns of each")->capture_default_str();
    app.add_option("--round-ms", options.round_us, "length of a turn")->capture_default_str();
    app.add_option("--mirror-ms", options.mirror_ms, "how long the mirror is read")
        ->capture_default_str();
    app.add_option("--service-us", options.service_us, "what a member needs for a request")
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    for (const std::size_t sources : {2U, 4U, 8U}) {
        for (const std::size_t kibibytes : {4U, 64U}) {
            measure_parity(options, sources, kibibytes * 1024);
        }
    }
    OneCore one_core;
    measure_mirror(one_core, options);
    return 0;
}
