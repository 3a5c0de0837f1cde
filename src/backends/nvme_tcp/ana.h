// SPDX-License-Identifier: Apache-2.0
// Asymmetric Namespace Access as the host sees it: which of a controller's namespaces may be used,
// by groups (log page 0Ch). The log comes from the wire: it is read in pieces, checked whole, and
// bounded.
//
// Spec: NVM Express Base 2.0, Asymmetric Namespace Access Reporting; Asymmetric Namespace Access
// log page (Log Identifier 0Ch).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "core/result.h"
#include "core/units.h"
#include "nvme/spec/ana.h"

namespace remora::backends::nvme_tcp {

using nvme::spec::AnaGroupDescriptor;
using nvme::spec::AnaLogHeader;
using nvme::spec::AnaState;

constexpr bool is_accessible(AnaState state) {
    return state == AnaState::Optimized || state == AnaState::NonOptimized;
}

/// Identify Controller's words on it.
struct AnaFacts {
    bool reported = false;        ///< CMIC bit 3. Without it every namespace is optimized.
    core::Nanos transition{};     ///< ANATT: the longest that a change takes.
    std::uint32_t group_max = 0;  ///< ANAGRPMAX: the greatest group identifier.
    std::uint32_t groups = 0;     ///< NANAGRPID: how many groups there are.
};

/// Gathers the log piece by piece. It ends: a log that says that it is longer than kMaxBytes, or
/// has more groups than the controller, is refused as soon as it says so.
class AnaLogReader {
  public:
    static constexpr std::size_t kPieceBytes = 4096;
    static constexpr std::size_t kMaxBytes = std::size_t{256} * 1024;

    explicit AnaLogReader(const AnaFacts& facts) : facts_(facts) {}

    struct Piece {
        std::uint64_t offset = 0;
        std::size_t bytes = 0;
    };
    /// What to ask for next; nothing when the log is whole.
    [[nodiscard]] std::optional<Piece> next() const;
    /// Takes what was asked for. Errors: Unavailable with what is wrong.
    core::Result<void> add(std::span<const std::byte> piece);
    /// States by group, once whole.
    [[nodiscard]] const std::map<std::uint32_t, AnaState>& states() const { return states_; }
    [[nodiscard]] std::uint64_t change_count() const { return change_count_; }

  private:
    core::Result<void> parse();

    AnaFacts facts_;
    std::vector<std::byte> bytes_;
    std::map<std::uint32_t, AnaState> states_;
    std::uint64_t change_count_ = 0;
    bool whole_ = false;
};

}  // namespace remora::backends::nvme_tcp
