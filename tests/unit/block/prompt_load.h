// SPDX-License-Identifier: Apache-2.0
// PromptDevice and Load, for tests in a StillWorld: a device that ends what came in a turn at its
// end, and closed loops of requests over it. So a loop of depth n ends n requests a turn, exactly,
// unless something between holds them up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

#include "block/device.h"
#include "core/check.h"
#include "reactor/reactor.h"
#include "reactor/timer.h"

namespace remora::block {

class PromptDevice final : public Device {
  public:
    static constexpr std::uint32_t kBlockSize = 4096;

    PromptDevice() : Device("prompt", {}) {}
    [[nodiscard]] Geometry geometry() const override {
        Geometry geometry;
        geometry.block_size = kBlockSize;
        geometry.block_count = 1 << 20;
        return geometry;
    }
    core::Result<std::unique_ptr<Channel>> open_channel() override {
        return std::make_unique<PromptChannel>(*this);
    }

    core::Nanos takes{};          ///< From the last submission on, if not done at once.
    std::uint64_t submitted = 0;  ///< Requests that came here.

  private:
    class PromptChannel final : public Channel, private reactor::TimerHandler {
      public:
        explicit PromptChannel(PromptDevice& device) : device_(device) {}
        void submit(RequestBatch& batch) override {
            device_.submitted += batch.size();
            here_.append(batch);
            reactor::Reactor& current = reactor::Reactor::current();
            current.arm(timer_, current.now() + device_.takes);
        }

      private:
        void on_timer(reactor::Timer& /*timer*/) override {
            RequestBatch batch = std::move(here_);
            complete_batch(batch);
        }
        PromptDevice& device_;
        RequestBatch here_;
        reactor::Timer timer_{*this};
    };
};

/// Keeps `depth` requests of a kind under way at a channel, each made anew when it ends. CHECKs
/// that each ends once, with no frame but its own.
class Load final : public Completer {
  public:
    Load(Channel& channel,
         Opcode opcode,
         std::uint32_t blocks,
         std::size_t depth,
         std::uint64_t lba = 0)
        : channel_(channel), shots_(depth) {
        RequestBatch batch;
        for (Shot& shot : shots_) {
            shot.opcode = opcode;
            shot.lba = lba;
            shot.block_count = blocks;
            shot.push_frame(*this);
            shot.under_way = true;
            batch.push_back(shot);
        }
        submit(batch);
    }
    void complete(RequestBatch& batch) override {
        CHECK(!submitting_);  // the contract: never from within submit()
        RequestBatch again;
        while (Request* request = batch.pop_front()) {
            Shot& shot = static_cast<Shot&>(*request);
            CHECK(shot.under_way && shot.depth == 1);
            ++ended;
            failed += shot.status == Status::Ok ? 0U : 1U;
            shot.status = Status::Ok;
            shot.under_way = !stop;
            if (!stop) {
                again.push_back(shot);
            }
        }
        if (!again.empty()) {
            submit(again);
        }
    }
    [[nodiscard]] bool all_idle() const {
        for (const Shot& shot : shots_) {
            if (shot.under_way) {
                return false;
            }
        }
        return true;
    }

    std::uint64_t ended = 0;
    std::uint64_t failed = 0;  ///< Of those.
    bool stop = false;

  private:
    struct Shot : Request {
        bool under_way = false;
    };
    void submit(RequestBatch& batch) {
        submitting_ = true;
        channel_.submit(batch);
        submitting_ = false;
        CHECK(batch.empty());
    }

    Channel& channel_;
    std::deque<Shot> shots_;
    bool submitting_ = false;
};

}  // namespace remora::block
