// SPDX-License-Identifier: Apache-2.0
#include "nvme/namespace.h"

#include <vector>

#include <gtest/gtest.h>

namespace remora::nvme {
namespace {

TEST(Identify_namespace, geometry_and_identity_are_in_place) {
    Namespace from;
    from.geometry = {
        .block_size = 4096, .block_count = 77, .optimal_blocks = 16, .read_only = true};
    from.eui64 = 0x0102030405060708;
    from.nguid[0] = 0xaa;
    spec::IdentifyNamespace to;
    identify_namespace(from, to);
    EXPECT_EQ(to.nsze, 77U);
    EXPECT_EQ(to.ncap, 77U);
    EXPECT_EQ(to.nlbaf, 0);
    EXPECT_EQ(to.lbaf[0].lba_shift, 12);
    EXPECT_EQ(to.npwg, 15);
    EXPECT_EQ(to.nsfeat, spec::kNsfeatOptimalIo);
    EXPECT_EQ(to.nsattr, spec::kNsattrWriteProtected);
    EXPECT_EQ(to.eui64[0], 0x01);  // big endian
    EXPECT_EQ(to.eui64[7], 0x08);
    EXPECT_EQ(to.nguid[0], 0xaa);
}

TEST(Identify_namespace, deallocated_blocks_read_as_zeros_only_where_they_do) {
    Namespace from;
    from.geometry.block_count = 1;
    spec::IdentifyNamespace to;
    identify_namespace(from, to);
    EXPECT_EQ(to.dlfeat, spec::kDlfeatReadsZero);
    from.geometry.unwritten_reads_zeros = false;
    identify_namespace(from, to);
    EXPECT_EQ(to.dlfeat, 0);
}

TEST(Identify_descriptors, every_identity_then_the_command_set) {
    Namespace from;
    from.eui64 = 0x0102030405060708;
    from.nguid[15] = 0xbb;
    from.uuid.bytes[0] = 0xcc;
    std::vector<std::byte> list(4096);
    identify_descriptors(from, list);
    const auto at = [&list](std::size_t index) { return static_cast<int>(list[index]); };
    EXPECT_EQ(at(0), spec::kNidEui64);
    EXPECT_EQ(at(1), 8);
    EXPECT_EQ(at(4), 1);
    EXPECT_EQ(at(12), spec::kNidNguid);
    EXPECT_EQ(at(13), 16);
    EXPECT_EQ(at(31), 0xbb);
    EXPECT_EQ(at(32), spec::kNidUuid);
    EXPECT_EQ(at(36), 0xcc);
    EXPECT_EQ(at(52), spec::kNidCommandSet);
    EXPECT_EQ(at(53), 1);
    EXPECT_EQ(at(56), 0);
    EXPECT_EQ(at(57), 0);  // the end
}

}  // namespace
}  // namespace remora::nvme
