// SPDX-License-Identifier: Apache-2.0
// Log pages other than the discovery log (fabrics.h), and asynchronous events.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, Get Log Page - Log Page Identifiers (CDW10 7:0).
enum class LogPage : std::uint8_t {
    Error = 0x01,
    Smart = 0x02,
    FirmwareSlot = 0x03,
    ChangedNamespaces = 0x04,
    CommandEffects = 0x05,
    Ana = 0x0c,
    Discovery = 0x70,
    ReservationNotification = 0x80,
};

/// Get Log Page for a page that all reactors together know.
inline bool is_health_page(const Command& get) {
    const auto page = static_cast<LogPage>(get.cdw10 & 0xffU);
    return page == LogPage::Error || page == LogPage::Smart;
}
/// CDW10: keep the asynchronous event masked until a read without this bit.
constexpr std::uint32_t kRetainAsyncEvent = 1U << 15U;

/// Bytes asked for: NUMDL in CDW10 31:16 and NUMDU in CDW11 15:0, dwords, 0's based.
inline std::uint64_t log_page_bytes(const Command& command) {
    const std::uint64_t dwords =
        (command.cdw10.get() >> 16U) | (std::uint64_t{command.cdw11.get() & 0xffffU} << 16U);
    return (dwords + 1) * 4;
}
/// LPOL in CDW12, LPOU in CDW13, bytes.
inline std::uint64_t log_page_offset(const Command& command) {
    return command.cdw12.get() | (std::uint64_t{command.cdw13.get()} << 32U);
}
/// Sets both in a Get Log Page command; `bytes` a multiple of 4 and not zero.
inline void set_log_page_range(Command& command,
                               LogPage page,
                               std::uint64_t offset,
                               std::uint32_t bytes) {
    const std::uint32_t dwords = bytes / 4 - 1;
    command.cdw10 = static_cast<std::uint32_t>(page) | ((dwords & 0xffffU) << 16U);
    command.cdw11 = dwords >> 16U;
    command.cdw12 = static_cast<std::uint32_t>(offset & 0xffffffffU);
    command.cdw13 = static_cast<std::uint32_t>(offset >> 32U);
}

// NVM Express Base Specification 2.0, Error Information Log Entry (Log Identifier 01h).
struct ErrorLogEntry {
    le64 error_count;  ///< 0: the entry is empty.
    le16 sqid;
    le16 cid;
    le16 status;
    le16 parameter_location;
    le64 lba;
    le32 nsid;
    std::uint8_t vendor_log = 0;
    std::uint8_t transport = 0;
    std::uint8_t reserved30[2] = {};
    le64 command_specific;
    le16 transport_specific;
    std::uint8_t reserved42[22] = {};
};
static_assert(sizeof(ErrorLogEntry) == 64);
static_assert(offsetof(ErrorLogEntry, lba) == 16);

// NVM Express Base Specification 2.0, SMART / Health Information Log Page (Log Identifier 02h).
struct SmartLog {
    std::uint8_t critical_warning = 0;
    le16 temperature_kelvin;
    std::uint8_t available_spare = 0;
    std::uint8_t spare_threshold = 0;
    std::uint8_t percentage_used = 0;
    std::uint8_t endurance_warning = 0;
    std::uint8_t reserved7[25] = {};
    le64 data_units_read[2];  ///< Thousands of 512 bytes, 128 bits.
    le64 data_units_written[2];
    le64 host_reads[2];
    le64 host_writes[2];
    le64 busy_minutes[2];
    le64 power_cycles[2];
    le64 power_on_hours[2];
    le64 unsafe_shutdowns[2];
    le64 media_errors[2];
    le64 error_log_entries[2];
    std::uint8_t reserved192[320] = {};
};
static_assert(sizeof(SmartLog) == 512);
static_assert(offsetof(SmartLog, temperature_kelvin) == 1);
static_assert(offsetof(SmartLog, data_units_read) == 32);
static_assert(offsetof(SmartLog, error_log_entries) == 176);
static_assert(std::is_trivially_copyable_v<SmartLog>);

// NVM Express Base Specification 2.0, Firmware Slot Information Log Page (Log Identifier 03h).
struct FirmwareSlotLog {
    std::uint8_t active = 0;  ///< Slot in 2:0.
    std::uint8_t reserved1[7] = {};
    char revision[7][8] = {};
    std::uint8_t reserved64[448] = {};
};
static_assert(sizeof(FirmwareSlotLog) == 512 && offsetof(FirmwareSlotLog, revision) == 8);

// NVM Express Base Specification 2.0, Changed Namespace List Log Page (Log Identifier 04h): up to
// 1024 NSIDs, ascending; FFFFFFFFh first when there are more.
struct ChangedNamespacesLog {
    le32 nsid[1024];
};
static_assert(sizeof(ChangedNamespacesLog) == 4096);

// NVM Express Base Specification 2.0, Commands Supported and Effects Log Page (Log Identifier
// 05h).
struct CommandEffectsLog {
    le32 admin[256];
    le32 io[256];
    std::uint8_t reserved2048[2048] = {};
};
static_assert(sizeof(CommandEffectsLog) == 4096);
constexpr std::uint32_t kEffectSupported = 1U << 0U;
constexpr std::uint32_t kEffectContentChange = 1U << 1U;

/// DW0 of an Asynchronous Event Request completion: type in 2:0, information in 15:8, log in 23:16.
constexpr std::uint32_t async_event(std::uint8_t type, std::uint8_t information, LogPage page) {
    return type | (std::uint32_t{information} << 8U) |
           (std::uint32_t{static_cast<std::uint8_t>(page)} << 16U);
}
constexpr std::uint8_t kEventTypeError = 0;
constexpr std::uint8_t kEventTypeNotice = 2;
constexpr std::uint8_t kEventTypeIoCommandSet = 6;
/// Error: a doorbell was written that belongs to no queue.
constexpr std::uint32_t kErrorDoorbellRegister = async_event(kEventTypeError, 0x00, LogPage::Error);
/// Error: a doorbell was written with a value that its queue cannot have.
constexpr std::uint32_t kErrorDoorbellValue = async_event(kEventTypeError, 0x01, LogPage::Error);
/// Notice: the attributes of a namespace changed; the list is in log 04h.
constexpr std::uint32_t kNoticeNamespaces =
    async_event(kEventTypeNotice, 0x00, LogPage::ChangedNamespaces);
/// Notice: the asymmetric namespace access state of a group changed.
constexpr std::uint32_t kNoticeAna = async_event(kEventTypeNotice, 0x03, LogPage::Ana);
/// Notice: the discovery log changed.
constexpr std::uint32_t kNoticeDiscovery = async_event(kEventTypeNotice, 0xf0, LogPage::Discovery);
/// I/O command specific: there are pages in the Reservation Notification log.
constexpr std::uint32_t kNoticeReservation =
    async_event(kEventTypeIoCommandSet, 0x00, LogPage::ReservationNotification);
static_assert(kNoticeReservation == 0x00800006);
static_assert(kNoticeNamespaces == 0x00040002);
static_assert(kNoticeAna == 0x000c0302);
static_assert(kNoticeDiscovery == 0x0070f002);

}  // namespace remora::nvme::spec
