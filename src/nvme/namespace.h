// SPDX-License-Identifier: Apache-2.0
// nvme::Namespace: a volume under an NSID, and its identify structures. One replica per reactor;
// the transport derives from it to keep its channel beside it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "block/device.h"
#include "core/uuid.h"
#include "nvme/reservation.h"
#include "nvme/spec/identify.h"
#include "nvme/uncorrectable.h"

namespace remora::nvme {

struct Namespace {
    std::uint32_t nsid = 0;
    block::Geometry geometry;
    core::Uuid uuid;
    std::array<unsigned char, 16> nguid{};  ///< All zero: none.
    std::uint64_t eui64 = 0;                ///< 0: none.
    bool shared = true;                     ///< Other controllers may have it, too.
    bool in_ana_group = true;               ///< Its controller tells its state (ANA).
    bool can_reserve = true;                ///< Hosts may make reservations.
    bool can_persist = false;               ///< Reservations may be made to survive a restart.
    bool persist = false;                   ///< They do.
    ReservationAccess access{};             ///< Who may use it.
    UncorrectableBlocks uncorrectable;      ///< Reads of these fail.
};

/// What one Copy may ask for, in bytes: of one source range, and of all.
constexpr std::uint64_t kCopyRangeBytes = std::uint64_t{4} << 20U;
constexpr std::uint64_t kCopyBytes = std::uint64_t{32} << 20U;

/// Fills the structure of CNS 00h.
void identify_namespace(const Namespace& from, spec::IdentifyNamespace& to);
/// Fills the structure of CNS 08h.
void identify_independent(const Namespace& from, spec::IdentifyIndependentNamespace& to);
/// Writes the descriptors of CNS 03h to `to`, which is zeroed and has 4096 bytes.
void identify_descriptors(const Namespace& from, std::span<std::byte> to);

}  // namespace remora::nvme
