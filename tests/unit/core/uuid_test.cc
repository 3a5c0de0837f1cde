// SPDX-License-Identifier: Apache-2.0
#include "core/uuid.h"

#include <set>

#include <gtest/gtest.h>

namespace remora::core {
namespace {

constexpr const char* kText = "00112233-4455-6677-8899-aabbccddeeff";

TEST(Uuid, Parse_keepsTheByteOrderOfTheText) {
    const auto uuid = Uuid::parse(kText);
    ASSERT_TRUE(uuid);
    for (unsigned i = 0; i < 16; ++i) {
        EXPECT_EQ(uuid->bytes[i], i * 0x11);
    }
    EXPECT_EQ(uuid->text(), kText);
}

TEST(Uuid, Parse_upperCase_isShownInLowerCase) {
    const auto uuid = Uuid::parse("00112233-4455-6677-8899-AABBCCDDEEFF");
    ASSERT_TRUE(uuid);
    EXPECT_EQ(uuid->text(), kText);
}

class BadUuid : public testing::TestWithParam<const char*> {};

TEST_P(BadUuid, Parse_givesNothing) {
    EXPECT_FALSE(Uuid::parse(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Table,
                         BadUuid,
                         testing::Values("",
                                         "00112233445566778899aabbccddeeff",
                                         "00112233-4455-6677-8899-aabbccddeef",
                                         "00112233-4455-6677-8899-aabbccddeeff0",
                                         "00112233-4455-6677-8899-aabbccddeefg",
                                         "0011223-34455-6677-8899-aabbccddeeff",
                                         "00112233-4455-6677-8899_aabbccddeeff",
                                         "{0112233-4455-6677-8899-aabbccddeef}",
                                         "00112233 4455 6677 8899 aabbccddeeff",
                                         " 0112233-4455-6677-8899-aabbccddeeff"));

TEST(Uuid, Parse_nilForm_isNil) {
    const auto uuid = Uuid::parse("00000000-0000-0000-0000-000000000000");
    ASSERT_TRUE(uuid);
    EXPECT_TRUE(uuid->is_nil());
    EXPECT_FALSE(Uuid::parse(kText)->is_nil());
}

TEST(Uuid, Random_isVersion4AndVariant10) {
    Prng prng(1);
    for (int i = 0; i < 100; ++i) {
        const Uuid uuid = Uuid::random(prng);
        EXPECT_EQ(uuid.bytes[6] >> 4U, 4);
        EXPECT_EQ(uuid.bytes[8] >> 6U, 2);
        EXPECT_EQ(Uuid::parse(uuid.text()), uuid);
    }
}

TEST(Uuid, Random_doesNotRepeat) {
    Prng prng(1);
    std::set<Uuid> seen;
    for (int i = 0; i < 1000; ++i) {
        seen.insert(Uuid::random(prng));
    }
    EXPECT_EQ(seen.size(), 1000U);
}

}  // namespace
}  // namespace remora::core
