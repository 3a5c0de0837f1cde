// SPDX-License-Identifier: Apache-2.0
#include "core/byte_reader.h"

#include <array>

#include <gtest/gtest.h>

#include "core/endian.h"

namespace remora::core {
namespace {

struct Header {
    le16 type;
    be<std::uint32_t> length;
};
static_assert(sizeof(Header) == 6);

constexpr std::array<unsigned char, 8> kBytes{0x34, 0x12, 0x00, 0x00, 0x01, 0x02, 0xaa, 0xbb};

TEST(ByteReader, Read_enoughBytes_copiesAndMovesOn) {
    ByteReader reader(std::as_bytes(std::span(kBytes)));
    Header header;

    ASSERT_TRUE(reader.read(header));

    EXPECT_EQ(header.type, 0x1234);
    EXPECT_EQ(header.length, 0x102U);
    EXPECT_EQ(reader.remaining(), 2U);
}

TEST(ByteReader, Read_tooFewBytes_takesNothing) {
    ByteReader reader(std::as_bytes(std::span(kBytes)).first(5));
    Header header;

    EXPECT_FALSE(reader.read(header));

    EXPECT_EQ(reader.remaining(), 5U);
}

TEST(ByteReader, Take_exactlyTheRest_leavesNothing) {
    ByteReader reader(std::as_bytes(std::span(kBytes)));
    std::span<const std::byte> part;

    ASSERT_TRUE(reader.take(8, part));

    EXPECT_EQ(part.size(), 8U);
    EXPECT_EQ(reader.remaining(), 0U);
    EXPECT_TRUE(reader.take(0, part));
}

TEST(ByteReader, Take_oneTooMany_takesNothing) {
    ByteReader reader(std::as_bytes(std::span(kBytes)));
    std::span<const std::byte> part;

    EXPECT_FALSE(reader.take(9, part));
    EXPECT_FALSE(reader.take(SIZE_MAX, part));

    EXPECT_EQ(reader.remaining(), 8U);
}

TEST(ByteReader, AsBytesOf_roundTrip_givesTheSameStruct) {
    Header out;
    out.type = 7;
    out.length = 0xdeadbeef;
    Header in;

    ByteReader reader(as_bytes_of(out));
    ASSERT_TRUE(reader.read(in));

    EXPECT_EQ(in.type, 7);
    EXPECT_EQ(in.length, 0xdeadbeefU);
}

}  // namespace
}  // namespace remora::core
