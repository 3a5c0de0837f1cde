// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/pci_config.h"

#include <cstring>

#include <gtest/gtest.h>

namespace remora::vfio_user {
namespace {

constexpr PciLayout kLayout{
    .identity = {.vendor = 0x1234, .device = 0x5678, .class_code = 0x010802},
    .bar0_bytes = 0x4000,
    .msix = {.vectors = 65, .table_offset = 0x2000, .pending_offset = 0x3000},
};

template <typename T>
T get(const PciConfig& config, std::size_t offset) {
    T value{};
    config.read(offset, std::as_writable_bytes(std::span(&value, 1)));
    return value;
}
template <typename T>
void put(PciConfig& config, std::size_t offset, T value) {
    config.write(offset, std::as_bytes(std::span(&value, 1)));
}

TEST(PciConfig, Header_showsAnNvmeFunction) {
    const PciConfig config(kLayout);
    EXPECT_EQ(get<std::uint32_t>(config, 0), 0x56781234U);
    EXPECT_EQ(get<std::uint32_t>(config, 8) >> 8U, 0x010802U);
    EXPECT_EQ(get<std::uint8_t>(config, 0x0e), 0);  // type 0
    EXPECT_EQ(get<std::uint8_t>(config, 0x3d), 1);  // INTA
    EXPECT_NE(get<std::uint16_t>(config, 6) & 0x10, 0);
}

TEST(PciConfig, Capabilities_areAListOfThree) {
    const PciConfig config(kLayout);
    std::vector<unsigned> found;
    for (unsigned at = get<std::uint8_t>(config, 0x34); at != 0 && found.size() < 8;
         at = get<std::uint8_t>(config, at + 1)) {
        found.push_back(get<std::uint8_t>(config, at));
    }
    EXPECT_EQ(found, (std::vector<unsigned>{0x01, 0x11, 0x10}));
    EXPECT_EQ(get<std::uint16_t>(config, 0x52), 64);       // vectors - 1
    EXPECT_EQ(get<std::uint32_t>(config, 0x54), 0x2000U);  // in BAR 0
    EXPECT_EQ(get<std::uint32_t>(config, 0x100), 0U);      // no extended ones
}

TEST(PciConfig, Msi_isAtThePlaceOfMsix) {
    PciLayout layout = kLayout;
    layout.msix = {};
    layout.msi = true;
    PciConfig config(layout);
    EXPECT_EQ(get<std::uint8_t>(config, 0x41), 0x50);
    EXPECT_EQ(get<std::uint8_t>(config, 0x50), 0x05);
    EXPECT_EQ(get<std::uint8_t>(config, 0x51), 0x60);
    EXPECT_EQ(get<std::uint16_t>(config, 0x52), 0x0080) << "64 bits, one message";
    EXPECT_FALSE(config.msi_enabled());
    put<std::uint16_t>(config, 0x52, 0xffff);
    EXPECT_EQ(get<std::uint16_t>(config, 0x52), 0x00f1);
    EXPECT_TRUE(config.msi_enabled());
    put<std::uint32_t>(config, 0x54, 0xfee0'0003);
    EXPECT_EQ(get<std::uint32_t>(config, 0x54), 0xfee0'0000U);
    config.reset();
    EXPECT_FALSE(config.msi_enabled());
}

TEST(PciConfig, WithoutMsix_theListGoesOn) {
    PciLayout layout = kLayout;
    layout.msix = {};
    const PciConfig config(layout);
    EXPECT_EQ(get<std::uint8_t>(config, 0x41), 0x60);
    EXPECT_FALSE(config.msix_enabled());
}

TEST(PciConfig, Bar0_tellsItsSizeWhenAllOnesAreWritten) {
    PciConfig config(kLayout);
    put<std::uint64_t>(config, 0x10, ~std::uint64_t{0});
    EXPECT_EQ(get<std::uint64_t>(config, 0x10), ~std::uint64_t{0x3fff} | 0x4U);
    put<std::uint64_t>(config, 0x18, ~std::uint64_t{0});
    EXPECT_EQ(get<std::uint64_t>(config, 0x18), 0U);  // no other BAR
}

TEST(PciConfig, Write_changesOnlyWhatMayChange) {
    PciConfig config(kLayout);
    put<std::uint32_t>(config, 0, 0xffffffff);
    EXPECT_EQ(get<std::uint32_t>(config, 0), 0x56781234U);
    EXPECT_FALSE(config.bus_master());
    put<std::uint16_t>(config, 4, 0xffff);
    EXPECT_EQ(get<std::uint16_t>(config, 4), 0x0546);
    EXPECT_TRUE(config.bus_master());
    EXPECT_TRUE(config.intx_disabled());
    put<std::uint16_t>(config, 0x52, 0xffff);
    EXPECT_TRUE(config.msix_enabled() && config.msix_masked());
    EXPECT_EQ(get<std::uint16_t>(config, 0x52), 0xc040);
}

TEST(PciConfig, FunctionLevelReset_isAskedForOnceAndReadsAsZero) {
    PciConfig config(kLayout);
    EXPECT_NE(get<std::uint32_t>(config, 0x64) & (1U << 28U), 0U);
    put<std::uint16_t>(config, 0x68, 0x8000);
    EXPECT_TRUE(config.take_reset_request());
    EXPECT_FALSE(config.take_reset_request());
    EXPECT_EQ(get<std::uint16_t>(config, 0x68), 0);
}

TEST(PciConfig, Reset_forgetsWhatWasWritten) {
    PciConfig config(kLayout);
    put<std::uint16_t>(config, 4, 0xffff);
    config.reset();
    EXPECT_FALSE(config.bus_master());
}

}  // namespace
}  // namespace remora::vfio_user
