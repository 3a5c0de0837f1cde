// SPDX-License-Identifier: Apache-2.0
// The PDUs of NVMe/TCP: headers only; data and digests follow them on the wire.
//
//   | header (HLEN) | header digest, 4 if on | pad to PDO | data | data digest, 4 if on |
//   |<------------------------------- PLEN ------------------------------------------>|
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/endian.h"
#include "nvme/spec/command.h"

namespace remora::nvme::tcp {

using core::le16;
using core::le32;

// NVMe/TCP Transport Specification 1.0 §3.6, PDU types.
enum class PduType : std::uint8_t {
    IcReq = 0x00,        ///< To the controller: initialize connection.
    IcResp = 0x01,       ///< To the host.
    H2cTermReq = 0x02,   ///< The host ends the connection.
    C2hTermReq = 0x03,   ///< The controller ends the connection.
    CapsuleCmd = 0x04,   ///< A command, with data in capsule or none.
    CapsuleResp = 0x05,  ///< A completion.
    H2cData = 0x06,      ///< Data of a write, asked for by R2T.
    C2hData = 0x07,      ///< Data of a read.
    R2t = 0x09,          ///< The controller is ready for data of a write.
};

// Bits of CommonHeader::flags.
constexpr std::uint8_t kHeaderDigest = 1U << 0U;
constexpr std::uint8_t kDataDigest = 1U << 1U;
constexpr std::uint8_t kLastPdu = 1U << 2U;
constexpr std::uint8_t kSuccess = 1U << 3U;

constexpr std::size_t kDigestBytes = 4;

// NVMe/TCP Transport Specification 1.0 §3.6, PDU Common Header (CH).
struct CommonHeader {
    std::uint8_t type = 0;
    std::uint8_t flags = 0;
    std::uint8_t hlen = 0;
    std::uint8_t pdo = 0;
    le32 plen;
};
static_assert(sizeof(CommonHeader) == 8);
static_assert(offsetof(CommonHeader, plen) == 4);

// NVMe/TCP Transport Specification 1.0 §3.6.2, Initialize Connection Request PDU (ICReq).
struct IcReq {
    CommonHeader header;
    le16 pfv;
    std::uint8_t hpda = 0;  ///< Alignment of data to the host, dwords, 0's based, 0..31.
    std::uint8_t dgst = 0;  ///< Bit 0 header digest, bit 1 data digest.
    le32 maxr2t;            ///< Outstanding R2T per command, 0's based.
    std::uint8_t reserved16[112] = {};
};
static_assert(sizeof(IcReq) == 128);
static_assert(offsetof(IcReq, hpda) == 10);
static_assert(offsetof(IcReq, maxr2t) == 12);
static_assert(std::is_trivially_copyable_v<IcReq>);

// NVMe/TCP Transport Specification 1.0 §3.6.2, Initialize Connection Response PDU (ICResp).
struct IcResp {
    CommonHeader header;
    le16 pfv;
    std::uint8_t cpda = 0;  ///< Alignment of data to the controller.
    std::uint8_t dgst = 0;
    le32 maxh2cdata;  ///< Most data bytes of one H2CData PDU; a multiple of 4, at least 4096.
    std::uint8_t reserved16[112] = {};
};
static_assert(sizeof(IcResp) == 128);
static_assert(offsetof(IcResp, cpda) == 10);
static_assert(offsetof(IcResp, maxh2cdata) == 12);
static_assert(std::is_trivially_copyable_v<IcResp>);

constexpr std::uint8_t kDgstHeader = 1U << 0U;
constexpr std::uint8_t kDgstData = 1U << 1U;
constexpr std::uint8_t kMaxAlignment = 31;  ///< Greatest HPDA and CPDA.
constexpr std::uint32_t kMinMaxH2cData = 4096;
/// In-capsule data that every controller takes on an admin queue.
constexpr std::uint32_t kAdminInCapsuleBytes = 8192;

// NVMe/TCP Transport Specification 1.0 §3.6.2, Terminate Connection Request PDUs.
struct TermReq {
    CommonHeader header;
    le16 fes;
    le32 fei;
    std::uint8_t reserved14[10] = {};
};
static_assert(sizeof(TermReq) == 24);
static_assert(offsetof(TermReq, fei) == 10);
static_assert(std::is_trivially_copyable_v<TermReq>);
/// The offending PDU's header follows, cut to this.
constexpr std::size_t kTermReqMaxData = 128;

// NVMe/TCP Transport Specification 1.0 §3.6.2, Fatal Error Status (FES).
enum class FatalError : std::uint16_t {
    InvalidHeaderField = 0x01,    ///< FEI: offset of the field in the PDU header.
    SequenceError = 0x02,         ///< FEI: reserved.
    HeaderDigestError = 0x03,     ///< FEI: the digest that was received.
    DataOutOfRange = 0x04,        ///< FEI: reserved.
    DataLimitExceeded = 0x05,     ///< From a host: R2T limit exceeded. FEI: reserved.
    UnsupportedParameter = 0x06,  ///< FEI: offset of the parameter in the PDU header.
};

// NVMe/TCP Transport Specification 1.0 §3.6.2, Command Capsule PDU (CapsuleCmd).
struct CapsuleCmd {
    CommonHeader header;
    spec::Command command;
};
static_assert(sizeof(CapsuleCmd) == 72);
static_assert(std::is_trivially_copyable_v<CapsuleCmd>);

// NVMe/TCP Transport Specification 1.0 §3.6.2, Response Capsule PDU (CapsuleResp).
struct CapsuleResp {
    CommonHeader header;
    spec::Completion completion;
};
static_assert(sizeof(CapsuleResp) == 24);
static_assert(std::is_trivially_copyable_v<CapsuleResp>);

// NVMe/TCP Transport Specification 1.0 §3.6.2, H2CData and C2HData; TTAG is reserved in
// C2HData.
struct DataPdu {
    CommonHeader header;
    le16 cccid;
    le16 ttag;
    le32 datao;
    le32 datal;
    std::uint8_t reserved20[4] = {};
};
static_assert(sizeof(DataPdu) == 24);
static_assert(offsetof(DataPdu, datao) == 12);
static_assert(std::is_trivially_copyable_v<DataPdu>);

// NVMe/TCP Transport Specification 1.0 §3.6.2, Ready to Transfer PDU (R2T).
struct R2t {
    CommonHeader header;
    le16 cccid;
    le16 ttag;
    le32 r2to;
    le32 r2tl;
    std::uint8_t reserved20[4] = {};
};
static_assert(sizeof(R2t) == 24);
static_assert(offsetof(R2t, r2to) == 12);
static_assert(std::is_trivially_copyable_v<R2t>);

}  // namespace remora::nvme::tcp
