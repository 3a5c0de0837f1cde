// SPDX-License-Identifier: Apache-2.0
#include "core/units.h"

#include <limits>

#include <gtest/gtest.h>

namespace remora::core {
namespace {

struct Good {
    const char* text;
    std::uint64_t bytes;
};
class ParseSize : public testing::TestWithParam<Good> {};

TEST_P(ParseSize, GoodText_givesBytes) {
    const auto parsed = parse_size(GetParam().text);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(*parsed, GetParam().bytes);
}

INSTANTIATE_TEST_SUITE_P(Table,
                         ParseSize,
                         testing::Values(Good{"0", 0},
                                         Good{"4096", 4096},
                                         Good{"512B", 512},
                                         Good{"64K", 64 * kKiB},
                                         Good{"64k", 64 * kKiB},
                                         Good{"64KB", 64 * kKiB},
                                         Good{"64KiB", 64 * kKiB},
                                         Good{"3M", 3 * kMiB},
                                         Good{"10GiB", 10 * kGiB},
                                         Good{"16777215T", 16777215 * kTiB},
                                         Good{"18446744073709551615",
                                              std::numeric_limits<std::uint64_t>::max()}));

class ParseBadSize : public testing::TestWithParam<const char*> {};

TEST_P(ParseBadSize, BadText_isRefusedWithTheTextAndTheForm) {
    const auto parsed = parse_size(GetParam());
    ASSERT_FALSE(parsed);
    EXPECT_EQ(parsed.error().kind, ErrorKind::InvalidArgument);
    EXPECT_NE(parsed.error().message.find("'" + std::string(GetParam()) + "'"), std::string::npos);
    EXPECT_NE(parsed.error().message.find("64K"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Table,
                         ParseBadSize,
                         testing::Values("",
                                         "K",
                                         "1.5G",
                                         "-1",
                                         "+1",
                                         " 1",
                                         "1 ",
                                         "1 K",
                                         "1X",
                                         "1Ki",
                                         "1KiBx",
                                         "0x10",
                                         "16777216T",
                                         "18446744073709551616"));

class FormatSize : public testing::TestWithParam<Good> {};

TEST_P(FormatSize, Bytes_areShownInTheLargestUnit) {
    EXPECT_EQ(format_size(GetParam().bytes), GetParam().text);
}

INSTANTIATE_TEST_SUITE_P(Table,
                         FormatSize,
                         testing::Values(Good{"0 B", 0},
                                         Good{"1 B", 1},
                                         Good{"1023 B", 1023},
                                         Good{"1 KiB", kKiB},
                                         Good{"1.5 KiB", 1536},
                                         Good{"4 KiB", 4096},
                                         Good{"1023.5 KiB", kMiB - 512},
                                         Good{"1.0 MiB", kMiB - 1},
                                         Good{"64 MiB", 64 * kMiB},
                                         Good{"1.5 GiB", kGiB + kGiB / 2},
                                         Good{"2 TiB", 2 * kTiB},
                                         Good{"2048 TiB", 2048 * kTiB}));

TEST(FormatSize, WholeUnits_parseBack) {
    for (const std::uint64_t bytes : {std::uint64_t{1}, 5 * kKiB, 7 * kMiB, 9 * kGiB, 11 * kTiB}) {
        std::string text = format_size(bytes);
        text.erase(text.find(' '), 1);
        const auto parsed = parse_size(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(*parsed, bytes);
    }
}

}  // namespace
}  // namespace remora::core
