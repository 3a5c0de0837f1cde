// SPDX-License-Identifier: Apache-2.0
// FaultPlan: valid settings in the form that the data path looks at, and what is left of the
// counts that all reactors share. Immutable but for those; shared by the reactors that were shown
// it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "block/request.h"
#include "core/prng.h"
#include "services/fault/fault_settings.h"

namespace remora::services::fault {

/// Hits of the rules on one reactor.
struct Tally {
    std::array<std::uint64_t, FaultSettings::kMostRules> errors{};
    std::array<std::uint64_t, FaultSettings::kMostRules> delays{};
};

/// What is to be done to a request.
struct Verdict {
    block::Status status = block::Status::Ok;  ///< Ok: it goes on; else it ends with this.
    bool delayed = false;                      ///< A delay was drawn, which may be 0.
    Nanos delay{};
};

/// One draw. Any valid rule; never negative.
Nanos draw_delay(const DelayRule& rule, core::Prng& prng);

class FaultPlan {
  public:
    explicit FaultPlan(const FaultSettings& settings);

    /// Whether any rule is on one of these. False is exact enough to let the whole batch pass.
    [[nodiscard]] bool may_hit(const block::RequestBatch& batch) const;
    Verdict draw(const block::Request& request, core::Prng& prng, Tally& tally);

    [[nodiscard]] bool empty() const { return errors_.empty() && delays_.empty(); }
    [[nodiscard]] std::size_t errors() const { return errors_.size(); }
    [[nodiscard]] std::size_t delays() const { return delays_.size(); }
    [[nodiscard]] std::uint64_t seed() const { return seed_; }

  private:
    /// Which requests a rule is on, or several together.
    struct Target {
        std::uint8_t opcodes = 0;  ///< Bits.
        std::uint64_t first = ~std::uint64_t{0};
        std::uint64_t last = 0;  ///< Itself included.

        [[nodiscard]] bool covers(const block::Request& request) const;
        void widen(const Target& other);
    };
    struct Odds {
        std::uint64_t below = 0;  ///< Of 2^64; 0: always.

        [[nodiscard]] bool hit(core::Prng& prng) const;
    };
    struct Error {
        Target target;
        Odds odds;
        block::Status status;
        bool counted;  ///< It has a number of times, in left_.
    };
    struct Delay {
        Target target;
        Odds odds;
        DelayRule rule;
    };
    template <typename Rule>
    static Target target_of(const Rule& rule);
    static Odds odds_of(double probability);
    /// Whether this rule may hit once more, which it then has.
    bool take(std::size_t error);

    Target any_;  // what none of the rules is on is outside
    std::vector<Error> errors_;
    std::vector<Delay> delays_;
    std::uint64_t seed_;
    std::array<std::atomic<std::uint64_t>, FaultSettings::kMostRules> left_{};
};

}  // namespace remora::services::fault
