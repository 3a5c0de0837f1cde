// SPDX-License-Identifier: Apache-2.0
// The heads of requests: what is let through to the HTTP library, and what never reaches it.
#include "rest/head.h"

#include <gtest/gtest.h>

namespace remora::test {

namespace {

std::string with_host(const std::string& line, const std::string& fields = "") {
    return line + "\r\nHost: h\r\n" + fields + "\r\n";
}

/// The status it is refused with; 0: it is not.
int refused(const std::string& text) {
    const auto head = rest::parse_head(text);
    return head ? 0 : head.error().status;
}

TEST(Head, Parse_usedFields_areKeptAndNoOthers) {
    const auto head = rest::parse_head(with_host(
        "POST /v1/volumes?x=1 HTTP/1.1",
        "CONTENT-length:  12 \r\nContent-Type: Application/JSON\r\nContent-Encoding: gzip\r\n"
        "Range: bytes=0-1\r\nAccept-Encoding: gzip\r\nConnection: Close\r\nCookie: a\r\n"));

    ASSERT_TRUE(head) << head.error().message;
    EXPECT_EQ(head->content_length, 12U);
    EXPECT_FALSE(head->chunked);
    EXPECT_EQ(head->text,
              "POST /v1/volumes?x=1 HTTP/1.1\r\nhost: h\r\nconnection: close\r\n"
              "content-length: 12\r\nx-content-type: Application/JSON\r\n"
              "x-content-encoding: gzip\r\n\r\n");
}

TEST(Head, Parse_oldVersion_needsNoHost) {
    EXPECT_EQ(refused("GET / HTTP/1.0\r\n\r\n"), 0);
    EXPECT_EQ(refused("GET / HTTP/1.1\r\n\r\n"), 400);
}

TEST(Head, Parse_requestLine_table) {
    struct Case {
        std::string line;
        int status;
    };
    const Case cases[] = {
        {"GET / HTTP/1.1", 0},
        {"DELETE /v1/volumes/a HTTP/1.1", 0},
        {"", 400},
        {"GET", 400},
        {"GET /", 400},
        {"GET  / HTTP/1.1", 400},
        {"GET / x HTTP/1.1", 400},
        {"GET / HTTP/2.0", 505},
        {"GET / FTP/1.1", 400},
        {"G(T / HTTP/1.1", 400},
        {" GET / HTTP/1.1", 400},
        {"BREW / HTTP/1.1", 501},
        {"get / HTTP/1.1", 501},
        {"GET http://h/ HTTP/1.1", 400},
        {"GET /a#b HTTP/1.1", 400},
        {"GET /\xC3\xA9 HTTP/1.1", 400},
        {std::string("GET /a\0b HTTP/1.1", 17), 400},
        {"GET /a\tb HTTP/1.1", 400},
        {"GET /a\nb HTTP/1.1", 400},
        {"GET /" + std::string(rest::kLongestTarget - 1, 'a') + " HTTP/1.1", 0},
        {"GET /" + std::string(rest::kLongestTarget, 'a') + " HTTP/1.1", 414},
    };
    for (const Case& tried : cases) {
        EXPECT_EQ(refused(with_host(tried.line)), tried.status) << tried.line.substr(0, 40);
    }
}

TEST(Head, Parse_fields_table) {
    struct Case {
        std::string fields;
        int status;
    };
    const Case cases[] = {
        {"A: b\r\n", 0},
        {"A:\r\n", 0},
        {"A : b\r\n", 400},
        {" folded: b\r\n", 400},
        {"A: b\r\n c\r\n", 400},
        {"no colon\r\n", 400},
        {": b\r\n", 400},
        {"A: b\nC: d\r\n", 400},
        {std::string("A: b\0c\r\n", 8), 400},
        {"A: b\rc\r\n", 400},
        {"Host: other\r\n", 400},
        // Where a body ends has to be beyond doubt, or one request hides in another.
        {"Content-Length: 5\r\n", 0},
        {"Content-Length: 5\r\nContent-Length: 5\r\n", 400},
        {"Content-Length: 5, 5\r\n", 400},
        {"Content-Length: -1\r\n", 400},
        {"Content-Length: +1\r\n", 400},
        {"Content-Length: 0x5\r\n", 400},
        {"Content-Length:\r\n", 400},
        {"Content-Length: 1048576\r\n", 0},
        {"Content-Length: 1048577\r\n", 413},
        {"Content-Length: 99999999999999999999999\r\n", 413},
        {"Transfer-Encoding: Chunked\r\n", 0},
        {"Transfer-Encoding: gzip, chunked\r\n", 501},
        {"Transfer-Encoding: identity\r\n", 501},
        {"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400},
        {"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 400},
    };
    for (const Case& tried : cases) {
        EXPECT_EQ(refused(with_host("POST / HTTP/1.1", tried.fields)), tried.status)
            << tried.fields;
    }
    EXPECT_EQ(refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
}

TEST(Head, Parse_tooManyFields_isRefused) {
    std::string fields;
    for (std::size_t i = 1; i < rest::kMostHeaderFields; ++i) {
        fields += "a: b\r\n";
    }
    EXPECT_EQ(refused(with_host("GET / HTTP/1.1", fields)), 0);
    EXPECT_EQ(refused(with_host("GET / HTTP/1.1", fields + "a: b\r\n")), 431);
}

TEST(Head, Parse_everyCutOfAHead_isRefused) {
    const std::string whole = with_host("POST /v1 HTTP/1.1", "Content-Length: 2\r\n");
    ASSERT_EQ(refused(whole), 0);
    for (std::size_t length = 0; length < whole.size(); ++length) {
        EXPECT_EQ(refused(whole.substr(0, length)), 400) << length;
    }
}

}  // namespace

}  // namespace remora::test
