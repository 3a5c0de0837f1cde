// SPDX-License-Identifier: Apache-2.0
#include "core/endian.h"

#include <array>
#include <limits>

#include <gtest/gtest.h>

namespace remora::core {
namespace {

template <typename W>
std::array<unsigned char, sizeof(W)> bytes_of(W value) {
    return std::bit_cast<std::array<unsigned char, sizeof(W)>>(value);
}

TEST(Endian, Little_storesLowestByteFirst) {
    EXPECT_EQ(bytes_of(le32(0x01020304)), (std::array<unsigned char, 4>{4, 3, 2, 1}));
}

TEST(Endian, Big_storesHighestByteFirst) {
    EXPECT_EQ(bytes_of(be<std::uint16_t>(0x0102)), (std::array<unsigned char, 2>{1, 2}));
    EXPECT_EQ(bytes_of(be<std::uint32_t>(0x01020304)), (std::array<unsigned char, 4>{1, 2, 3, 4}));
    EXPECT_EQ(bytes_of(be<std::uint64_t>(0x0102030405060708)),
              (std::array<unsigned char, 8>{1, 2, 3, 4, 5, 6, 7, 8}));
}

template <typename T>
class EndianOf : public testing::Test {};
using Integers = testing::Types<std::uint8_t,
                                std::int8_t,
                                std::uint16_t,
                                std::int16_t,
                                std::uint32_t,
                                std::int32_t,
                                std::uint64_t,
                                std::int64_t>;
TYPED_TEST_SUITE(EndianOf, Integers);

TYPED_TEST(EndianOf, RoundTrip_keepsTheValueInBothOrders) {
    using Limits = std::numeric_limits<TypeParam>;
    for (const TypeParam value :
         {TypeParam{0}, TypeParam{1}, TypeParam{0x5a}, Limits::min(), Limits::max()}) {
        EXPECT_EQ(le<TypeParam>(value).get(), value);
        EXPECT_EQ(be<TypeParam>(value).get(), value);
    }
}

TYPED_TEST(EndianOf, Layout_hasNoPaddingAndNoAlignment) {
    struct Packed {
        unsigned char before = 0;
        be<TypeParam> value;
        le<TypeParam> other;
    };
    EXPECT_EQ(sizeof(Packed), 1 + 2 * sizeof(TypeParam));
    EXPECT_EQ(alignof(Packed), 1U);
}

TEST(Endian, Default_isZero) {
    EXPECT_EQ(le64().get(), 0U);
    EXPECT_EQ(be<std::uint64_t>().get(), 0U);
}

TEST(Endian, Assign_replacesTheValue) {
    be<std::uint16_t> value = 1;
    value = 0xabcd;
    EXPECT_EQ(value, 0xabcd);
}

// Both orders work in constant expressions, so wire constants need no code at start.
static_assert(le16(0x1234).get() == 0x1234);
static_assert(be<std::int32_t>(-2).get() == -2);

}  // namespace
}  // namespace remora::core
