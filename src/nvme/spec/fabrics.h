// SPDX-License-Identifier: Apache-2.0
// Fabrics commands, Connect data, controller properties and the discovery log page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "nvme/spec/command.h"

namespace remora::nvme::spec {

/// The well-known discovery subsystem.
constexpr std::string_view kDiscoveryNqn = "nqn.2014-08.org.nvmexpress.discovery";
/// Bytes of an NQN field; the name is at most 223 bytes and ends with a zero.
constexpr std::size_t kNqnFieldBytes = 256;
constexpr std::size_t kNqnMaxBytes = 223;
/// CNTLID of a Connect that lets the subsystem choose (dynamic controller model).
constexpr std::uint16_t kDynamicController = 0xffff;
/// Greatest CNTLID a controller may have; FFF0h to FFFFh are reserved.
constexpr std::uint16_t kMaxControllerId = 0xffef;
/// SQHD of a Connect response that says SQ flow control is off.
constexpr std::uint16_t kFlowControlOff = 0xffff;

// NVM Express Base Specification 2.0, Fabrics Command Types (byte 4 of the command).
enum class FabricsType : std::uint8_t {
    PropertySet = 0x00,
    Connect = 0x01,
    PropertyGet = 0x04,
    AuthenticationSend = 0x05,
    AuthenticationReceive = 0x06,
    Disconnect = 0x08,
};

/// The fabrics command type, which lies where other commands have the low byte of the NSID.
inline std::uint8_t fabrics_type(const Command& command) {
    return static_cast<std::uint8_t>(command.nsid.get() & 0xffU);
}

// NVM Express Base Specification 2.0, Connect Command - Submission Queue Entry.
struct ConnectCommand {
    std::uint8_t opcode = kFabricsOpcode;
    std::uint8_t flags = kFlagsSgl;
    le16 cid;
    std::uint8_t fabrics_type = static_cast<std::uint8_t>(FabricsType::Connect);
    std::uint8_t reserved5[19] = {};
    SglDescriptor sgl;
    le16 record_format;
    le16 qid;
    le16 sqsize;  ///< Entries, 0's based.
    std::uint8_t attributes = 0;
    std::uint8_t reserved47 = 0;
    le32 keep_alive_ms;
    std::uint8_t reserved52[12] = {};
};
static_assert(sizeof(ConnectCommand) == sizeof(Command));
static_assert(offsetof(ConnectCommand, sgl) == 24);
static_assert(offsetof(ConnectCommand, record_format) == 40);
static_assert(offsetof(ConnectCommand, qid) == 42);
static_assert(offsetof(ConnectCommand, sqsize) == 44);
static_assert(offsetof(ConnectCommand, attributes) == 46);
static_assert(offsetof(ConnectCommand, keep_alive_ms) == 48);
static_assert(std::is_trivially_copyable_v<ConnectCommand>);

/// ConnectCommand::attributes: the host does without SQ flow control on this queue.
constexpr std::uint8_t kConnectDisableFlowControl = 1U << 2U;

// NVM Express Base Specification 2.0, Connect Command - Data.
struct ConnectData {
    std::uint8_t host_id[16] = {};
    le16 cntlid;
    std::uint8_t reserved18[238] = {};
    char subnqn[kNqnFieldBytes] = {};
    char hostnqn[kNqnFieldBytes] = {};
    std::uint8_t reserved768[256] = {};
};
static_assert(sizeof(ConnectData) == 1024);
static_assert(offsetof(ConnectData, cntlid) == 16);
static_assert(offsetof(ConnectData, subnqn) == 256);
static_assert(offsetof(ConnectData, hostnqn) == 512);
static_assert(std::is_trivially_copyable_v<ConnectData>);

/// DW0 of a Connect response with Connect Invalid Parameters: where the wrong parameter is.
constexpr std::uint32_t connect_invalid_parameter(std::size_t offset, bool in_data) {
    return static_cast<std::uint32_t>(offset & 0xffffU) | (in_data ? 1U << 16U : 0U);
}

// NVM Express Base Specification 2.0, Property Get and Property Set Commands.
struct PropertyCommand {
    std::uint8_t opcode = kFabricsOpcode;
    std::uint8_t flags = 0;
    le16 cid;
    std::uint8_t fabrics_type = 0;
    std::uint8_t reserved5[35] = {};
    std::uint8_t attributes = 0;  ///< Size in 2:0: 0 is 4 bytes, 1 is 8 bytes.
    std::uint8_t reserved41[3] = {};
    le32 offset;
    le64 value;  ///< Property Set only.
    std::uint8_t reserved56[8] = {};
};
static_assert(sizeof(PropertyCommand) == sizeof(Command));
static_assert(offsetof(PropertyCommand, attributes) == 40);
static_assert(offsetof(PropertyCommand, offset) == 44);
static_assert(offsetof(PropertyCommand, value) == 48);
static_assert(std::is_trivially_copyable_v<PropertyCommand>);

constexpr std::uint8_t kPropertySizeMask = 0x7;
constexpr std::uint8_t kProperty4Bytes = 0;
constexpr std::uint8_t kProperty8Bytes = 1;

// NVM Express Base Specification 2.0, Controller Properties: offsets.
constexpr std::uint32_t kPropertyCap = 0x00;
constexpr std::uint32_t kPropertyVs = 0x08;
constexpr std::uint32_t kPropertyCc = 0x14;
constexpr std::uint32_t kPropertyCsts = 0x1c;
constexpr std::uint32_t kPropertyNssr = 0x20;

// NVM Express Base Specification 2.0, Offset 0h: CAP.
namespace cap {
constexpr std::uint64_t kMqesMask = 0xffff;  ///< Maximum Queue Entries Supported, 0's based.
constexpr std::uint64_t kContiguousQueues = std::uint64_t{1} << 16U;
constexpr unsigned kTimeoutShift = 24;  ///< TO, 8 bits, in 500 ms.
constexpr std::uint64_t kNvmCommandSet = std::uint64_t{1} << 37U;
constexpr unsigned kMpsMinShift = 48;
constexpr unsigned kMpsMaxShift = 52;
}  // namespace cap

// NVM Express Base Specification 2.0, Offset 14h: CC.
namespace cc {
constexpr std::uint32_t kEnable = 1U << 0U;
constexpr unsigned kCssShift = 4;   // 3 bits
constexpr unsigned kMpsShift = 7;   // 4 bits
constexpr unsigned kAmsShift = 11;  // 3 bits
constexpr unsigned kShutdownShift = 14;
constexpr std::uint32_t kShutdownMask = 3U << kShutdownShift;
constexpr std::uint32_t kShutdownNormal = 1U << kShutdownShift;
constexpr std::uint32_t kShutdownAbrupt = 2U << kShutdownShift;
constexpr unsigned kIoSqesShift = 16;  // 4 bits
constexpr unsigned kIoCqesShift = 20;  // 4 bits
/// Entry sizes of the NVM command set as powers of two: 64-byte commands, 16-byte completions.
constexpr std::uint32_t kNvmEntrySizes = (6U << kIoSqesShift) | (4U << kIoCqesShift);
}  // namespace cc

// NVM Express Base Specification 2.0, Offset 1Ch: CSTS.
namespace csts {
constexpr std::uint32_t kReady = 1U << 0U;
constexpr std::uint32_t kFatal = 1U << 1U;
constexpr std::uint32_t kShutdownMask = 3U << 2U;
constexpr std::uint32_t kShutdownBusy = 1U << 2U;
constexpr std::uint32_t kShutdownDone = 2U << 2U;
}  // namespace csts

/// VS of NVMe 1.4.0: what the target claims. A host asks a 2.0 controller for structures that add
/// nothing here.
constexpr std::uint32_t kVersion14 = 0x00010400;

// NVM Express Base Specification 2.0, Discovery Log Page Entry: TRTYPE, ADRFAM, SUBTYPE, TREQ.
constexpr std::uint8_t kTransportTcp = 3;
constexpr std::uint8_t kAddressIpv4 = 1;
constexpr std::uint8_t kAddressIpv6 = 2;
constexpr std::uint8_t kSubtypeDiscovery = 1;  ///< A referral to another discovery subsystem.
constexpr std::uint8_t kSubtypeNvm = 2;
constexpr std::uint8_t kSubtypeCurrentDiscovery = 3;
/// EFLAGS: every port tells the same; explicit persistent connections are supported.
constexpr std::uint16_t kEflagsDuplicateInformation = 1U << 0U;
constexpr std::uint16_t kEflagsPersistentConnections = 1U << 1U;
/// TREQ: nothing is said of a secure channel (bits 1:0); SQ flow control may be disabled (bit 2).
constexpr std::uint8_t kTreqNotSpecified = 0x00;
constexpr std::uint8_t kTreqFlowControlOff = 0x04;

// NVM Express Base Specification 2.0, Discovery Log Page - header.
struct DiscoveryLogHeader {
    le64 generation;
    le64 record_count;
    le16 record_format;
    std::uint8_t reserved18[1006] = {};
};
static_assert(sizeof(DiscoveryLogHeader) == 1024);
static_assert(offsetof(DiscoveryLogHeader, record_format) == 16);
static_assert(std::is_trivially_copyable_v<DiscoveryLogHeader>);

// NVM Express Base Specification 2.0, Discovery Log Page Entry.
struct DiscoveryLogEntry {
    std::uint8_t transport = 0;
    std::uint8_t address_family = 0;
    std::uint8_t subtype = 0;
    std::uint8_t requirements = 0;
    le16 port_id;
    le16 cntlid;
    le16 admin_queue_size;
    le16 entry_flags;
    std::uint8_t reserved12[20] = {};
    char service_id[32] = {};
    std::uint8_t reserved64[192] = {};
    char subnqn[kNqnFieldBytes] = {};
    char address[256] = {};
    std::uint8_t transport_specific[256] = {};  ///< TCP: byte 0 SECTYPE, 0 is none.
};
static_assert(sizeof(DiscoveryLogEntry) == 1024);
static_assert(offsetof(DiscoveryLogEntry, port_id) == 4);
static_assert(offsetof(DiscoveryLogEntry, service_id) == 32);
static_assert(offsetof(DiscoveryLogEntry, subnqn) == 256);
static_assert(offsetof(DiscoveryLogEntry, address) == 512);
static_assert(offsetof(DiscoveryLogEntry, transport_specific) == 768);
static_assert(std::is_trivially_copyable_v<DiscoveryLogEntry>);

/// The text of a fixed-size field: up to the first zero, trailing spaces removed.
template <std::size_t N>
std::string_view field_text(const char (&field)[N]) {
    const std::string_view all(field, N);
    std::string_view text = all.substr(0, all.find('\0'));
    while (!text.empty() && text.back() == ' ') {
        text.remove_suffix(1);
    }
    return text;
}

/// Writes `text` into a fixed-size field, cut to fit, the rest filled with `pad`.
template <std::size_t N>
void set_field_text(char (&field)[N], std::string_view text, char pad) {
    for (std::size_t i = 0; i < N; ++i) {
        field[i] = i < text.size() ? text[i] : pad;
    }
}

}  // namespace remora::nvme::spec
