// SPDX-License-Identifier: Apache-2.0
// Layouts of NVMe/TCP as the checker reads them, written down from the specifications once more on
// purpose: an oracle that shares a layout with what it judges is blind to its faults.
//
// NVMe/TCP Transport Specification 1.0 §3.6 (PDUs); NVM Express Base Specification 2.0 (commands).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace remora::sim::layout {

// PDU types (§3.6.1). Even ones go to the controller up to 06h, odd ones to the host.
constexpr std::uint8_t kIcReq = 0x00;
constexpr std::uint8_t kIcResp = 0x01;
constexpr std::uint8_t kH2cTermReq = 0x02;
constexpr std::uint8_t kC2hTermReq = 0x03;
constexpr std::uint8_t kCapsuleCmd = 0x04;
constexpr std::uint8_t kCapsuleResp = 0x05;
constexpr std::uint8_t kH2cData = 0x06;
constexpr std::uint8_t kC2hData = 0x07;
constexpr std::uint8_t kR2t = 0x09;
constexpr std::size_t kTypes = 0x0a;

// Flags of the common header.
constexpr std::uint8_t kHdgstFlag = 0x01;
constexpr std::uint8_t kDdgstFlag = 0x02;
constexpr std::uint8_t kLastFlag = 0x04;
constexpr std::uint8_t kSuccessFlag = 0x08;

constexpr std::size_t kCommonBytes = 8;
constexpr std::size_t kDigest = 4;
constexpr std::size_t kMostHeaderBytes = 128;
constexpr std::uint32_t kMostTermReqBytes = 152;

/// HLEN of a type; 0: there is no such type.
constexpr std::array<std::uint8_t, kTypes> kHlen{128, 128, 24, 24, 72, 24, 24, 24, 0, 24};
/// Flags that may be set.
constexpr std::array<std::uint8_t, kTypes> kFlagsAllowed{0,          0,    0,    0, 0x03,
                                                         kHdgstFlag, 0x07, 0x0f, 0, kHdgstFlag};
constexpr std::array<const char*, kTypes> kNames{
    "ICReq",       "ICResp",  "H2CTermReq", "C2HTermReq", "CapsuleCmd",
    "CapsuleResp", "H2CData", "C2HData",    "type 08h",   "R2T"};

constexpr bool to_controller(std::uint8_t type) {
    return type == kIcReq || type == kH2cTermReq || type == kCapsuleCmd || type == kH2cData;
}
constexpr bool digested(std::uint8_t type) {
    return type >= kCapsuleCmd;
}
constexpr bool may_have_data(std::uint8_t type) {
    return type == kCapsuleCmd || type == kH2cData || type == kC2hData;
}

// Offsets in PDU headers.
constexpr std::size_t kIcPfv = 8;
constexpr std::size_t kIcAlignment = 10;  // HPDA, CPDA
constexpr std::size_t kIcDgst = 11;
constexpr std::size_t kIcLimit = 12;  // MAXR2T, MAXH2CDATA
constexpr std::size_t kTermFes = 8;
constexpr std::size_t kDataCccid = 8;  // R2T, H2CData, C2HData
constexpr std::size_t kDataTtag = 10;
constexpr std::size_t kDataOffset = 12;
constexpr std::size_t kDataLength = 16;

// The submission queue entry, from the PDU's start.
constexpr std::size_t kSqe = 8;
constexpr std::size_t kSqeOpcode = kSqe + 0;
constexpr std::size_t kSqeFlags = kSqe + 1;
constexpr std::size_t kSqeCid = kSqe + 2;
constexpr std::size_t kSqeFctype = kSqe + 4;
constexpr std::size_t kSqeSglOffset = kSqe + 24;
constexpr std::size_t kSqeSglLength = kSqe + 32;
constexpr std::size_t kSqeSglId = kSqe + 39;
constexpr std::size_t kSqeRecfmt = kSqe + 40;  // Connect
constexpr std::size_t kSqeQid = kSqe + 42;
constexpr std::size_t kSqeSqsize = kSqe + 44;
constexpr std::size_t kSqeCattr = kSqe + 46;
constexpr std::size_t kSqeKato = kSqe + 48;
constexpr std::size_t kSqeNlb = kSqe + 48;  // Read, Write: bits 15:0 of CDW12
constexpr std::size_t kSqeNr = kSqe + 40;   // Dataset Management: bits 7:0 of CDW10
constexpr std::uint8_t kCattrNoFlowControl = 0x04;
constexpr std::uint8_t kSglInCapsule = 0x01;
constexpr std::uint8_t kSglTransport = 0x5a;

// The completion queue entry, from the PDU's start.
constexpr std::size_t kCqeSqhd = 16;
constexpr std::size_t kCqeCid = 20;
constexpr std::size_t kCqeStatus = 22;

constexpr std::uint8_t kFabrics = 0x7f;
constexpr std::uint8_t kFctypePropertySet = 0x00;
constexpr std::uint8_t kFctypeConnect = 0x01;
constexpr std::uint8_t kFctypePropertyGet = 0x04;
constexpr std::uint8_t kGetLogPage = 0x02;
constexpr std::uint8_t kIdentify = 0x06;
constexpr std::uint8_t kAsyncEvent = 0x0c;
constexpr std::uint8_t kWrite = 0x01;
constexpr std::uint8_t kRead = 0x02;
constexpr std::uint8_t kDsm = 0x09;

/// A little endian integer of `Bytes` bytes.
template <std::size_t Bytes>
constexpr std::uint64_t load(std::span<const std::byte> from, std::size_t offset) {
    std::uint64_t value = 0;
    for (std::size_t i = Bytes; i-- > 0;) {
        value = (value << 8U) | std::to_integer<std::uint64_t>(from[offset + i]);
    }
    return value;
}
constexpr std::uint8_t load8(std::span<const std::byte> from, std::size_t offset) {
    return static_cast<std::uint8_t>(load<1>(from, offset));
}
constexpr std::uint16_t load16(std::span<const std::byte> from, std::size_t offset) {
    return static_cast<std::uint16_t>(load<2>(from, offset));
}
constexpr std::uint32_t load32(std::span<const std::byte> from, std::size_t offset) {
    return static_cast<std::uint32_t>(load<4>(from, offset));
}

}  // namespace remora::sim::layout
