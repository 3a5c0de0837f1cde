// SPDX-License-Identifier: Apache-2.0
// IntegrityKeeper: what an IntegrityDevice does in the background, on its home reactor and by a
// channel of its own: it settles pages that nobody writes to any more, and scrubs.
//
// Settling is what ends the time in which an old version of a block passes: a page is written as
// memory knows it one to two seconds after its last write, or after the flush that this one needed.
#pragma once

#include <memory>

#include "core/result.h"
#include "reactor/gate.h"
#include "reactor/signal.h"
#include "reactor/task.h"
#include "reactor/timer.h"
#include "services/integrity/integrity_channel.h"
#include "services/integrity/integrity_shared.h"

namespace remora::services::integrity {

class IntegrityKeeper final : private block::Completer, private reactor::TimerHandler {
  public:
    static constexpr core::Nanos kSettleEvery = std::chrono::seconds(1);
    static constexpr std::uint32_t kScrubBytes = 128 * 1024;  ///< A step.

    /// On the home reactor, as is everything below. Errors: those of a channel.
    static core::Result<std::unique_ptr<IntegrityKeeper>> create(IntegrityShared& shared);
    IntegrityKeeper(const IntegrityKeeper&) = delete;
    IntegrityKeeper& operator=(const IntegrityKeeper&) = delete;
    ~IntegrityKeeper();

    /// ScrubState says that one is running. A scrub that ended just now may still be inside.
    void begin_scrub();
    void end_scrub() { pause_.notify(); }
    /// Ends a scrub, then settles everything and flushes. No other channel is open. False when not
    /// all was settled.
    reactor::Task<bool> stop();

  private:
    IntegrityKeeper(IntegrityShared& shared, std::unique_ptr<IntegrityChannel> channel);

    void complete(block::RequestBatch& batch) override;
    void on_timer(reactor::Timer& timer) override;
    reactor::Task<> scrub();
    reactor::Task<> scrub_step(std::uint64_t lba, std::uint32_t blocks);
    reactor::Task<bool> settle_all();

    IntegrityShared& shared_;
    std::unique_ptr<IntegrityChannel> channel_;
    reactor::Reactor& reactor_;
    reactor::Timer settle_timer_;
    reactor::Gate gate_;
    reactor::Signal pause_;
    reactor::Signal step_done_;
    ScrubRequest step_;
    std::uint64_t unreadable_ = 0;  // steps of the scrub
};

}  // namespace remora::services::integrity
