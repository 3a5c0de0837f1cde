// SPDX-License-Identifier: Apache-2.0
// integrity_speed: what checksums cost on one core: random reads and writes of 4 KiB, 32 at a time,
// on a RAM volume as it is and with an IntegrityDevice over it, on one reactor, without a front
// end.
//
// The two take turns and each row is the best of `--rounds` turns, because other programs only ever
// add time.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>

#include <CLI/CLI.hpp>

#include "backends/ram/ram_device.h"
#include "bench/micro/one_core.h"
#include "services/integrity/integrity_device.h"

namespace {

namespace backends = remora::backends;
namespace block = remora::block;
namespace core = remora::core;
namespace reactor = remora::reactor;
using block::Opcode;
using remora::bench::Load;
using remora::bench::OneCore;
using remora::services::integrity::IntegrityDevice;

struct Options {
    int rounds = 20;
    int round_ms = 50;
    std::uint64_t mebibytes = 256;
};

/// The two take turns.
void measure(OneCore& one_core, const Options& options, std::uint32_t block_size) {
    const std::uint64_t blocks = options.mebibytes * core::kMiB / block_size;
    auto plain = std::move(*backends::ram::RamDevice::create("p", {}, block_size, blocks));
    auto lower = std::move(*backends::ram::RamDevice::create("l", {}, block_size, blocks));
    std::unique_ptr<IntegrityDevice> device;
    std::array<std::unique_ptr<block::Channel>, 2> channels;
    const block::ReactorContext context = one_core.context();
    std::array<block::Geometry, 2> geometries;
    one_core.run([&]() -> reactor::Task<> {
        auto made = co_await IntegrityDevice::create({.name = "i", .uuid = {}}, *lower,
                                                     std::span(&context, 1));
        device = std::move(*made);
        channels = {std::move(*plain->open_channel()), std::move(*device->open_channel())};
        geometries = {plain->geometry(), device->geometry()};
    });
    Load without(*channels[0], geometries[0]);
    Load with(*channels[1], geometries[1]);
    one_core.fill(without);
    one_core.fill(with);
    for (const Opcode opcode : {Opcode::Read, Opcode::Write}) {
        std::array<double, 2> best{};
        for (int round = 0; round < options.rounds; ++round) {
            best[0] = std::max(best[0], one_core.rate_of(without, opcode, options.round_ms));
            best[1] = std::max(best[1], one_core.rate_of(with, opcode, options.round_ms));
        }
        std::printf(
            "blocks of %4u  random %s 4 KiB QD32: plain %7.0f k/s, with checksums "
            "%7.0f k/s: %+.2f us each\n",
            block_size, opcode == Opcode::Read ? "read " : "write", best[0] / 1e3, best[1] / 1e3,
            1e6 / best[1] - 1e6 / best[0]);
    }
    one_core.run([&]() -> reactor::Task<> {
        channels = {};
        co_await device->stop();
    });
}

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    Options options;
    CLI::App app{"Random 4 KiB reads and writes on RAM, with and without checksums, on one core"};
    app.add_option("--rounds", options.rounds, "turns of each")->capture_default_str();
    app.add_option("--round-ms", options.round_ms, "length of a turn")->capture_default_str();
    app.add_option("--mebibytes", options.mebibytes, "size of the volume")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    OneCore one_core;
    measure(one_core, options, 4096);
    measure(one_core, options, 512);
    return 0;
}
