// SPDX-License-Identifier: Apache-2.0
// Features of Set Features and Get Features.
#pragma once

#include <cstdint>

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, Feature Identifiers (CDW10 7:0).
enum class Feature : std::uint8_t {
    Arbitration = 0x01,
    PowerManagement = 0x02,
    TemperatureThreshold = 0x04,
    ErrorRecovery = 0x05,
    VolatileWriteCache = 0x06,
    NumberOfQueues = 0x07,
    InterruptCoalescing = 0x08,
    InterruptVectorConfiguration = 0x09,
    WriteAtomicity = 0x0a,
    AsyncEventConfiguration = 0x0b,
    KeepAliveTimer = 0x0f,
    HostBehaviorSupport = 0x16,
    HostIdentifier = 0x81,
    ReservationNotificationMask = 0x82,
    ReservationPersistence = 0x83,
};

/// Set Features CDW10: keep the value across resets.
constexpr std::uint32_t kFeatureSave = 1U << 31U;

/// Get Features CDW10 10:8.
enum class FeatureSelect : std::uint8_t { Current = 0, Default = 1, Saved = 2, Supported = 3 };
/// DW0 of Get Features with FeatureSelect::Supported: the value can be changed.
constexpr std::uint32_t kFeatureChangeable = 1U << 2U;
/// The same: each namespace has a value of its own.
constexpr std::uint32_t kFeatureOfNamespace = 1U << 1U;

/// CDW11 and DW0 of Number of Queues: both counts 0's based.
constexpr std::uint32_t number_of_queues(std::uint16_t submission, std::uint16_t completion) {
    return (submission - 1U) | ((completion - 1U) << 16U);
}

constexpr std::uint32_t kHostBehaviorBytes = 512;

/// CDW11 and DW0 of Interrupt Vector Configuration: the vector, and whether it is not coalesced.
constexpr std::uint32_t kInterruptVectorMask = 0xffff;
constexpr std::uint32_t kCoalescingDisable = 1U << 16U;

}  // namespace remora::nvme::spec
