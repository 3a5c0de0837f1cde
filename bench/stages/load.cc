// SPDX-License-Identifier: Apache-2.0
#include "bench/stages/load.h"

#include <cstdlib>
#include <ctime>
#include <new>

namespace {

thread_local std::uint64_t allocated = 0;

}  // namespace

void* operator new(std::size_t bytes) {
    ++allocated;
    void* memory = std::malloc(bytes);
    if (memory == nullptr) {
        std::abort();
    }
    return memory;
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t /*bytes*/) noexcept {
    std::free(memory);
}

namespace remora::bench {

std::uint64_t thread_ns() {
    constexpr std::uint64_t kNanosPerSecond = 1'000'000'000;
    timespec now{};
    CHECK(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now) == 0);
    return static_cast<std::uint64_t>(now.tv_sec) * kNanosPerSecond +
           static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t allocations() {
    return allocated;
}

ReadLoad::ReadLoad(std::size_t depth, std::uint64_t block_count)
    : block_count_(block_count), memory_(depth * kBlockSize) {
    idle_.reserve(depth);
    for (std::size_t i = 0; i < depth; ++i) {
        auto shot = std::make_unique<Shot>();
        shot->segment = {memory_.data() + i * kBlockSize, kBlockSize};
        shot->data = std::span(&shot->segment, 1);
        shot->block_count = 1;
        idle_.push_back(shot.get());
        shots_.push_back(std::move(shot));
    }
}

void ReadLoad::prepare(Shot& shot) {
    shot.lba = prng_.below(block_count_);
    shot.begun = now_;
    shot.push_frame(*this);
}

void ReadLoad::start(block::Channel& channel) {
    CHECK(idle());
    channel_ = &channel;
    running_ = true;
    now_ = thread_ns();
    block::RequestBatch batch;
    for (Shot* shot : idle_) {
        prepare(*shot);
        batch.push_back(*shot);
    }
    idle_.clear();
    channel_->submit(batch);
}

void ReadLoad::complete(block::RequestBatch& batch) {
    ended_ += batch.size();
    now_ = latency_ns_ == nullptr ? 0 : thread_ns();
    block::RequestBatch again;
    while (block::Request* request = batch.pop_front()) {
        Shot& shot = static_cast<Shot&>(*request);
        CHECK(shot.status == block::Status::Ok);
        shot.pop_frame();
        if (latency_ns_ != nullptr && shot.begun != 0) {
            latency_ns_->record(now_ - shot.begun);
        }
        if (running_) {
            prepare(shot);
            again.push_back(shot);
        } else {
            idle_.push_back(&shot);
        }
    }
    if (!again.empty()) {
        channel_->submit(again);
    }
}

}  // namespace remora::bench
