// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/pci_config.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "core/endian.h"

namespace remora::vfio_user {

namespace {

// PCI Local Bus 3.0 §6.1, Figure 6-1: type 00h configuration space header.
constexpr std::size_t kVendor = 0x00;
constexpr std::size_t kDevice = 0x02;
constexpr std::size_t kCommand = 0x04;
constexpr std::size_t kStatus = 0x06;
constexpr std::size_t kRevision = 0x08;
constexpr std::size_t kClassCode = 0x09;
constexpr std::size_t kCacheLineSize = 0x0c;
constexpr std::size_t kBar0 = 0x10;
constexpr std::size_t kSubsystemVendor = 0x2c;
constexpr std::size_t kSubsystem = 0x2e;
constexpr std::size_t kCapabilities = 0x34;
constexpr std::size_t kInterruptLine = 0x3c;
constexpr std::size_t kInterruptPin = 0x3d;

constexpr std::uint16_t kCommandMemory = 1U << 1U;
constexpr std::uint16_t kCommandBusMaster = 1U << 2U;
constexpr std::uint16_t kCommandParity = 1U << 6U;
constexpr std::uint16_t kCommandSerr = 1U << 8U;
constexpr std::uint16_t kCommandIntxDisable = 1U << 10U;
constexpr std::uint16_t kStatusInterrupt = 1U << 3U;
constexpr std::uint16_t kStatusCapabilities = 1U << 4U;
/// A memory BAR of 64 bits.
constexpr std::uint64_t kBar64Bit = 0x4;

constexpr std::size_t kPowerManagement = 0x40;
constexpr std::size_t kMsix = 0x50;
constexpr std::size_t kExpress = 0x60;

// PCI Power Management 1.2 §3.2: capability 01h; version 3, no soft reset on the way to D0.
constexpr std::uint8_t kCapPowerManagement = 0x01;
constexpr std::uint16_t kPmVersion3 = 0x0003;
constexpr std::uint16_t kPmNoSoftReset = 1U << 3U;
constexpr std::uint16_t kPmStateMask = 0x0003;

// PCI Local Bus 3.0 §6.8.2: capability 11h.
constexpr std::uint8_t kCapMsix = 0x11;
constexpr std::size_t kMsixControl = kMsix + 2;
constexpr std::uint16_t kMsixEnable = 1U << 15U;
constexpr std::uint16_t kMsixMaskAll = 1U << 14U;

// PCI Local Bus 3.0 §6.8.1: capability 05h, at the place of MSI-X; addresses of 64 bits, one
// message.
constexpr std::uint8_t kCapMsi = 0x05;
constexpr std::size_t kMsi = kMsix;
constexpr std::size_t kMsiControl = kMsi + 2;
constexpr std::uint16_t kMsiEnable = 1U << 0U;
constexpr std::uint16_t kMsi64Bit = 1U << 7U;
constexpr std::uint16_t kMsiCountMask = 0x0070;

// PCI Express Base 4.0 §7.5.3: capability 10h, version 2, an endpoint.
constexpr std::uint8_t kCapExpress = 0x10;
constexpr std::uint16_t kExpressVersion2 = 0x0002;
constexpr std::size_t kDeviceCapabilities = kExpress + 4;
constexpr std::size_t kDeviceControl = kExpress + 8;
constexpr std::size_t kLinkCapabilities = kExpress + 0x0c;
constexpr std::size_t kLinkStatus = kExpress + 0x12;
constexpr std::size_t kDeviceCapabilities2 = kExpress + 0x24;
constexpr std::size_t kDeviceControl2 = kExpress + 0x28;
/// 256 bytes of payload, role-based error reporting, function-level reset.
constexpr std::uint32_t kDeviceCapabilityBits = 0x1U | (1U << 15U) | (1U << 28U);
constexpr std::uint16_t kDeviceControlWritable = 0x7fff;
constexpr std::uint16_t kFunctionLevelReset = 1U << 15U;
/// 8 GT/s, 4 lanes.
constexpr std::uint32_t kLinkCapabilityBits = 0x3U | (4U << 4U);
constexpr std::uint16_t kLinkStatusBits = 0x3U | (4U << 4U);
/// Completion time-outs may be disabled.
constexpr std::uint32_t kDeviceCapability2Bits = 1U << 4U;
constexpr std::uint16_t kDeviceControl2Writable = 0x001f;

}  // namespace

PciConfig::PciConfig(const PciLayout& layout) : layout_(layout) {
    CHECK(std::has_single_bit(layout.bar0_bytes) && layout.bar0_bytes >= 16);
    CHECK(!layout.msi || layout.msix.vectors == 0);
    reset();
}

/// A register's value after a reset, and the bits that software may change.
template <typename T>
void PciConfig::put(std::size_t offset, T value, T writable) {
    const core::le<T> wire_value(value);
    const core::le<T> wire_mask(writable);
    std::memcpy(bytes_.data() + offset, &wire_value, sizeof(T));
    std::memcpy(writable_.data() + offset, &wire_mask, sizeof(T));
}

std::uint16_t PciConfig::read16(std::size_t offset) const {
    core::le16 value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(value));
    return value;
}

void PciConfig::reset() {
    bytes_ = {};
    writable_ = {};
    reset_requested_ = false;
    const PciIdentity& identity = layout_.identity;
    put<std::uint16_t>(kVendor, identity.vendor);
    put<std::uint16_t>(kDevice, identity.device);
    put<std::uint16_t>(
        kCommand, 0,
        kCommandMemory | kCommandBusMaster | kCommandParity | kCommandSerr | kCommandIntxDisable);
    put<std::uint16_t>(kStatus, kStatusCapabilities);
    put<std::uint8_t>(kRevision, identity.revision);
    put<std::uint8_t>(kClassCode, identity.class_code & 0xffU);
    put<std::uint8_t>(kClassCode + 1, (identity.class_code >> 8U) & 0xffU);
    put<std::uint8_t>(kClassCode + 2, (identity.class_code >> 16U) & 0xffU);
    put<std::uint8_t>(kCacheLineSize, 0, 0xff);
    put<std::uint64_t>(kBar0, kBar64Bit, ~(layout_.bar0_bytes - 1));
    put<std::uint16_t>(kSubsystemVendor, identity.subsystem_vendor);
    put<std::uint16_t>(kSubsystem, identity.subsystem);
    put<std::uint8_t>(kCapabilities, kPowerManagement);
    put<std::uint8_t>(kInterruptLine, 0, 0xff);
    put<std::uint8_t>(kInterruptPin, layout_.intx ? 1 : 0);

    const bool msix = layout_.msix.vectors > 0;
    put<std::uint8_t>(kPowerManagement, kCapPowerManagement);
    put<std::uint8_t>(kPowerManagement + 1, msix || layout_.msi ? kMsix : kExpress);
    put<std::uint16_t>(kPowerManagement + 2, kPmVersion3);
    put<std::uint16_t>(kPowerManagement + 4, kPmNoSoftReset, kPmStateMask);
    if (msix) {
        put<std::uint8_t>(kMsix, kCapMsix);
        put<std::uint8_t>(kMsix + 1, kExpress);
        put<std::uint16_t>(kMsixControl, static_cast<std::uint16_t>(layout_.msix.vectors - 1U),
                           kMsixEnable | kMsixMaskAll);
        put<std::uint32_t>(kMsix + 4, layout_.msix.table_offset);  // BIR 0: BAR 0
        put<std::uint32_t>(kMsix + 8, layout_.msix.pending_offset);
    }
    if (layout_.msi) {
        put<std::uint8_t>(kMsi, kCapMsi);
        put<std::uint8_t>(kMsi + 1, kExpress);
        put<std::uint16_t>(kMsiControl, kMsi64Bit, kMsiEnable | kMsiCountMask);
        put<std::uint32_t>(kMsi + 4, 0, ~std::uint32_t{3});
        put<std::uint32_t>(kMsi + 8, 0, ~std::uint32_t{0});
        put<std::uint16_t>(kMsi + 12, 0, 0xffff);
    }
    put<std::uint8_t>(kExpress, kCapExpress);
    put<std::uint16_t>(kExpress + 2, kExpressVersion2);
    put<std::uint32_t>(kDeviceCapabilities, kDeviceCapabilityBits);
    put<std::uint16_t>(kDeviceControl, 0, kDeviceControlWritable);
    put<std::uint32_t>(kLinkCapabilities, kLinkCapabilityBits);
    put<std::uint16_t>(kLinkStatus, kLinkStatusBits);
    put<std::uint32_t>(kDeviceCapabilities2, kDeviceCapability2Bits);
    put<std::uint16_t>(kDeviceControl2, 0, kDeviceControl2Writable);
}

void PciConfig::restore(std::span<const std::byte> from) {
    for (std::size_t i = 0; i < std::min(from.size(), kBytes); ++i) {
        bytes_[i] = (bytes_[i] & ~writable_[i]) | (from[i] & writable_[i]);
    }
}

void PciConfig::read(std::size_t offset, std::span<std::byte> to) const {
    CHECK(offset <= kBytes && to.size() <= kBytes - offset);
    std::memcpy(to.data(), bytes_.data() + offset, to.size());
}

void PciConfig::write(std::size_t offset, std::span<const std::byte> from) {
    CHECK(offset <= kBytes && from.size() <= kBytes - offset);
    for (std::size_t i = 0; i < from.size(); ++i) {
        const std::byte mask = writable_[offset + i];
        std::byte& at = bytes_[offset + i];
        at = (at & ~mask) | (from[i] & mask);
        // Initiate Function Level Reset reads as zero (PCI Express Base 4.0 §7.5.3.4).
        if (offset + i == kDeviceControl + 1 &&
            (from[i] & std::byte{kFunctionLevelReset >> 8U}) != std::byte{0}) {
            reset_requested_ = true;
        }
    }
}

bool PciConfig::bus_master() const {
    return (read16(kCommand) & kCommandBusMaster) != 0;
}

bool PciConfig::intx_disabled() const {
    return (read16(kCommand) & kCommandIntxDisable) != 0;
}

bool PciConfig::msi_enabled() const {
    return layout_.msi && (read16(kMsiControl) & kMsiEnable) != 0;
}

bool PciConfig::msix_enabled() const {
    return layout_.msix.vectors > 0 && (read16(kMsixControl) & kMsixEnable) != 0;
}

bool PciConfig::msix_masked() const {
    return layout_.msix.vectors > 0 && (read16(kMsixControl) & kMsixMaskAll) != 0;
}

bool PciConfig::take_reset_request() {
    return std::exchange(reset_requested_, false);
}

void PciConfig::show_interrupt(bool high) {
    put<std::uint16_t>(kStatus, kStatusCapabilities | (high ? kStatusInterrupt : 0U));
}

}  // namespace remora::vfio_user
