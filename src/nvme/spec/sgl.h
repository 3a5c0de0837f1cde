// SPDX-License-Identifier: Apache-2.0
// SGL descriptors, as far as NVMe/TCP and PCIe controllers use them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "core/endian.h"

namespace remora::nvme::spec {

using core::le16;
using core::le32;
using core::le64;

// NVM Express Base Specification 2.0, Scatter Gather List: descriptor type in 7:4, sub type in 3:0.
/// The data lies in the command capsule, at an offset.
constexpr std::uint8_t kSglInCapsule = 0x01;
/// The transport moves the data (C2HData; R2T and H2CData).
constexpr std::uint8_t kSglTransport = 0x5a;
/// The data lies at an address.
constexpr std::uint8_t kSglDataBlock = 0x00;
/// More descriptors lie at an address: of which the last says where it goes on, or all the rest.
constexpr std::uint8_t kSglSegment = 0x20;
constexpr std::uint8_t kSglLastSegment = 0x30;

// NVM Express Base Specification 2.0, SGL Descriptor Format.
struct SglDescriptor {
    le64 address;  ///< In-capsule: offset of the data. Transport: reserved.
    le32 length;   ///< Bytes.
    std::uint8_t reserved[3] = {};
    std::uint8_t identifier = 0;
};
static_assert(sizeof(SglDescriptor) == 16);
static_assert(offsetof(SglDescriptor, length) == 8);
static_assert(offsetof(SglDescriptor, identifier) == 15);
static_assert(std::is_trivially_copyable_v<SglDescriptor>);

}  // namespace remora::nvme::spec
