// SPDX-License-Identifier: Apache-2.0
#include "vfio_user/capabilities.h"

#include <gtest/gtest.h>

#include "tests/support/vfio_client.h"

namespace remora::vfio_user {
namespace {

TEST(Capabilities, Parse_ofQemu_findsWhatItSays) {
    const auto parsed = parse_capabilities(test::VfioClient::kQemuCapabilities);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->max_message_handles, 16U);
    EXPECT_EQ(parsed->max_transfer_bytes, 1048576U);
    EXPECT_TRUE(parsed->write_multiple);
}

TEST(Capabilities, Parse_ofAnEmptyObject_meansTheDefaults) {
    for (const char* text :
         {"{}", " { } ", R"({"capabilities":{}})", R"({"other":[1,{"a":null}]})"}) {
        const auto parsed = parse_capabilities(text);
        ASSERT_TRUE(parsed.has_value()) << text;
        EXPECT_EQ(parsed->max_message_handles, 1U);
        EXPECT_FALSE(parsed->write_multiple);
    }
}

TEST(Capabilities, Parse_ofTheSameNameElsewhere_ignoresIt) {
    const auto parsed = parse_capabilities(
        R"({"max_msg_fds":7,"capabilities":{"twin":{"max_msg_fds":8}},"x":{"write_multiple":true}})");
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->max_message_handles, 1U);
    EXPECT_FALSE(parsed->write_multiple);
}

TEST(Capabilities, Parse_ofNonsense_isRefused) {
    for (const char* text :
         {"", "[]", "7", "{", "{}}", R"({"a"})", R"({"a":})", R"({"a":1,})", R"({"a":"\)",
          R"({"capabilities":5})", R"({"capabilities":{"max_msg_fds":"many"}})",
          R"({"capabilities":{"max_msg_fds":-1}})", R"({"capabilities":{"max_msg_fds":1e3}})",
          R"({"capabilities":{"max_data_xfer_size":99999999999999999999}})",
          R"({"capabilities":{"write_multiple":1}})", R"({"a":[[[[[[[[[[[[]]]]]]]]]]]]})"}) {
        EXPECT_FALSE(parse_capabilities(text).has_value()) << text;
    }
}

TEST(Capabilities, Make_offersMultipleWritesOnlyToWhoAsked) {
    Capabilities client;
    EXPECT_EQ(make_capabilities(client).find("write_multiple"), std::string::npos);
    client.write_multiple = true;
    const std::string text = make_capabilities(client);
    EXPECT_NE(text.find("write_multiple"), std::string::npos);
    const auto parsed = parse_capabilities(text);
    ASSERT_TRUE(parsed.has_value());
    EXPECT_EQ(parsed->max_transfer_bytes, kMaxTransferBytes);
    // QEMU has no more room for the answer than its question took.
    EXPECT_LE(text.size(), test::VfioClient::kQemuCapabilities.size());
}

}  // namespace
}  // namespace remora::vfio_user
