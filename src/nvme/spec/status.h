// SPDX-License-Identifier: Apache-2.0
// NVMe status values: SCT and SC as one number, and the 15-bit Status Field of a completion.
//
// Everywhere in this project a status field is the 15 bits without the phase tag: SC in 7:0, SCT in
// 10:8, CRD in 12:11, M in 13, DNR in 14. Only Completion (command.h) knows the shift by one.
#pragma once

#include <cstdint>

namespace remora::nvme::spec {

/// SCT << 8 | SC.
// NVM Express Base Specification 2.0, Completion Queue Entry: Status Field (status code tables);
// the 1xxh values of Connect are from the Connect command's status codes.
enum class StatusCode : std::uint16_t {
    Success = 0x000,
    InvalidOpcode = 0x001,
    InvalidField = 0x002,
    CommandIdConflict = 0x003,
    DataTransferError = 0x004,
    InternalError = 0x006,
    AbortRequested = 0x007,
    AbortedSqDeletion = 0x008,
    FailedFusedCommand = 0x009,   ///< The other one of the pair failed.
    MissingFusedCommand = 0x00a,  ///< The other one did not come.
    InvalidNamespace = 0x00b,
    CommandSequenceError = 0x00c,
    InvalidSglSegment = 0x00d,
    DataSglLengthInvalid = 0x00f,
    SglTypeInvalid = 0x011,
    SglOffsetInvalid = 0x016,
    HostIdInconsistent = 0x018,
    KeepAliveExpired = 0x019,
    KeepAliveInvalid = 0x01a,
    NamespaceWriteProtected = 0x020,
    CommandInterrupted = 0x021,
    TransientTransportError = 0x022,
    LbaOutOfRange = 0x080,
    CapacityExceeded = 0x081,
    NamespaceNotReady = 0x082,
    ReservationConflict = 0x083,

    AbortLimitExceeded = 0x103,
    AsyncEventLimitExceeded = 0x105,
    InvalidLogPage = 0x109,
    FeatureNotSaveable = 0x10d,
    FeatureNotChangeable = 0x10e,
    FeatureNotNamespaceSpecific = 0x10f,
    ConnectIncompatibleFormat = 0x180,
    ConnectControllerBusy = 0x181,
    ConnectInvalidParameters = 0x182,
    ConnectRestartDiscovery = 0x183,
    ConnectInvalidHost = 0x184,
    ConnectInvalidQueueType = 0x185,
    CommandSizeLimitExceeded = 0x183,  ///< Of Copy; of Connect the value means another thing.
    DiscoverRestart = 0x190,
    AuthenticationRequired = 0x191,

    WriteFault = 0x280,
    UnrecoveredReadError = 0x281,
    GuardCheckError = 0x282,
    ApplicationTagError = 0x283,
    ReferenceTagError = 0x284,
    CompareFailure = 0x285,
    AccessDenied = 0x286,

    InternalPathError = 0x300,
    AnaPersistentLoss = 0x301,
    AnaInaccessible = 0x302,
    AnaTransition = 0x303,
    ControllerPathError = 0x360,
    HostPathError = 0x370,
    AbortedByHost = 0x371,
};

/// Do Not Retry, in a 15-bit status field.
constexpr std::uint16_t kDoNotRetry = 0x4000;
/// SCT and SC of a 15-bit status field.
constexpr std::uint16_t kStatusCodeMask = 0x07ff;

/// The status field of a code, with DNR when `final`.
constexpr std::uint16_t status_field(StatusCode code, bool final = false) {
    const auto bits = static_cast<std::uint16_t>(code);
    return final ? static_cast<std::uint16_t>(bits | kDoNotRetry) : bits;
}

/// The code of a status field; values the enumeration does not name come through as they are.
constexpr StatusCode status_code(std::uint16_t field) {
    return static_cast<StatusCode>(field & kStatusCodeMask);
}

static_assert(status_field(StatusCode::InvalidField, true) == 0x4002);
static_assert(status_code(0x4182) == StatusCode::ConnectInvalidParameters);

}  // namespace remora::nvme::spec
