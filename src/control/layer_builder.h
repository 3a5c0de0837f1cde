// SPDX-License-Identifier: Apache-2.0
// LayerBuilder: after a start, builds what is stored of encrypted volumes, arrays and volumes with
// checksums, those that others stand on first. What cannot be built now is tried again, with pauses
// that grow, for as long as it takes: a disk or a path may come minutes later. Why something is not
// there is in Context::unbuilt meanwhile. Control reactor only.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "control/layers.h"
#include "reactor/gate.h"
#include "reactor/signal.h"

namespace remora::control {

class LayerBuilder {
  public:
    static constexpr core::Nanos kShortestPause = std::chrono::milliseconds(50);
    static constexpr core::Nanos kLongestPause = std::chrono::seconds(10);

    LayerBuilder(Context& context, std::array<LayerKind*, 3> kinds)
        : context_(context), kinds_(kinds) {}

    /// Begins, in the background, and goes on until stop().
    void start();
    /// Returns when all are built, or all but those for which a moment more is of no use; at the
    /// latest after `limit`.
    reactor::Task<> wait_first(core::Nanos limit);
    /// False when an attempt did not end by the deadline.
    reactor::Task<bool> stop(core::Nanos deadline);

  private:
    /// What an attempt leaves to be done.
    enum class Left : std::uint8_t {
        Nothing,
        Later,  ///< It has to change first.
        Soon,   ///< What it stands on does not answer yet.
    };
    struct Waiting {
        LayerKind* kind;
        Layer layer;
    };

    static reactor::Task<> run(LayerBuilder* self);
    [[nodiscard]] std::vector<Waiting> unbuilt() const;
    reactor::Task<Left> build_all(std::vector<Waiting> waiting);
    reactor::Task<Left> build_one(Waiting one);
    Left note_failure(const Layer& layer, const core::Error& error);

    Context& context_;
    const std::array<LayerKind*, 3> kinds_;
    reactor::Gate gate_;
    reactor::Signal stop_signal_;
    reactor::Signal first_done_;
    bool is_first_done_ = false;
    bool has_built_ = false;  ///< In this round.
    std::map<std::string, std::string>
        said_;  ///< What was logged last of each, not to be repeated.
};

}  // namespace remora::control
