// SPDX-License-Identifier: Apache-2.0
// The 64-byte submission queue entry, the 16-byte completion, opcodes and command dwords.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "nvme/spec/sgl.h"
#include "nvme/spec/status.h"

namespace remora::nvme::spec {

// NVM Express Base Specification 2.0, Opcodes for Admin Commands. Underlying type kept open: any
// byte may arrive.
enum class AdminOpcode : std::uint8_t {
    GetLogPage = 0x02,
    Identify = 0x06,
    Abort = 0x08,
    SetFeatures = 0x09,
    GetFeatures = 0x0a,
    AsyncEventRequest = 0x0c,
    KeepAlive = 0x18,
};

// NVM Express NVM Command Set Specification 1.0, Opcodes for NVM Commands.
enum class IoOpcode : std::uint8_t {
    Flush = 0x00,
    Write = 0x01,
    Read = 0x02,
    WriteUncorrectable = 0x04,
    Compare = 0x05,
    WriteZeroes = 0x08,
    DatasetManagement = 0x09,
    Verify = 0x0c,
    ReservationRegister = 0x0d,
    ReservationReport = 0x0e,
    ReservationAcquire = 0x11,
    ReservationRelease = 0x15,
    Copy = 0x19,
};

/// Opcode of every fabrics command, on either queue type.
constexpr std::uint8_t kFabricsOpcode = 0x7f;

/// NSID that means "all namespaces" or, in some commands, "none".
constexpr std::uint32_t kBroadcastNsid = 0xffffffffU;

// NVM Express Base Specification 2.0, Common Command Format (Command Dword 0 ... 15).
struct Command {
    std::uint8_t opcode = 0;
    std::uint8_t flags = 0;  ///< FUSE in 1:0, PSDT in 7:6.
    le16 cid;
    le32 nsid;
    le32 cdw2;
    le32 cdw3;
    le64 mptr;
    SglDescriptor sgl;
    le32 cdw10;
    le32 cdw11;
    le32 cdw12;
    le32 cdw13;
    le32 cdw14;
    le32 cdw15;

    [[nodiscard]] std::uint8_t psdt() const { return static_cast<std::uint8_t>(flags >> 6U); }
    [[nodiscard]] std::uint8_t fuse() const { return flags & 0x3U; }
};
static_assert(sizeof(Command) == 64);
static_assert(offsetof(Command, nsid) == 4);
static_assert(offsetof(Command, sgl) == 24);
static_assert(offsetof(Command, cdw10) == 40);
static_assert(offsetof(Command, cdw15) == 60);
static_assert(alignof(Command) == 1 && std::is_trivially_copyable_v<Command>);

/// Command::fuse(): the two commands of a fused operation (NVM Express Base 2.0, Fused Operation).
constexpr std::uint8_t kFuseFirst = 1;
constexpr std::uint8_t kFuseSecond = 2;

/// Command::flags of a command whose data pointer is an SGL (PSDT 01b), the only kind of fabrics.
constexpr std::uint8_t kFlagsSgl = 0x40;

// NVM Express Base Specification 2.0, Common Completion Queue Entry Layout; over fabrics the phase
// tag is zero.
struct Completion {
    le32 dw0;
    le32 dw1;
    le16 sqhd;
    le16 sqid;
    le16 cid;
    le16 status_and_phase;

    /// The 15-bit status field.
    [[nodiscard]] std::uint16_t status() const {
        return static_cast<std::uint16_t>(status_and_phase.get() >> 1U);
    }
    void set_status(std::uint16_t field) {
        status_and_phase = static_cast<std::uint16_t>(field << 1U);
    }
};
static_assert(sizeof(Completion) == 16);
static_assert(offsetof(Completion, sqhd) == 8);
static_assert(offsetof(Completion, cid) == 12);
static_assert(offsetof(Completion, status_and_phase) == 14);
static_assert(std::is_trivially_copyable_v<Completion>);

// NVM Command Set Specification 1.0: Read, Write, Compare, Verify, Write Zeroes and Write
// Uncorrectable share these fields. The starting LBA is in CDW10 (low) and CDW11 (high), the 0's
// based count in CDW12 15:0.
constexpr std::uint32_t kCdw12ForceUnitAccess = 1U << 30U;
constexpr std::uint32_t kCdw12Deallocate = 1U << 25U;  ///< Write Zeroes only.
constexpr std::uint32_t kCdw12ProtectionMask = 0xfU << 26U;

inline std::uint64_t starting_lba(const Command& command) {
    return command.cdw10.get() | (std::uint64_t{command.cdw11.get()} << 32U);
}
inline std::uint32_t block_count(const Command& command) {
    return (command.cdw12.get() & 0xffffU) + 1;
}

// NVM Command Set Specification 1.0, Dataset Management: CDW10 7:0 is the 0's based number of
// ranges, CDW11 bit 2 the Attribute - Deallocate.
constexpr std::uint32_t kDsmDeallocate = 1U << 2U;
constexpr std::uint32_t kDsmMaxRanges = 256;

// NVM Command Set Specification 1.0, Dataset Management - Range Definition.
struct DsmRange {
    le32 attributes;
    le32 block_count;  ///< Not 0's based.
    le64 lba;
};
static_assert(sizeof(DsmRange) == 16 && offsetof(DsmRange, lba) == 8);

// NVM Command Set Specification 1.0, Copy: the destination is where others have the starting LBA;
// CDW12 has the 0's based number of ranges in 7:0, the descriptor format in 11:8, and the
// protection information fields of reads in 15:12, of writes in 29:26.
constexpr std::uint32_t kCopyMaxRanges = 128;
constexpr std::uint32_t kCopyFormatMask = 0xfU << 8U;
constexpr std::uint32_t kCopyReadProtectionMask = 0xfU << 12U;

// NVM Command Set Specification 1.0, Copy - Source Range Entries Descriptor Format 0h.
struct CopyRange {
    std::uint8_t reserved0[8] = {};
    le64 lba;
    le16 block_count;  ///< 0's based.
    std::uint8_t reserved18[14] = {};
};
static_assert(sizeof(CopyRange) == 32);
static_assert(offsetof(CopyRange, lba) == 8 && offsetof(CopyRange, block_count) == 16);

}  // namespace remora::nvme::spec
