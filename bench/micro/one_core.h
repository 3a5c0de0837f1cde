// SPDX-License-Identifier: Apache-2.0
// What the micro benchmarks of block services share: OneCore, a reactor on this thread, and Load,
// which keeps a channel busy.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "core/check.h"
#include "core/prng.h"
#include "core/units.h"
#include "memory/buffer_pool.h"
#include "reactor/linux/linux_io.h"
#include "reactor/linux/system_clock.h"
#include "reactor/reactor.h"
#include "reactor/task.h"

namespace remora::bench {

constexpr std::size_t kIoBytes = 4096;
constexpr std::size_t kDepth = 32;

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
    void start(block::Opcode opcode, bool sequential) {
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
    block::Opcode opcode_ = block::Opcode::Read;
    std::uint64_t next_ = kRandom;
    bool stopping_ = false;
    std::size_t outstanding_ = 0;
};

class OneCore {
  public:
    OneCore()
        : io_(std::move(*reactor::LinuxIo::create())),
          reactor_(0, *io_, clock_, core::Prng(1), reactor::PollPolicy{}),
          pool_(std::move(*memory::BufferPool::create(64 * core::kMiB))) {}

    [[nodiscard]] block::ReactorContext context() { return {reactor_, *pool_}; }

    /// Operations a second, for `milliseconds`.
    double rate_of(Load& load, block::Opcode opcode, int milliseconds) {
        reactor_.post_function([&load, opcode] { load.start(opcode, false); });
        reactor_.turn();
        const std::uint64_t before = load.done;
        const core::Nanos begin = clock_.now();
        turn_until([&] { return clock_.now() - begin > std::chrono::milliseconds(milliseconds); });
        const double seconds = std::chrono::duration<double>(clock_.now() - begin).count();
        const double rate = static_cast<double>(load.done - before) / seconds;
        load.stop();
        turn_until([&load] { return load.idle(); });
        return rate;
    }
    /// Every place once.
    void fill(Load& load) {
        reactor_.post_function([&load] { load.start(block::Opcode::Write, true); });
        turn_until([&load] { return load.done > 0 && load.idle(); });
    }
    template <typename C>
    void turn_until(C condition) {
        while (!condition()) {
            reactor_.turn();
        }
    }
    template <typename F>
    void run(F body) {
        bool done = false;
        reactor_.post_function([&] { start(body, done); });
        turn_until([&done] { return done; });
    }

  private:
    template <typename F>
    static reactor::detail::Detached start(F& body, bool& done) {
        co_await body();
        done = true;
    }

    reactor::SystemClock clock_;
    std::unique_ptr<reactor::LinuxIo> io_;
    reactor::Reactor reactor_;
    std::unique_ptr<memory::BufferPool> pool_;
};

}  // namespace remora::bench
