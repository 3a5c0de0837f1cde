// SPDX-License-Identifier: Apache-2.0
// JSON into messages: what proto3's mapping takes, and that errors name the place and not the
// value.
#include "rest/json_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "remora/v1/remora.pb.h"
#include "rest/json_scalars.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_virtio_blk.pb.h"

namespace remora::test {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = ::remora::v1;
using testing::HasSubstr;
using testing::Not;

/// The message's text form, or the error's sentence.
template <typename M>
std::string read(const std::string& text) {
    const auto json = rest::parse_json(text);
    if (!json) {
        return json.error().message;
    }
    M message;
    const auto read = rest::read_message(*json, message, "body");
    return read ? message.ShortDebugString() : read.error().message;
}

TEST(JsonInput, Integers_table) {
    struct Case {
        const char* value;
        const char* result;
    };
    constexpr const char* kRefused = "body.io_queues_count: an integer of 64 bits is wanted";
    constexpr Case kCases[] = {
        {"5", "io_queues_count: 5"},
        {"\"5\"", "io_queues_count: 5"},
        {"-5", "io_queues_count: -5"},
        {"5.0", "io_queues_count: 5"},
        {"5e2", "io_queues_count: 500"},
        {"9223372036854775807", "io_queues_count: 9223372036854775807"},
        {"\"-9223372036854775808\"", "io_queues_count: -9223372036854775808"},
        {"null", ""},
        {"9223372036854775808", kRefused},
        {"\"9223372036854775808\"", kRefused},
        {"99999999999999999999999", kRefused},
        {"1e300", kRefused},
        {"1.5", kRefused},
        {"\"1.5\"", kRefused},
        {"\"\"", kRefused},
        {"\" 5\"", kRefused},
        {"\"5x\"", kRefused},
        {"\"+5\"", kRefused},
        {"true", kRefused},
        {"[5]", kRefused},
        {"{}", kRefused},
    };
    for (const Case& tried : kCases) {
        EXPECT_EQ(
            read<opi::NvmeRemoteController>("{\"ioQueuesCount\":" + std::string(tried.value) + "}"),
            tried.result)
            << tried.value;
    }
}

TEST(JsonInput, Fields_bothSpellingsAndUnknownOnes) {
    EXPECT_EQ(read<opi::NvmeRemoteController>(
                  R"({"queue_size":1,"ioQueuesCount":"2","x":{"y":[1]},"multipath":2,"name":"n"})"),
              "name: \"n\" multipath: NVME_MULTIPATH_FAILOVER io_queues_count: 2 queue_size: 1");
}

TEST(JsonInput, WrongTypes_areRefusedWithTheirPlace) {
    struct Case {
        const char* text;
        const char* sentence;
    };
    constexpr Case kCases[] = {
        {R"([])", "body: an object is wanted"},
        {R"("x")", "body: an object is wanted"},
        {R"({"name":5})", "body.name: a text is wanted"},
        {R"({"tcp":[]})", "body.tcp: an object is wanted"},
        {R"({"tcp":{"hdgst":"true"}})", "body.tcp.hdgst: true or false is wanted"},
        {R"({"tcp":{"hdgst":1}})", "body.tcp.hdgst: true or false is wanted"},
        {R"({"tcp":{"psk":"se!cret"}})", "body.tcp.psk: base64 is wanted"},
        {R"({"tcp":{"psk":"A"}})", "body.tcp.psk: base64 is wanted"},
        {R"({"multipath":"NVME_MULTIPATH_NONE"})",
         "body.multipath: a name of NvmeMultipath, as NVME_MULTIPATH_MULTIPATH, is wanted"},
        {R"({"multipath":1.5})", "body.multipath: a name or number of NvmeMultipath is wanted"},
    };
    for (const Case& tried : kCases) {
        EXPECT_EQ(read<opi::NvmeRemoteController>(tried.text), tried.sentence) << tried.text;
    }
    EXPECT_EQ(read<api::GetStatusResponse>(R"({"hostDisks":{}})"),
              "body.host_disks: a list is wanted");
    EXPECT_EQ(read<api::GetStatusResponse>(R"({"hostDisks":[{},{"hostFunction":"a"}]})"),
              "body.host_disks[1].host_function: an integer of 32 bits is wanted");
    EXPECT_EQ(read<api::GetStatusResponse>(R"({"hostDisks":[null]})"),
              "body.host_disks[0]: null is no element of a list");
    EXPECT_EQ(read<api::DetachVolumeRequest>(R"({"hostFunction":1,"volumeUuid":"u"})"),
              "body.volume_uuid: another one of \"disk\" is given, too");
}

TEST(JsonInput, OwnTypes_haveTheirOwnForm) {
    EXPECT_EQ(read<opi::UpdateVirtioBlkRequest>(R"({"updateMask":"pcieId,volume_name_ref"})"),
              "update_mask { paths: \"pcie_id\" paths: \"volume_name_ref\" }");
    EXPECT_THAT(read<opi::UpdateVirtioBlkRequest>(R"({"updateMask":"a b"})"),
                HasSubstr("body.update_mask: "));
    EXPECT_THAT(read<opi::UpdateVirtioBlkRequest>(R"({"updateMask":7})"),
                HasSubstr("body.update_mask: it is no FieldMask"));
    EXPECT_EQ(read<opi::VirtioBlk>(R"({"pcieId":{"physicalFunction":0,"portId":"3"}})"),
              "pcie_id { port_id { value: 3 } physical_function { } }");
    EXPECT_THAT(read<opi::VirtioBlk>(R"({"pcieId":{"portId":"x"}})"),
                HasSubstr("body.pcie_id.port_id: it is no Int32Value"));
}

TEST(JsonInput, Syntax_errorsSayWhere) {
    EXPECT_EQ(read<opi::NvmePath>("{\n  \"name\": oops}"),
              "the body is no JSON: line 2, column 11");
    for (const char* text : {"{", "}", "{\"a\":}", "{\"a\" 1}", "{a:1}", "nul", "{}{}", "{'a':1}",
                             "{\"a\":01}", "\"\\x\"", "{\"name\":\"\xFF\"}", "\xEF\xBB",
                             "{\"a\":\"\n\"}", "{\"name\":\"\\ud800\"}"}) {
        EXPECT_THAT(read<opi::NvmePath>(text), HasSubstr("the body is no JSON: line ")) << text;
    }
    EXPECT_THAT(read<opi::NvmePath>("{\"traddr\":\"secret\",\"secret\" secret}"),
                Not(HasSubstr("secret")));
    EXPECT_THAT(read<opi::NvmePath>("{\"x\":1e999}"), HasSubstr("the body"));
}

TEST(JsonInput, Depth_isBounded) {
    const auto nested = [](int depth, const char* open, const char* close) {
        std::string text;
        for (int i = 0; i < depth; ++i) {
            text += open;
        }
        text += "1";
        for (int i = 0; i < depth; ++i) {
            text += close;
        }
        return text;
    };
    EXPECT_TRUE(rest::parse_json(nested(rest::kDeepestJson, "[", "]")));
    for (const int depth : {rest::kDeepestJson + 1, 1000, 500'000}) {
        for (const auto& text :
             {nested(depth, "[", "]"), nested(depth, "{\"a\":", "}"), nested(depth, "[", "")}) {
            const auto parsed = rest::parse_json(text);
            ASSERT_FALSE(parsed);
            EXPECT_THAT(parsed.error().message, HasSubstr("deeper than 64 levels"));
        }
    }
}

TEST(JsonInput, Base64_table) {
    const std::pair<const char*, const char*> good[] = {{"", ""},
                                                        {"Zg==", "f"},
                                                        {"Zg", "f"},
                                                        {"Zm8=", "fo"},
                                                        {"Zm9v", "foo"},
                                                        {"-_-_", "\xfb\xff\xbf"},
                                                        {"+/+/", "\xfb\xff\xbf"}};
    for (const auto& [text, bytes] : good) {
        EXPECT_EQ(rest::decode_base64(text), bytes) << text;
    }
    for (const char* bad : {"Z", "Zm9vZ", "Zg===", "Z=g=", "Zm 9", "\n"}) {
        EXPECT_EQ(rest::decode_base64(bad), std::nullopt) << bad;
    }
}

}  // namespace

}  // namespace remora::test
