// SPDX-License-Identifier: Apache-2.0
// Percent-decoding, UTF-8 and queries, with what a hostile client may write.
#include "rest/url.h"

#include <gtest/gtest.h>

namespace remora::test {

namespace {

using rest::Slash;

TEST(Url, PercentDecode_goodText_isDecoded) {
    struct Case {
        const char* text;
        Slash slash;
        const char* decoded;
    };
    constexpr Case kCases[] = {
        {"", Slash::Decode, ""},
        {"plain-1.2_3~", Slash::Decode, "plain-1.2_3~"},
        {"a%20b", Slash::Decode, "a b"},
        {"a+b", Slash::Decode, "a+b"},
        {"%41%6a%6A", Slash::Decode, "Ajj"},
        {"a%2Fb%2fc", Slash::Decode, "a/b/c"},
        {"a%2Fb%2fc", Slash::Keep, "a%2Fb%2Fc"},
        {"%25", Slash::Decode, "%"},
        {"%C3%A9", Slash::Decode, "\xC3\xA9"},
    };
    for (const Case& tried : kCases) {
        const auto decoded = rest::percent_decode(tried.text, tried.slash);
        ASSERT_TRUE(decoded) << tried.text << ": " << decoded.error().message;
        EXPECT_EQ(*decoded, tried.decoded) << tried.text;
    }
}

TEST(Url, PercentDecode_brokenText_isRefused) {
    for (const char* text : {"%", "%4", "a%", "%zz", "%4g", "%%41", "%00", "a%00b", "%FF", "%C3",
                             "%C0%80", "%ED%A0%80", "%F4%90%80%80", "\xFF", "%u0041", "% 41"}) {
        const auto decoded = rest::percent_decode(text, Slash::Decode);
        ASSERT_FALSE(decoded) << text;
        EXPECT_EQ(decoded.error().kind, core::ErrorKind::InvalidArgument);
    }
}

TEST(Url, IsUtf8_edgesOfEachLength_areJudgedRight) {
    for (const char* good :
         {"", "\x7f", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
          "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
        EXPECT_TRUE(rest::is_utf8(good));
    }
    for (const char* bad :
         {"\x80", "\xC1\xBF", "\xC2", "\xC2\x7f", "\xE0\x9F\xBF", "\xED\xA0\x80", "\xE1\x80",
          "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80"}) {
        EXPECT_FALSE(rest::is_utf8(bad));
    }
}

TEST(Url, ParseQuery_parameters_keepTheirOrder) {
    const auto query = rest::parse_query("a=1&b=x+y%2Bz&&c&a=2&d==&%61b=%3D");
    ASSERT_TRUE(query);
    ASSERT_EQ(query->size(), 6U);
    const std::pair<const char*, const char*> wanted[] = {{"a", "1"}, {"b", "x y+z"}, {"c", ""},
                                                          {"a", "2"}, {"d", "="},     {"ab", "="}};
    for (std::size_t i = 0; i < query->size(); ++i) {
        EXPECT_EQ((*query)[i].name, wanted[i].first);
        EXPECT_EQ((*query)[i].value, wanted[i].second);
    }
}

TEST(Url, ParseQuery_brokenOrTooLong_isRefused) {
    EXPECT_FALSE(rest::parse_query("a=%"));
    EXPECT_FALSE(rest::parse_query("%zz=1"));
    std::string most;
    for (std::size_t i = 0; i < rest::kMostParameters; ++i) {
        most += "a=1&";
    }
    EXPECT_TRUE(rest::parse_query(most));
    EXPECT_FALSE(rest::parse_query(most + "a=1"));
}

}  // namespace

}  // namespace remora::test
