// SPDX-License-Identifier: Apache-2.0
#include "reactor/endpoint.h"

#include <gtest/gtest.h>

namespace remora::reactor {
namespace {

TEST(EndpointTest, Parse_goodForms_roundTrip) {
    for (const char* text :
         {"127.0.0.1:4420", "[::1]:4420", "0.0.0.0:0", "unix:/run/remora.sock", "[::]:1",
          "[1:2:3:4:5:6:7:8]:1", "[1::]:1", "[fe80::1:2]:1", "[::ffff:10.0.0.1]:1",
          "[1:2:3:4:5:6:10.0.0.1]:1", "[1:2:3:4:5:6:7::]:1"}) {
        const auto endpoint = Endpoint::parse(text);
        ASSERT_TRUE(endpoint) << text;
        EXPECT_EQ(endpoint->text(), text);
    }
}

TEST(EndpointTest, Parse_badForms_saysWhatWouldBeRight) {
    for (const char* text : {"",
                             "4420",
                             ":4420",
                             "127.0.0.1",
                             "127.0.0.1:",
                             "127.0.0.1:65536",
                             "127.0.0.1:44x",
                             "256.0.0.1:1",
                             "1.2.3:1",
                             "1.2.3.4.5:1",
                             "host:4420",
                             "[127.0.0.1]:1",
                             "unix:",
                             "::1:4420",
                             "010.0.0.1:1",
                             "[1.2.3.4:80]:1",
                             "[:]:1",
                             "[:::]:1",
                             "[1:2]:1",
                             "[1:]:1",
                             "[:1]:1",
                             "[::1::]:1",
                             "[12345::]:1",
                             "[1:2:3:4:5:6:7:8:9]:1",
                             "[1:2:3:4:5:6:7:8::]:1",
                             "[::g]:1",
                             "[::1%1]:1",
                             "[::1.2.3]:1",
                             "[1.2.3.4::]:1",
                             "[1:2:3:4:5:6:7:10.0.0.1]:1"}) {
        const auto endpoint = Endpoint::parse(text);
        ASSERT_FALSE(endpoint) << text;
        EXPECT_EQ(endpoint.error().kind, core::ErrorKind::InvalidArgument);
        EXPECT_NE(endpoint.error().message.find("127.0.0.1:4420"), std::string::npos);
    }
}

}  // namespace
}  // namespace remora::reactor
