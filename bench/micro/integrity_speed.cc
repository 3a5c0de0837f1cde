// SPDX-License-Identifier: Apache-2.0
// integrity_speed: what checksums cost on one core: random reads and writes of 4 KiB, 32 at a time,
// on a RAM volume as it is and with an IntegrityDevice over it, on one reactor, without a front
// end.
//
// The two take turns and each row is the best of `--rounds` turns, because other programs only ever
// add time.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "backends/ram/ram_device.h"
#include "core/units.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/linux_io.h"
#include "reactor/linux/system_clock.h"
#include "reactor/reactor.h"
#include "services/integrity/integrity_device.h"

namespace {

namespace backends = remora::backends;
namespace block = remora::block;
namespace core = remora::core;
namespace memory = remora::memory;
namespace reactor = remora::reactor;
using block::Opcode;
using remora::services::integrity::IntegrityDevice;

constexpr std::size_t kIoBytes = 4096;
constexpr std::size_t kDepth = 32;

struct Options {
    int rounds = 20;
    int round_ms = 50;
    std::uint64_t mebibytes = 256;
};

/// One kind of request at random places, 32 at a time, for as long as it is told.
class Load final : public block::Completer {
  public:
    Load(block::Channel& channel, const block::Geometry& geometry)
        : channel_(channel),
          blocks_(static_cast<std::uint32_t>(kIoBytes / geometry.block_size)),
          places_(geometry.block_count / blocks_),
          data_(kDepth * kIoBytes, std::byte{0x42}),
          requests_(kDepth) {
        for (std::size_t i = 0; i < kDepth; ++i) {
            segments_[i] = {data_.data() + i * kIoBytes, kIoBytes};
            requests_[i].data = std::span(&segments_[i], 1);
            requests_[i].block_count = blocks_;
        }
    }
    /// `sequential`: every place once, then it ends.
    void start(Opcode opcode, bool sequential) {
        opcode_ = opcode;
        next_ = sequential ? 0 : kRandom;
        stopping_ = false;
        outstanding_ = kDepth;
        block::RequestBatch batch;
        for (block::Request& request : requests_) {
            request.push_frame(*this);
            prepare(request);
            batch.push_back(request);
        }
        channel_.submit(batch);
    }
    void stop() { stopping_ = true; }
    [[nodiscard]] bool idle() const { return outstanding_ == 0; }
    std::uint64_t done = 0;

  private:
    static constexpr std::uint64_t kRandom = ~std::uint64_t{0};

    void prepare(block::Request& request) {
        request.opcode = opcode_;
        if (next_ == kRandom) {
            request.lba = prng_.below(places_) * blocks_;
            return;
        }
        request.lba = next_ * blocks_;
        next_ = std::min(next_ + 1, places_ - 1);
        stopping_ |= next_ + 1 == places_;
    }
    void complete(block::RequestBatch& batch) override {
        block::RequestBatch again;
        while (block::Request* request = batch.pop_front()) {
            CHECK(request->status == block::Status::Ok);
            ++done;
            if (stopping_) {
                request->pop_frame();
                --outstanding_;
            } else {
                prepare(*request);
                again.push_back(*request);
            }
        }
        if (!again.empty()) {
            channel_.submit(again);
        }
    }

    block::Channel& channel_;
    std::uint32_t blocks_;
    std::uint64_t places_;
    core::Prng prng_{7};
    std::vector<std::byte> data_;
    std::vector<block::Request> requests_;
    std::array<core::Segment, kDepth> segments_;
    Opcode opcode_ = Opcode::Read;
    std::uint64_t next_ = kRandom;
    bool stopping_ = false;
    std::size_t outstanding_ = 0;
};

class Bench {
  public:
    explicit Bench(const Options& options)
        : options_(options),
          io_(std::move(*reactor::LinuxIo::create())),
          reactor_(0, *io_, clock_, core::Prng(1), reactor::PollPolicy{}),
          pool_(std::move(*memory::BufferPool::create(64 * core::kMiB))) {}

    void measure(std::uint32_t block_size) {
        const std::uint64_t blocks = options_.mebibytes * core::kMiB / block_size;
        auto plain = std::move(*backends::ram::RamDevice::create("p", {}, block_size, blocks));
        auto lower = std::move(*backends::ram::RamDevice::create("l", {}, block_size, blocks));
        std::unique_ptr<IntegrityDevice> device;
        std::array<std::unique_ptr<block::Channel>, 2> channels;
        const block::ReactorContext context{reactor_, *pool_};
        block::Geometry geometry;
        run([&]() -> reactor::Task<> {
            geometry = plain->geometry();
            auto made = co_await IntegrityDevice::create({.name = "i", .uuid = {}}, *lower,
                                                         std::span(&context, 1));
            device = std::move(*made);
            channels = {std::move(*plain->open_channel()), std::move(*device->open_channel())};
        });
        Load without(*channels[0], geometry);
        Load with(*channels[1], device->geometry());
        for (Load* load : {&without, &with}) {
            reactor_.post_function([load] { load->start(Opcode::Write, true); });
            turn_until([load] { return load->done > 0 && load->idle(); });
        }
        for (const Opcode opcode : {Opcode::Read, Opcode::Write}) {
            std::array<double, 2> best{};
            for (int round = 0; round < options_.rounds; ++round) {
                best[0] = std::max(best[0], rate_of(without, opcode));
                best[1] = std::max(best[1], rate_of(with, opcode));
            }
            std::printf(
                "blocks of %4u  random %s 4 KiB QD32: plain %7.0f k/s, with checksums "
                "%7.0f k/s: %+.2f us each\n",
                block_size, opcode == Opcode::Read ? "read " : "write", best[0] / 1e3,
                best[1] / 1e3, 1e6 / best[1] - 1e6 / best[0]);
        }
        run([&]() -> reactor::Task<> {
            channels = {};
            co_await device->stop();
        });
    }

  private:
    double rate_of(Load& load, Opcode opcode) {
        reactor_.post_function([&load, opcode] { load.start(opcode, false); });
        reactor_.turn();
        const std::uint64_t before = load.done;
        const core::Nanos begin = clock_.now();
        turn_until(
            [&] { return clock_.now() - begin > std::chrono::milliseconds(options_.round_ms); });
        const double seconds = std::chrono::duration<double>(clock_.now() - begin).count();
        const double rate = static_cast<double>(load.done - before) / seconds;
        load.stop();
        turn_until([&load] { return load.idle(); });
        return rate;
    }
    template <typename C>
    void turn_until(C condition) {
        while (!condition()) {
            reactor_.turn();
        }
    }
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }
    template <typename F>
    void run(F body) {
        bool done = false;
        reactor_.post_function([&] { start(body, done); });
        turn_until([&done] { return done; });
    }

    Options options_;
    reactor::SystemClock clock_;
    std::unique_ptr<reactor::LinuxIo> io_;
    reactor::Reactor reactor_;
    std::unique_ptr<memory::BufferPool> pool_;
};

}  // namespace

// NOLINTNEXTLINE(bugprone-exception-escape): what still throws here ends the program, as it should
int main(int argc, char** argv) {
    Options options;
    CLI::App app{"Random 4 KiB reads and writes on RAM, with and without checksums, on one core"};
    app.add_option("--rounds", options.rounds, "turns of each")->capture_default_str();
    app.add_option("--round-ms", options.round_ms, "length of a turn")->capture_default_str();
    app.add_option("--mebibytes", options.mebibytes, "size of the volume")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    Bench bench(options);
    bench.measure(4096);
    bench.measure(512);
    return 0;
}
