// SPDX-License-Identifier: Apache-2.0
// A closed loop of 4 KiB reads at random places of a device, on the calling thread's reactor, by
// the thread's processor time: what other programs take of the machine is not counted.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "block/device.h"
#include "core/histogram.h"
#include "core/prng.h"
#include "core/segment.h"

namespace remora::bench {

constexpr std::uint32_t kBlockSize = 4096;

/// Nanoseconds of processor time that this thread has had.
std::uint64_t thread_ns();

/// Since the program's start, by this thread.
std::uint64_t allocations();

class ReadLoad final : public block::Completer {
  public:
    /// On the reactor, as all of this. One load for all devices: a ratio of two rates must not be
    /// one of two buffers' places in the cache.
    ReadLoad(std::size_t depth, std::uint64_t block_count);

    /// Submits all, which is idle, until pause().
    void start(block::Channel& channel);
    /// What ends from now on stays idle.
    void pause() { running_ = false; }
    [[nodiscard]] bool idle() const { return idle_.size() == shots_.size(); }
    [[nodiscard]] std::uint64_t ended() const { return ended_; }
    /// From now on each request's time goes there; null: nowhere.
    void record(core::Histogram* latency_ns) { latency_ns_ = latency_ns; }

  private:
    struct Shot : block::Request {
        core::Segment segment;
        std::uint64_t begun = 0;  ///< By thread_ns(); 0: not recorded then.
    };
    void complete(block::RequestBatch& batch) override;
    void prepare(Shot& shot);

    std::uint64_t block_count_;
    block::Channel* channel_ = nullptr;
    std::vector<std::byte> memory_;
    std::vector<std::unique_ptr<Shot>> shots_;
    std::vector<Shot*> idle_;
    core::Histogram* latency_ns_ = nullptr;
    std::uint64_t now_ = 0;  // when requests were last taken back, if it is recorded
    core::Prng prng_{1};
    std::uint64_t ended_ = 0;
    bool running_ = false;
};

}  // namespace remora::bench
