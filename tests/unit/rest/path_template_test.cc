// SPDX-License-Identifier: Apache-2.0
// Path templates: what parses, what fits, and what the variables get.
#include "rest/path_template.h"

#include <gtest/gtest.h>

namespace remora::test {

namespace {

using rest::PathTemplate;
using rest::RequestPath;

/// "field=value;field=value", "-" when the path does not fit, "!" when it is refused.
std::string taken(const std::string& text, const std::string& path) {
    const auto parsed = PathTemplate::parse(text);
    EXPECT_TRUE(parsed) << text;
    const auto request = RequestPath::parse(path);
    if (!request) {
        return "!";
    }
    if (!parsed->matches(*request)) {
        return "-";
    }
    std::string all;
    for (const auto& captured : parsed->capture(*request)) {
        all += (all.empty() ? "" : ";") + captured.field_path + "=" + captured.value;
    }
    return all;
}

TEST(PathTemplate, Match_table) {
    struct Case {
        const char* text;
        const char* path;
        const char* taken;
    };
    constexpr Case kCases[] = {
        {"/v1/volumes", "/v1/volumes", ""},
        {"/v1/volumes", "/v1/volumes/", "-"},
        {"/v1/volumes", "/v1/Volumes", "-"},
        {"/v1/volumes", "/v1", "-"},
        {"/v1/volumes", "/v1/%76olumes", ""},
        {"/v1/{name=volumes/*}", "/v1/volumes/a", "name=volumes/a"},
        {"/v1/{name=volumes/*}", "/v1/volumes/", "-"},
        {"/v1/{name=volumes/*}", "/v1//a", "-"},
        {"/v1/{name=volumes/*}", "/v1/volumes/a/b", "-"},
        {"/v1/{name=volumes/*}", "/v1/volumes/a%20b", "name=volumes/a b"},
        {"/v1/{name=volumes/*}", "/v1/volumes/a%2Fb", "name=volumes/a%2Fb"},
        {"/v1/{name=volumes/*}", "/v1/volumes/a:b", "name=volumes/a:b"},
        {"/v1/{name=volumes/*}", "/v1/volumes/..", "name=volumes/.."},
        {"/v1/{name=volumes/*}", "/v1/volumes/%", "!"},
        {"/v1/{name=volumes/*}", "/v1/volumes/%FF", "!"},
        {"/v1/{id}", "/v1/a%2Fb", "id=a/b"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/2:go", "a.b.c=x/1/y/2"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/2", "-"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/2:gone", "-"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/:go", "-"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/2%3Ago", "-"},
        {"/v1/{a.b.c=x/*/y/*}:go", "/v1/x/1/y/2:3:go", "a.b.c=x/1/y/2:3"},
        {"/v1/{p=x/*}/ys/{y}", "/v1/x/1/ys/2", "p=x/1;y=2"},
        {"/v1/{rest=**}", "/v1/a/b%2Fc/d", "rest=a/b%2Fc/d"},
        {"/v1/{rest=**}", "/v1", "rest="},
        {"/v1/{rest=a/**}:stat", "/v1/a/b/c:stat", "rest=a/b/c"},
        {"/**", "/any/thing", ""},
        {"/v1/*/b", "/v1/x/b", ""},
    };
    for (const Case& tried : kCases) {
        EXPECT_EQ(taken(tried.text, tried.path), tried.taken) << tried.text << " " << tried.path;
    }
}

TEST(PathTemplate, Parse_malformed_isRefused) {
    for (const char* text :
         {"",           "v1",         "/",         "//",       "/v1/",        "/v1/{",
          "/v1/{}",     "/v1/{=a}",   "/v1/{a",    "/v1/{a=}", "/v1/{a={b}}", "/v1/{a.}",
          "/v1/{.a}",   "/v1/{a..b}", "/v1/{a b}", "/v1/a*",   "/**/b",       "/{a=**}/b",
          "/v1/{a=*}x", "/v1/x:",     "/v1/x:a/b", "/v1/x:*",  "/v1/x}",      "/a:b:c"}) {
        EXPECT_FALSE(PathTemplate::parse(text)) << text;
    }
}

TEST(PathTemplate, Shape_fieldsAside_isTheSame) {
    EXPECT_EQ(PathTemplate::parse("/v1/{name=a/*}:b")->shape(), "/v1/a/*:b");
    EXPECT_EQ(PathTemplate::parse("/v1/a/{id}:b")->shape(), "/v1/a/*:b");
    EXPECT_EQ(PathTemplate::parse("/v1/{x=**}")->shape(), "/v1/**");
}

TEST(PathTemplate, MoreSpecific_literalThenOneThenMany) {
    const char* order[] = {"/v1/a/b:c",   "/v1/a/b", "/v1/a/{x}", "/v1/{x}/b",
                           "/v1/{x}/{y}", "/v1/{x}", "/v1/**"};
    for (std::size_t a = 0; a < std::size(order); ++a) {
        for (std::size_t b = 0; b < std::size(order); ++b) {
            EXPECT_EQ(PathTemplate::more_specific(*PathTemplate::parse(order[a]),
                                                  *PathTemplate::parse(order[b])),
                      a < b)
                << order[a] << " " << order[b];
        }
    }
}

TEST(RequestPath, Parse_hugePath_endsInTime) {
    std::string path;
    for (int i = 0; i < 100'000; ++i) {
        path += "/a";
    }
    const auto parsed = RequestPath::parse(path);
    ASSERT_TRUE(parsed);
    EXPECT_FALSE(PathTemplate::parse("/v1/{name=volumes/*}")->matches(*parsed));
    EXPECT_TRUE(PathTemplate::parse("/{all=**}")->matches(*parsed));
    EXPECT_FALSE(RequestPath::parse("volumes"));
    EXPECT_FALSE(RequestPath::parse(""));
}

}  // namespace

}  // namespace remora::test
