// SPDX-License-Identifier: Apache-2.0
// Asymmetric namespace access: the state of a path, and the log page that tells it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, ANA Group Descriptor: Asymmetric Namespace Access State.
enum class AnaState : std::uint8_t {
    Optimized = 0x1,
    NonOptimized = 0x2,
    Inaccessible = 0x3,
    PersistentLoss = 0x4,
    Change = 0xf,
};

/// For people.
constexpr std::string_view to_string(AnaState state) {
    switch (state) {
        case AnaState::Optimized:
            return "optimized";
        case AnaState::NonOptimized:
            return "non-optimized";
        case AnaState::Inaccessible:
            return "inaccessible";
        case AnaState::PersistentLoss:
            return "persistent loss";
        case AnaState::Change:
            return "change";
    }
    return "unknown";
}

// NVM Express Base Specification 2.0, Asymmetric Namespace Access Log Page (Log Identifier 0Ch):
// this, then the descriptors, each with its NSIDs behind it.
struct AnaLogHeader {
    le64 change_count;
    le16 groups;
    std::uint8_t reserved10[6] = {};
};
static_assert(sizeof(AnaLogHeader) == 16 && offsetof(AnaLogHeader, groups) == 8);
static_assert(std::is_trivially_copyable_v<AnaLogHeader>);

struct AnaGroupDescriptor {
    le32 group;
    le32 namespaces;  ///< NSIDs that follow; 0 when only groups were asked for.
    le64 change_count;
    std::uint8_t state = 0;  ///< AnaState in 3:0.
    std::uint8_t reserved17[15] = {};
};
static_assert(sizeof(AnaGroupDescriptor) == 32);
static_assert(offsetof(AnaGroupDescriptor, change_count) == 8);
static_assert(offsetof(AnaGroupDescriptor, state) == 16);
static_assert(std::is_trivially_copyable_v<AnaGroupDescriptor>);

/// Get Log Page CDW10 (LSP bit 0): Return Groups Only.
constexpr std::uint32_t kAnaGroupsOnly = 1U << 8U;

/// CMIC: asymmetric namespace access is reported.
constexpr std::uint8_t kCmicAna = 1U << 3U;
/// ANACAP: the five states are reported; ANAGRPID does not change while a namespace is attached.
constexpr std::uint8_t kAnaCapabilities = 0x1fU | (1U << 6U);

}  // namespace remora::nvme::spec
