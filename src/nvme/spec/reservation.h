// SPDX-License-Identifier: Apache-2.0
// Reservations: command fields, data structures, the notification log page and the two features.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, Reservation Type Encoding (also RTYPE and RESCAP order).
enum class ReservationType : std::uint8_t {
    None = 0,
    WriteExclusive = 1,
    ExclusiveAccess = 2,
    WriteExclusiveRegistrantsOnly = 3,
    ExclusiveAccessRegistrantsOnly = 4,
    WriteExclusiveAllRegistrants = 5,
    ExclusiveAccessAllRegistrants = 6,
};

// NVM Express Base Specification 2.0, Reservation Register, Acquire and Release: CDW10 has the
// action (RREGA, RACQA, RRELA) in 2:0, IEKEY in 3, RTYPE in 15:8, CPTPL in 31:30.
enum class RegisterAction : std::uint8_t { Register = 0, Unregister = 1, Replace = 2 };
enum class AcquireAction : std::uint8_t { Acquire = 0, Preempt = 1, PreemptAndAbort = 2 };
enum class ReleaseAction : std::uint8_t { Release = 0, Clear = 1 };
constexpr std::uint32_t kReservationActionMask = 7U;
constexpr std::uint32_t kIgnoreExistingKey = 1U << 3U;
constexpr unsigned kReservationTypeShift = 8;
/// CPTPL: how a Reservation Register changes the Persist Through Power Loss state.
enum class ChangePersistence : std::uint8_t { No = 0, Clear = 2, Set = 3 };
constexpr unsigned kChangePersistenceShift = 30;

// NVM Express Base Specification 2.0, Reservation Register Data Structure.
struct ReservationRegisterData {
    le64 current_key;
    le64 new_key;
};
static_assert(sizeof(ReservationRegisterData) == 16);

// NVM Express Base Specification 2.0, Reservation Acquire Data Structure.
struct ReservationAcquireData {
    le64 current_key;
    le64 preempted_key;
};
static_assert(sizeof(ReservationAcquireData) == 16);

// NVM Express Base Specification 2.0, Reservation Release Data Structure.
struct ReservationReleaseData {
    le64 current_key;
};
static_assert(sizeof(ReservationReleaseData) == 8);

/// Reservation Report CDW11: the structures with 128-bit host identifiers (EDS).
constexpr std::uint32_t kExtendedDataStructure = 1U << 0U;
/// CDW10 of a Reservation Report: dwords, 0's based.
inline std::uint64_t reservation_report_bytes(const Command& command) {
    return (std::uint64_t{command.cdw10.get()} + 1) * 4;
}

// NVM Express Base Specification 2.0, Reservation Status Extended Data Structure: the header.
struct ReservationStatus {
    le32 generation;
    std::uint8_t type = 0;
    le16 registered_controllers;
    std::uint8_t reserved7[2] = {};
    std::uint8_t persist = 0;  ///< PTPLS.
    std::uint8_t reserved10[54] = {};
};
static_assert(sizeof(ReservationStatus) == 64);
static_assert(offsetof(ReservationStatus, registered_controllers) == 5);
static_assert(offsetof(ReservationStatus, persist) == 9);

// NVM Express Base Specification 2.0, Registered Controller Extended Data Structure.
struct RegisteredController {
    le16 cntlid;
    std::uint8_t status = 0;  ///< Bit 0: the host holds the reservation.
    std::uint8_t reserved3[5] = {};
    le64 key;
    std::uint8_t host_id[16] = {};
    std::uint8_t reserved32[32] = {};
};
static_assert(sizeof(RegisteredController) == 64);
static_assert(offsetof(RegisteredController, key) == 8);
static_assert(offsetof(RegisteredController, host_id) == 16);
static_assert(std::is_trivially_copyable_v<RegisteredController>);
constexpr std::uint8_t kHoldsReservation = 1U << 0U;
/// CNTLID of a registrant that has no controller now.
constexpr std::uint16_t kNoController = 0xffff;

/// RESCAP: PTPL in bit 0, the six types in 6:1, and in bit 7 that IEKEY is as of revision 1.3.
constexpr std::uint8_t kRescapPersist = 1U << 0U;
constexpr std::uint8_t kRescapAllTypes = 0x7eU;
constexpr std::uint8_t kRescapIgnoreKey13 = 1U << 7U;

// NVM Express Base Specification 2.0, Reservation Notification Log Page (Log Identifier 80h).
enum class ReservationNotice : std::uint8_t {
    Empty = 0,
    RegistrationPreempted = 1,
    ReservationReleased = 2,
    ReservationPreempted = 3,
};
struct ReservationNotificationLog {
    le64 count;  ///< Of pages so far; 0: the page is empty.
    std::uint8_t type = 0;
    std::uint8_t available = 0;  ///< Pages behind this one, at most 255.
    std::uint8_t reserved10[2] = {};
    le32 nsid;
    std::uint8_t reserved16[48] = {};
};
static_assert(sizeof(ReservationNotificationLog) == 64);
static_assert(offsetof(ReservationNotificationLog, nsid) == 12);
static_assert(std::is_trivially_copyable_v<ReservationNotificationLog>);

/// Reservation Notification Mask: bit n masks the notice with number n.
constexpr std::uint32_t kReservationMaskBits = 0xeU;
/// Reservation Persistence: PTPL in CDW11 bit 0.
constexpr std::uint32_t kPersistThroughPowerLoss = 1U << 0U;

}  // namespace remora::nvme::spec
