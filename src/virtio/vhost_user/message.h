// SPDX-License-Identifier: Apache-2.0
// The messages of the vhost-user protocol, as a back end receives and sends them.
//
//   header: request u32, flags u32, size u32; then `size` bytes of payload; file descriptors ride
//   with the header.
//
// The protocol uses the machine's byte order; both ends are on one machine, and this project only
// runs on little-endian ones. Spec: QEMU docs/interop/vhost-user.rst.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/endian.h"

namespace remora::virtio::vhost_user {

using core::le16;
using core::le32;
using core::le64;

/// Front-end message types.
enum class RequestType : std::uint32_t {
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    ResetOwner = 4,
    SetMemTable = 5,
    SetLogBase = 6,
    SetLogFd = 7,
    SetVringNum = 8,
    SetVringAddr = 9,
    SetVringBase = 10,
    GetVringBase = 11,
    SetVringKick = 12,
    SetVringCall = 13,
    SetVringErr = 14,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueNum = 17,
    SetVringEnable = 18,
    SetBackendReqFd = 21,
    GetConfig = 24,
    SetConfig = 25,
    GetInflightFd = 31,
    SetInflightFd = 32,
    ResetDevice = 34,
    GetMaxMemSlots = 36,
    AddMemReg = 37,
    RemMemReg = 38,
};

/// Name for logs; "unknown" for what is not in the list.
std::string_view to_string(RequestType type) noexcept;

/// Back-end message types (on the channel of SetBackendReqFd).
enum class BackendRequestType : std::uint32_t { ConfigChange = 2 };

/// Protocol feature bits.
enum class ProtocolFeature : std::uint8_t {
    MultiQueue = 0,
    LogSharedMemory = 1,
    ReplyAck = 3,
    BackendRequest = 5,
    Config = 9,
    InflightSharedMemory = 12,
    ResetDevice = 13,
    ConfigureMemSlots = 15,
};
constexpr std::uint64_t bit(ProtocolFeature feature) {
    return std::uint64_t{1} << static_cast<unsigned>(feature);
}
constexpr bool has(std::uint64_t features, ProtocolFeature feature) {
    return (features & bit(feature)) != 0;
}

struct Header {
    le32 request;
    le32 flags;
    le32 size;
};
static_assert(sizeof(Header) == 12 && std::is_trivially_copyable_v<Header>);

namespace header_flags {
constexpr std::uint32_t kVersionMask = 0x3;
constexpr std::uint32_t kVersion = 0x1;
constexpr std::uint32_t kReply = 0x4;
constexpr std::uint32_t kNeedReply = 0x8;
}  // namespace header_flags

struct U64 {
    le64 value;
};
static_assert(sizeof(U64) == 8);

// In the kick, call and err messages: the low byte is the queue, bit 8 says that no descriptor
// comes along.
constexpr std::uint64_t kVringIndexMask = 0xff;
constexpr std::uint64_t kVringNoDescriptor = 0x100;

struct VringState {
    le32 index;
    le32 number;
};
static_assert(sizeof(VringState) == 8);

/// VringAddress::flags: what is written to the used ring is logged, at `log`.
constexpr std::uint32_t kVringLogsUsed = 1;

struct VringAddress {
    le32 index;
    le32 flags;
    le64 descriptors;  ///< These three are front-end user addresses.
    le64 used;
    le64 available;
    le64 log;  ///< The used ring's guest address, where kVringLogsUsed is set.
};
static_assert(sizeof(VringAddress) == 40 && offsetof(VringAddress, used) == 16);

// VHOST_USER_SET_LOG_BASE with LOG_SHMFD.
struct LogDescription {
    le64 mmap_size;
    le64 mmap_offset;
};
static_assert(sizeof(LogDescription) == 16);

struct MemoryRegion {
    le64 guest_address;
    le64 size;
    le64 user_address;
    le64 mmap_offset;
};
static_assert(sizeof(MemoryRegion) == 32);

constexpr std::size_t kMaxTableRegions = 8;
struct MemoryTableMessage {
    le32 count;
    le32 padding;
    std::array<MemoryRegion, kMaxTableRegions> regions;  ///< The first `count` are sent.
};
static_assert(sizeof(MemoryTableMessage) == 264);

struct SingleRegion {
    le64 padding;
    MemoryRegion region;
};
static_assert(sizeof(SingleRegion) == 40);

constexpr std::size_t kMaxConfigBytes = 256;
struct ConfigHeader {
    le32 offset;
    le32 size;
    le32 flags;
};
static_assert(sizeof(ConfigHeader) == 12);

struct InflightDescription {
    le64 mmap_size;
    le64 mmap_offset;
    le16 queue_count;
    le16 queue_size;
};
static_assert(sizeof(InflightDescription) == 20);
// C compilers round the structure up, and that is what front ends send.
constexpr std::size_t kInflightWireBytes = 24;

/// The largest payload of any message above, with some room; more is refused unread.
constexpr std::size_t kMaxPayloadBytes = 512;
static_assert(sizeof(MemoryTableMessage) <= kMaxPayloadBytes);
static_assert(sizeof(ConfigHeader) + kMaxConfigBytes <= kMaxPayloadBytes);

}  // namespace remora::virtio::vhost_user
