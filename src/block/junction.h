// SPDX-License-Identifier: Apache-2.0
// Junction: where stages are put into a volume's way and taken out again under load, without a
// pause. The composition root has one at the foot of every volume's chain.
//
//   control reactor   insert(stage) ──► on every reactor, channel by channel: the pointer is turned
//   a channel         submit ─► first ─► [stage ─► stage ─►] the volume's own channel
//
// Without stages a batch costs one more virtual call; no frame is pushed, so completions never come
// by here. Nothing is held back by a change: a request goes by the stages that were there when it
// was submitted.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "block/device.h"
#include "block/reactor_context.h"
#include "block/stage.h"
#include "core/intrusive_list.h"

namespace remora::block {

class JunctionChannel;

class Junction final : public Device {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    /// `lower` outlives this; name and UUID are its own. With `stages` from the first channel on,
    /// the one that requests come to first in front.
    explicit Junction(Device& lower, const std::vector<Stage*>& stages = {});
    ~Junction() override;

    /// Puts `stage` before those that are there. When it has ended, all of `reactors` have it, and
    /// channels that are opened later come with it. On the control reactor; one change at a time,
    /// while this stays. Errors: those of the stage's channels; then it is on no reactor.
    reactor::Task<core::Result<void>> insert(Stage& stage,
                                             std::span<const ReactorContext> reactors);
    /// Takes `stage` out. When it has ended, the stage has no request and no channel any more. The
    /// wait is that for requests which have a frame of the stage's. The same rules.
    reactor::Task<> remove(Stage& stage, std::span<const ReactorContext> reactors);

    [[nodiscard]] Geometry geometry() const override { return lower_.geometry(); }
    core::Result<std::unique_ptr<Channel>> open_channel() override;
    core::Result<void> grow(std::uint64_t block_count) override { return lower_.grow(block_count); }
    void show_growth() override { lower_.show_growth(); }
    void add_listener(DeviceListener& listener) override { lower_.add_listener(listener); }
    void remove_listener(DeviceListener& listener) override { lower_.remove_listener(listener); }
    reactor::Task<> stop() override { return lower_.stop(); }

  private:
    friend class JunctionChannel;
    /// A stage's channel that was taken out and is being drained; the channel that it was in may be
    /// closed by then.
    struct Retired {
        const Stage* stage;
        std::unique_ptr<StageChannel> channel;
    };
    struct PerReactor {
        std::vector<Stage*> stages;  ///< Of channels that are opened here.
        core::List<JunctionChannel, JunctionChannel> channels;
        std::vector<Retired> retired;
    };
    PerReactor& here();
    core::Result<void> insert_here(Stage& stage);
    void take_out_here(const Stage& stage);
    reactor::Task<> drain_here(const Stage& stage);
    reactor::Task<> take_out(const Stage& stage, std::span<const ReactorContext> reactors);

    Device& lower_;
    bool changing_ = false;                          // control reactor
    std::array<PerReactor, kMaxReactors> reactors_;  // [i] belongs to reactor i
};

}  // namespace remora::block
