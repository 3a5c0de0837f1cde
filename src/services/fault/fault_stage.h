// SPDX-License-Identifier: Apache-2.0
// FaultStage: fails and holds up requests on their way down, on purpose (fault_settings.h). A
// Junction puts it into a volume's way.
//
//   submit ─► no rule is on any of the batch ──────────────────────────► lower
//        └──► draws ─┬─► nothing hit ──────────────────────────────────► lower
//                    ├─► delay: waits, by its time ─► error? ─► no ────► lower
//                    └─► error ────────────────────────┴─► completed, by nobody below
//
// Completions do not come by here, and a request has a frame of ours only while it waits.
#pragma once

#include <array>
#include <cstdint>
#include <memory>

#include "block/stage.h"
#include "core/intrusive_list.h"
#include "core/prng.h"
#include "services/fault/fault_plan.h"
#include "services/fault/fault_settings.h"

namespace remora::services::fault {

class FaultChannel;

class FaultStage final : public block::Stage {
  public:
    static constexpr std::size_t kMaxReactors = 64;

    /// Valid settings (check_settings), in force on all reactors.
    explicit FaultStage(const FaultSettings& settings);
    FaultStage(const FaultStage&) = delete;
    FaultStage& operator=(const FaultStage&) = delete;
    ~FaultStage();

    /// On the control reactor; valid ones; in force on a reactor once show() has run on it, which
    /// it has on all before the next call.
    void set(const FaultSettings& settings);
    /// On each reactor after set(): counts begin at zero. What waits keeps its time, but for empty
    /// settings, which let it go at once.
    void show();
    /// Lets go at once what waits on the current reactor.
    void release();

    /// Of the current reactor since its last show(). Waiting counts up to the last time that a
    /// request began or ended to wait.
    [[nodiscard]] FaultCounts counts_here() const;

    core::Result<std::unique_ptr<block::StageChannel>> open_channel(
        block::Channel& lower, std::uint32_t block_size) override;

  private:
    friend class FaultChannel;
    struct PerReactor {
        std::shared_ptr<FaultPlan> plan;
        core::Prng prng{0};
        bool seeded = false;
        std::uint64_t errors = 0;
        std::uint64_t delayed = 0;
        std::uint64_t delayed_ns = 0;
        Tally tally;
        core::List<FaultChannel, FaultChannel> channels;
    };
    PerReactor& here();
    [[nodiscard]] const PerReactor& here() const;
    static void seed(PerReactor& here);

    std::shared_ptr<FaultPlan> set_;                 // control reactor, but during show()
    std::array<PerReactor, kMaxReactors> reactors_;  // [i] belongs to reactor i
};

}  // namespace remora::services::fault
