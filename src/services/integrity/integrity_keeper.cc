// SPDX-License-Identifier: Apache-2.0
#include "services/integrity/integrity_keeper.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "core/log.h"
#include "core/probe.h"

namespace remora::services::integrity {

using reactor::Task;

namespace {

/// Often enough for pages that change, or fail, while others are written.
constexpr int kSettleRounds = 3;

}  // namespace

core::Result<std::unique_ptr<IntegrityKeeper>> IntegrityKeeper::create(IntegrityShared& shared) {
    auto channel = IntegrityChannel::create(shared);
    if (!channel) {
        return std::unexpected(channel.error());
    }
    return std::unique_ptr<IntegrityKeeper>(new IntegrityKeeper(shared, std::move(*channel)));
}

IntegrityKeeper::IntegrityKeeper(IntegrityShared& shared, std::unique_ptr<IntegrityChannel> channel)
    : shared_(shared),
      channel_(std::move(channel)),
      reactor_(reactor::Reactor::current()),
      settle_timer_(*this) {
    reactor_.arm(settle_timer_, reactor_.now() + kSettleEvery);
}

IntegrityKeeper::~IntegrityKeeper() {
    CHECK_ON_REACTOR(reactor_);
    CHECK(gate_.closed());
}

void IntegrityKeeper::complete(block::RequestBatch& batch) {
    while (block::Request* request = batch.pop_front()) {
        CHECK(request == &step_);
        request->pop_frame();
        step_done_.notify();
    }
}

void IntegrityKeeper::on_timer(reactor::Timer& /*timer*/) {
    channel_->settle(IntegrityChannel::Settle::Idle);
    reactor_.arm(settle_timer_, reactor_.now() + kSettleEvery);
}

void IntegrityKeeper::begin_scrub() {
    pause_.reset();
    const bool begun = gate_.spawn(
        [](IntegrityKeeper* keeper) -> Task<> {
            co_await keeper->scrub();
            keeper->shared_.scrub.running.store(false);
        },
        this);
    if (!begun) {
        shared_.scrub.running.store(false);
    }
}

Task<> IntegrityKeeper::scrub() {
    const std::uint64_t before = shared_.mismatches.count();
    const std::uint64_t total = shared_.layout.block_count;
    const std::uint32_t most = kScrubBytes / shared_.layout.block_size;
    unreadable_ = 0;
    core::Nanos next = reactor_.now();
    std::uint64_t lba = 0;
    while (lba < total && !shared_.scrub.cancelled.load()) {
        const auto blocks = static_cast<std::uint32_t>(std::min<std::uint64_t>(most, total - lba));
        co_await scrub_step(lba, blocks);
        lba += blocks;
        shared_.scrub.done_blocks.store(lba);
        const std::uint64_t rate = shared_.scrub.bytes_per_second.load();
        const std::uint64_t bytes = step_.blocks_read * shared_.layout.block_size;
        if (rate > 0 && bytes > 0) {
            constexpr std::uint64_t kNanosPerSecond = 1'000'000'000;
            next = std::max(next, reactor_.now()) +
                   core::Nanos(static_cast<core::Nanos::rep>(bytes * kNanosPerSecond / rate));
        }
        while (reactor_.now() < next && !shared_.scrub.cancelled.load()) {
            co_await pause_.wait_until(next);
        }
    }
    log::info(lba < total ? "scrub cancelled" : "scrub finished",
              log::kv("volume", shared_.options.name), log::kv("blocks", lba),
              log::kv("mismatches_meanwhile", shared_.mismatches.count() - before),
              log::kv("unreadable_steps", unreadable_));
}

/// A step that cannot be read is told of and passed over.
Task<> IntegrityKeeper::scrub_step(std::uint64_t lba, std::uint32_t blocks) {
    step_.opcode = block::Opcode::Read;
    step_.status = block::Status::Ok;
    step_.nvme_status = 0;
    step_.lba = lba;
    step_.block_count = blocks;
    step_.blocks_read = 0;
    step_done_.reset();
    step_.push_frame(*this);
    channel_->submit_scrub(step_);
    co_await step_done_.wait_until(core::kNever);
    if (step_.status != block::Status::Ok && unreadable_++ == 0) {
        log::warn("the scrub cannot read blocks", log::kv("volume", shared_.options.name),
                  log::kv("lba", lba), log::kv("blocks", blocks),
                  log::kv("status", block::to_string(step_.status)));
    }
}

Task<bool> IntegrityKeeper::stop() {
    shared_.scrub.cancelled.store(true);
    end_scrub();
    co_await gate_.close();
    settle_timer_.cancel();
    co_return co_await settle_all();
}

Task<bool> IntegrityKeeper::settle_all() {
    reactor::Signal quiet;
    channel_->tell_when_quiet(&quiet);
    bool unsettled = true;
    for (int round = 0; round < kSettleRounds && unsettled; ++round) {
        unsettled = channel_->settle(IntegrityChannel::Settle::All).any;
        while (!channel_->quiet()) {
            co_await quiet.wait_until(core::kNever);
        }
    }
    if (shared_.lower_geometry.volatile_cache) {
        channel_->flush();
        while (!channel_->quiet()) {
            co_await quiet.wait_until(core::kNever);
        }
    }
    channel_->tell_when_quiet(nullptr);
    if (unsettled) {
        REMORA_COVER("integrity: a volume ends before its checksums are settled");
        log::warn("the newest checksums were not all written: old versions of some blocks pass",
                  log::kv("volume", shared_.options.name));
    }
    co_return !unsettled;
}

}  // namespace remora::services::integrity
