// SPDX-License-Identifier: Apache-2.0
// Asymmetric Namespace Access as the host sees it: which of a controller's namespaces may be used,
// by groups (log page 0Ch). The log comes from the wire: it is read in pieces, checked whole, and
// bounded.
//
// Spec: NVM Express Base 2.0, Asymmetric Namespace Access Reporting; Asymmetric Namespace Access
// log page (Log Identifier 0Ch).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "core/endian.h"
#include "core/result.h"
#include "core/units.h"
#include "nvme/spec/log_page.h"

namespace remora::backends::nvme_tcp {

/// What a controller says of its access to a namespace.
enum class AnaState : std::uint8_t {
    Optimized,       ///< Use it. Also that of a controller that does not report.
    NonOptimized,    ///< Works; used when there is nothing optimized.
    Inaccessible,    ///< Not by this controller, for now.
    PersistentLoss,  ///< Not by this controller.
    Change,          ///< Going from one state to another, for at most ANATT.
};

constexpr bool is_accessible(AnaState state) {
    return state == AnaState::Optimized || state == AnaState::NonOptimized;
}

/// For people: "optimized", "non-optimized", "inaccessible", "persistent loss", "change".
std::string_view to_string(AnaState state) noexcept;

/// Identify Controller's words on it.
struct AnaFacts {
    bool reported = false;        ///< CMIC bit 3. Without it every namespace is optimized.
    core::Nanos transition{};     ///< ANATT: the longest that a change takes.
    std::uint32_t group_max = 0;  ///< ANAGRPMAX: the greatest group identifier.
    std::uint32_t groups = 0;     ///< NANAGRPID: how many groups there are.
};

// NVM Express Base Specification 2.0, Asymmetric Namespace Access Log Page.
struct AnaLogHeader {
    core::le64 change_count;
    core::le16 groups;
    std::uint8_t reserved10[6] = {};
};
static_assert(sizeof(AnaLogHeader) == 16 && offsetof(AnaLogHeader, groups) == 8);
static_assert(std::is_trivially_copyable_v<AnaLogHeader>);

// NVM Express Base Specification 2.0, ANA Group Descriptor; `namespaces` NSIDs follow it.
struct AnaGroupDescriptor {
    core::le32 group;
    core::le32 namespaces;  ///< 0 when only groups were asked for.
    core::le64 change_count;
    std::uint8_t state = 0;  ///< In 3:0.
    std::uint8_t reserved17[15] = {};
};
static_assert(sizeof(AnaGroupDescriptor) == 32 && offsetof(AnaGroupDescriptor, state) == 16);
static_assert(std::is_trivially_copyable_v<AnaGroupDescriptor>);

/// Log identifier of the page.
constexpr auto kAnaLogPage = static_cast<nvme::spec::LogPage>(0x0c);
/// CDW10: Return Groups Only (LSP bit 0): descriptors come without their NSIDs.
constexpr std::uint32_t kAnaGroupsOnly = 1U << 8U;
/// CMIC: the controller reports.
constexpr std::uint8_t kCmicAna = 1U << 3U;
/// OAES and Asynchronous Event Configuration: Asymmetric Namespace Access Change Notices.
constexpr std::uint32_t kEventAnaChange = 1U << 11U;
/// Notice: the log changed.
constexpr std::uint32_t kNoticeAna =
    nvme::spec::async_event(nvme::spec::kEventTypeNotice, 0x03, kAnaLogPage);
static_assert(kNoticeAna == 0x000c0302);

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
