// SPDX-License-Identifier: Apache-2.0
// The messages of the vfio-user protocol 0.x, as a server receives and answers them.
//
//   header: id u16, command u16, size u32 (header included), flags u32, error u32; then the
//   payload; file descriptors ride with the header.
//
// The protocol uses the machine's byte order; both ends are on one machine, and this project only
// runs on little-endian ones. Structures of <linux/vfio.h> have the same fields here.
// Spec: QEMU docs/interop/vfio-user.rst.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "core/endian.h"

namespace remora::vfio_user {

using core::le16;
using core::le32;
using core::le64;

/// What a client asks of a server. Any value may arrive.
enum class Command : std::uint16_t {
    Version = 1,
    DmaMap = 2,
    DmaUnmap = 3,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetRegionIoFds = 6,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DmaRead = 11,   ///< Only from a server.
    DmaWrite = 12,  ///< Only from a server.
    DeviceReset = 13,
    RegionWriteMulti = 15,
    DeviceFeature = 16,
    MigDataRead = 17,
    MigDataWrite = 18,
};

/// Name for logs; "unknown" for what is not in the list.
std::string_view to_string(Command command) noexcept;

// vfio-user, Header.
struct Header {
    le16 id;
    le16 command;
    le32 size;  ///< Of the whole message.
    le32 flags;
    le32 error;  ///< An errno, in a reply with the error flag.
};
static_assert(sizeof(Header) == 16 && std::is_trivially_copyable_v<Header>);

namespace header_flags {
constexpr std::uint32_t kTypeMask = 0xf;
constexpr std::uint32_t kReply = 0x1;
constexpr std::uint32_t kNoReply = 0x10;
constexpr std::uint32_t kError = 0x20;
}  // namespace header_flags

/// What is read or written with one message: the capability max_data_xfer_size of this server. The
/// configuration space, which clients read as a whole, is the largest thing there is to read.
constexpr std::uint32_t kMaxTransferBytes = 16384;
/// Descriptors of one message: the capability max_msg_fds.
constexpr std::uint32_t kMaxMessageHandles = 16;

// vfio-user, VFIO_USER_VERSION; JSON text with its terminating zero may follow.
struct Version {
    le16 major;
    le16 minor;
};
static_assert(sizeof(Version) == 4);
constexpr std::uint16_t kMajorVersion = 0;
/// QEMU 10.1 to 11 propose and take minor 0 only; nothing later is needed here.
constexpr std::uint16_t kMinorVersion = 0;

// vfio-user, VFIO_USER_DMA_MAP.
struct DmaMapRequest {
    le32 argsz;
    le32 flags;
    le64 offset;
    le64 address;
    le64 size;
};
static_assert(sizeof(DmaMapRequest) == 32 && offsetof(DmaMapRequest, address) == 16);
constexpr std::uint32_t kDmaReadable = 1U << 0U;
constexpr std::uint32_t kDmaWriteable = 1U << 1U;

// vfio-user, VFIO_USER_DMA_UNMAP; the reply repeats it.
struct DmaUnmapRequest {
    le32 argsz;
    le32 flags;
    le64 address;
    le64 size;
};
static_assert(sizeof(DmaUnmapRequest) == 24 && offsetof(DmaUnmapRequest, address) == 8);
/// VFIO_DMA_UNMAP_FLAG_ALL: everything goes; address and size are zero.
constexpr std::uint32_t kDmaUnmapAll = 1U << 1U;

// vfio-user, VFIO_USER_DEVICE_GET_INFO.
struct DeviceInfo {
    le32 argsz;
    le32 flags;
    le32 regions;
    le32 irqs;
};
static_assert(sizeof(DeviceInfo) == 16);
constexpr std::uint32_t kDeviceReset = 1U << 0U;
constexpr std::uint32_t kDevicePci = 1U << 1U;

// vfio-user, VFIO_USER_DEVICE_GET_REGION_INFO.
struct RegionInfo {
    le32 argsz;
    le32 flags;
    le32 index;
    le32 cap_offset;
    le64 size;
    le64 offset;
};
static_assert(sizeof(RegionInfo) == 32 && offsetof(RegionInfo, size) == 16);
constexpr std::uint32_t kRegionRead = 1U << 0U;
constexpr std::uint32_t kRegionWrite = 1U << 1U;
constexpr std::uint32_t kRegionMmap = 1U << 2U;
constexpr std::uint32_t kRegionCaps = 1U << 3U;

// vfio-user, VFIO sparse mmap cap header and area.
struct SparseMmap {
    le16 id;
    le16 version;
    le32 next;
    le32 areas;
    le32 reserved;
};
static_assert(sizeof(SparseMmap) == 16);
struct SparseArea {
    le64 offset;
    le64 size;
};
static_assert(sizeof(SparseArea) == 16);
constexpr std::uint16_t kCapSparseMmap = 1;

// vfio-user, VFIO_USER_DEVICE_GET_IRQ_INFO.
struct IrqInfo {
    le32 argsz;
    le32 flags;
    le32 index;
    le32 count;
};
static_assert(sizeof(IrqInfo) == 16);
constexpr std::uint32_t kIrqEventfd = 1U << 0U;
constexpr std::uint32_t kIrqMaskable = 1U << 1U;
constexpr std::uint32_t kIrqAutomasked = 1U << 2U;
constexpr std::uint32_t kIrqNoResize = 1U << 3U;

// vfio-user, VFIO_USER_DEVICE_SET_IRQS; booleans, a byte each, may follow.
struct IrqSet {
    le32 argsz;
    le32 flags;
    le32 index;
    le32 start;
    le32 count;
};
static_assert(sizeof(IrqSet) == 20);
constexpr std::uint32_t kIrqDataNone = 1U << 0U;
constexpr std::uint32_t kIrqDataBool = 1U << 1U;
constexpr std::uint32_t kIrqDataEventfd = 1U << 2U;
constexpr std::uint32_t kIrqActionMask = 1U << 3U;
constexpr std::uint32_t kIrqActionUnmask = 1U << 4U;
constexpr std::uint32_t kIrqActionTrigger = 1U << 5U;
constexpr std::uint32_t kIrqDataBits = kIrqDataNone | kIrqDataBool | kIrqDataEventfd;
constexpr std::uint32_t kIrqActionBits = kIrqActionMask | kIrqActionUnmask | kIrqActionTrigger;

// vfio-user, VFIO_USER_REGION_READ and VFIO_USER_REGION_WRITE; the data follows.
struct RegionAccess {
    le64 offset;
    le32 region;
    le32 count;
};
static_assert(sizeof(RegionAccess) == 16);

// vfio-user, VFIO_USER_REGION_WRITE_MULTI: this, then so many writes.
struct WriteMulti {
    le64 count;
};
struct SingleWrite {
    RegionAccess access;
    std::byte data[8] = {};
};
static_assert(sizeof(WriteMulti) == 8 && sizeof(SingleWrite) == 24);

// vfio-user, VFIO_USER_DEVICE_FEATURE; the feature's data follows.
struct DeviceFeature {
    le32 argsz;
    le32 flags;  ///< A feature's number and what to do with it.
};
static_assert(sizeof(DeviceFeature) == 8);
namespace feature_flags {
constexpr std::uint32_t kNumberMask = 0xffff;
constexpr std::uint32_t kGet = 1U << 16U;
constexpr std::uint32_t kSet = 1U << 17U;
constexpr std::uint32_t kProbe = 1U << 18U;
}  // namespace feature_flags
constexpr std::uint32_t kFeatureMigration = 1;
constexpr std::uint32_t kFeatureDeviceState = 2;

/// Of the feature kFeatureMigration.
struct MigrationFlags {
    le64 flags;
};
constexpr std::uint64_t kMigrationStopCopy = 1U << 0U;

/// Of the feature kFeatureDeviceState; `data_fd` means nothing here.
struct DeviceStateChange {
    le32 state;
    le32 data_fd;
};
static_assert(sizeof(DeviceStateChange) == 8);
/// Any value may arrive.
enum class DeviceState : std::uint32_t {
    Error = 0,  ///< Only a reset helps.
    Stop = 1,   ///< The device changes nothing, in itself or in memory.
    Running = 2,
    StopCopy = 3,  ///< Stopped; its state can be read.
    Resuming = 4,  ///< Stopped; takes the state of another one.
};

// vfio-user, VFIO_USER_MIG_DATA_READ and VFIO_USER_MIG_DATA_WRITE; the data follows.
struct MigrationData {
    le32 argsz;
    le32 size;  ///< Of the data.
};
static_assert(sizeof(MigrationData) == 8);

/// PCI devices have these regions (VFIO_PCI_*_REGION_INDEX) and interrupts (VFIO_PCI_*_IRQ_INDEX).
constexpr std::uint32_t kRegionBar0 = 0;
constexpr std::uint32_t kRegionConfig = 7;
constexpr std::uint32_t kRegionCount = 9;
constexpr std::uint32_t kIrqIntx = 0;
constexpr std::uint32_t kIrqMsi = 1;
constexpr std::uint32_t kIrqMsix = 2;
constexpr std::uint32_t kIrqError = 3;
constexpr std::uint32_t kIrqRequest = 4;
constexpr std::uint32_t kIrqCount = 5;

/// The largest payload of any message, both ways; more is refused unread.
constexpr std::size_t kMaxPayloadBytes = sizeof(RegionAccess) + kMaxTransferBytes;

}  // namespace remora::vfio_user
