// SPDX-License-Identifier: Apache-2.0
// What only controllers on PCIe have: registers, doorbells, and admin commands for queues.
#pragma once

#include <cstddef>
#include <cstdint>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, Opcodes for Admin Commands: those of memory-based transports.
enum class PcieAdminOpcode : std::uint8_t {
    DeleteIoSq = 0x00,
    CreateIoSq = 0x01,
    DeleteIoCq = 0x04,
    CreateIoCq = 0x05,
    DoorbellBufferConfig = 0x7c,
};

/// SCT << 8 | SC, as StatusCode, which has those that fabrics controllers give, too.
// NVM Express Base Specification 2.0, Status Field: those about queues and memory of the host.
enum class PcieStatus : std::uint16_t {
    InvalidSglDescriptorCount = 0x00e,
    PrpOffsetInvalid = 0x013,
    CompletionQueueInvalid = 0x100,
    InvalidQueueIdentifier = 0x101,
    InvalidQueueSize = 0x102,
    InvalidInterruptVector = 0x108,
    InvalidQueueDeletion = 0x10c,
};
constexpr std::uint16_t status_field(PcieStatus code, bool final = false) {
    return status_field(static_cast<StatusCode>(code), final);
}

// NVM Express Base Specification 2.0, Controller Properties: those of memory-based transports. The
// others are in fabrics.h.
constexpr std::uint32_t kRegisterIntms = 0x0c;
constexpr std::uint32_t kRegisterIntmc = 0x10;
constexpr std::uint32_t kRegisterAqa = 0x24;
constexpr std::uint32_t kRegisterAsq = 0x28;
constexpr std::uint32_t kRegisterAcq = 0x30;
/// Behind the last register that is defined without optional features.
constexpr std::uint32_t kRegistersEnd = 0x38;

// NVM Express Base Specification 2.0, Offset 24h: AQA. Both sizes are 0's based, 12 bits.
constexpr std::uint32_t admin_sq_entries(std::uint32_t aqa) {
    return (aqa & 0xfffU) + 1;
}
constexpr std::uint32_t admin_cq_entries(std::uint32_t aqa) {
    return ((aqa >> 16U) & 0xfffU) + 1;
}
constexpr std::uint32_t kAqaMask = 0x0fff'0fff;
constexpr std::uint32_t kMaxAdminEntries = 4096;
/// ASQ and ACQ: 11:0 are reserved.
constexpr std::uint64_t kQueueBaseMask = ~std::uint64_t{0xfff};

// NVM Express NVMe over PCIe Transport Specification 1.0, Submission Queue y Tail Doorbell and
// Completion Queue y Head Doorbell, with CAP.DSTRD 0: dword 2y and 2y + 1 from here.
constexpr std::uint32_t kDoorbells = 0x1000;
constexpr std::uint32_t sq_doorbell(std::uint16_t qid) {
    return 2U * qid;
}
constexpr std::uint32_t cq_doorbell(std::uint16_t qid) {
    return 2U * qid + 1;
}

// NVM Express Base Specification 2.0, Create I/O Completion Queue and Create I/O Submission Queue:
// CDW10 has the identifier and the 0's based size of either.
inline std::uint16_t queue_id(const Command& command) {
    return static_cast<std::uint16_t>(command.cdw10 & 0xffffU);
}
inline std::uint32_t queue_entries(const Command& command) {
    return (command.cdw10 >> 16U) + 1;
}
/// CDW11 of both: physically contiguous.
constexpr std::uint32_t kQueueContiguous = 1U << 0U;
/// CDW11 of the completion queue: interrupts enabled; 31:16 is the vector.
constexpr std::uint32_t kQueueInterrupts = 1U << 1U;

/// The page size, the only one here (CAP.MPSMIN and MPSMAX are 0).
constexpr std::uint32_t kPageBytes = 4096;

/// The two PRP entries, which lie where SGL commands have their first descriptor.
struct PrpPair {
    le64 first;
    le64 second;
};
static_assert(sizeof(PrpPair) == sizeof(SglDescriptor));

}  // namespace remora::nvme::spec
