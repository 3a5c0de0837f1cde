// SPDX-License-Identifier: Apache-2.0
#include "node/benchmark.h"

#include <memory>
#include <utility>
#include <vector>

#include "reactor/signal.h"

namespace remora::node {

namespace {

using block::Nanos;
using block::Opcode;
using block::Request;
using block::Status;
using core::ErrorKind;
using core::fail;

struct Shot : Request {
    core::Segment segment;
    Nanos started{};
};

/// Keeps the shots in flight. Completions are gathered and sent again from the run queue, so that
/// what comes back together goes down together.
class Load final : private block::Completer, private reactor::Runnable {
  public:
    Load(const BenchmarkSpec& spec, block::Channel& channel, block::ReactorContext context)
        : spec_(spec),
          channel_(channel),
          reactor_(context.reactor),
          buffers_(context.buffers),
          prng_(context.reactor.prng().fork()),
          shots_(spec.queue_depth) {}
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;
    ~Load() {
        for (Shot& shot : shots_) {
            if (shot.segment.data != nullptr) {
                buffers_.release({shot.segment.data, shot.segment.size});
            }
        }
    }

    Result<void> prepare(const block::Geometry& geometry) {
        blocks_ = spec_.io_bytes / geometry.block_size;
        places_ = geometry.block_count / blocks_;
        for (Shot& shot : shots_) {
            const std::span<std::byte> buffer = buffers_.allocate(spec_.io_bytes);
            if (buffer.empty()) {
                return fail(ErrorKind::ResourceExhausted,
                            "the reactor's buffer pool cannot hold queue depth x I/O size now; "
                            "ask for less or start remorad with a larger --memory");
            }
            shot.segment = {buffer.data(), buffer.size()};
            std::memset(buffer.data(), 0x5a, buffer.size());
        }
        return {};
    }

    Task<BenchmarkResult> measure() {
        const Nanos begin = reactor_.measure_now();
        end_ = begin + std::chrono::milliseconds(spec_.milliseconds);
        for (Shot& shot : shots_) {
            idle_.push_back(shot);
        }
        fire();
        co_await finished_.wait_until(core::kNever);
        result_.elapsed = reactor_.measure_now() - begin;
        co_return result_;
    }

  private:
    void fire() {
        const Nanos now = reactor_.measure_now();
        block::RequestBatch batch;
        while (Request* request = idle_.pop_front()) {
            auto& shot = static_cast<Shot&>(*request);
            if (now >= end_) {
                continue;
            }
            shot.opcode = opcode();
            shot.status = Status::Ok;
            shot.lba = prng_.below(places_) * blocks_;
            shot.block_count = blocks_;
            shot.data = std::span(&shot.segment, 1);
            shot.started = now;
            shot.push_frame(*this);
            batch.push_back(shot);
            ++outstanding_;
        }
        if (!batch.empty()) {
            channel_.submit(batch);
        } else if (outstanding_ == 0) {
            finished_.notify();
        }
    }

    Opcode opcode() {
        switch (spec_.pattern) {
            case BenchmarkSpec::Pattern::Read:
                return Opcode::Read;
            case BenchmarkSpec::Pattern::Write:
                return Opcode::Write;
            case BenchmarkSpec::Pattern::ReadWrite:
                return (prng_.next() & 1U) != 0 ? Opcode::Read : Opcode::Write;
        }
        return Opcode::Read;
    }

    void complete(block::RequestBatch& batch) override {
        const Nanos now = reactor_.measure_now();
        while (Request* request = batch.pop_front()) {
            auto& shot = static_cast<Shot&>(*request);
            shot.pop_frame();
            --outstanding_;
            ++result_.operations;
            result_.errors += shot.status == Status::Ok ? 0U : 1U;
            result_.latency_ns.record(static_cast<std::uint64_t>((now - shot.started).count()));
            idle_.push_back(shot);
        }
        if (!linked()) {
            reactor_.run_soon(*this);
        }
    }
    void run() override { fire(); }

    const BenchmarkSpec& spec_;
    block::Channel& channel_;
    reactor::Reactor& reactor_;
    memory::BufferPool& buffers_;
    core::Prng prng_;
    std::vector<Shot> shots_;
    block::RequestBatch idle_;
    std::uint32_t blocks_ = 1;
    std::uint64_t places_ = 1;
    std::size_t outstanding_ = 0;
    Nanos end_{};
    reactor::Signal finished_;
    BenchmarkResult result_;
};

Result<void> check(const BenchmarkSpec& spec, const block::Geometry& geometry) {
    if (spec.io_bytes == 0 || spec.io_bytes % geometry.block_size != 0 ||
        spec.io_bytes > memory::BufferPool::kMaxBytes || spec.io_bytes > geometry.size_bytes()) {
        return fail(ErrorKind::InvalidArgument,
                    "I/O size " + std::to_string(spec.io_bytes) +
                        " is not a multiple of the volume's block size " +
                        std::to_string(geometry.block_size) + " up to 1 MiB and the volume's size");
    }
    if (spec.queue_depth == 0 || spec.queue_depth > 4096) {
        return fail(ErrorKind::InvalidArgument, "queue depth is not between 1 and 4096");
    }
    if (spec.milliseconds == 0 || spec.milliseconds > 3'600'000) {
        return fail(ErrorKind::InvalidArgument, "time is not between 1 ms and 3600 s");
    }
    return {};
}

}  // namespace

Task<Result<BenchmarkResult>> run_load(BenchmarkSpec spec,
                                       block::Device& device,
                                       block::ReactorContext context) {
    const block::Geometry geometry = device.geometry();
    if (auto valid = check(spec, geometry); !valid) {
        co_return std::unexpected(valid.error());
    }
    auto channel = device.open_channel();
    if (!channel) {
        co_return std::unexpected(channel.error());
    }
    Load load(spec, **channel, context);
    if (auto ready = load.prepare(geometry); !ready) {
        co_return std::unexpected(ready.error());
    }
    co_return co_await load.measure();
}

}  // namespace remora::node
