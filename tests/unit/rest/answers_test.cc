// SPDX-License-Identifier: Apache-2.0
// What goes back: proto3 JSON with defaults, HTTP statuses, errors; and how long a call may take.
#include "rest/answers.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "remora/v1/remora.pb.h"
#include "rest/transcoder.h"
#include "storage/backend_nvme.pb.h"

namespace remora::test {

namespace {

using grpc::StatusCode;
using nlohmann::json;

TEST(Answers, ToJson_isTheReferencesForm) {
    opi_api::storage::v1::NvmeRemoteController controller;
    controller.set_name("nvmeRemoteControllers/a");
    controller.set_multipath(opi_api::storage::v1::NVME_MULTIPATH_FAILOVER);
    controller.set_queue_size(1LL << 40U);
    controller.mutable_tcp()->set_psk("\xff\xfe");

    const auto text = rest::to_json(controller);

    ASSERT_TRUE(text);
    EXPECT_EQ(
        json::parse(*text),
        json::parse(R"({"name":"nvmeRemoteControllers/a","multipath":"NVME_MULTIPATH_FAILOVER",
                  "ioQueuesCount":"0","queueSize":"1099511627776",
                  "tcp":{"hdgst":false,"ddgst":false,"psk":"//4="}})"));
    EXPECT_EQ(*rest::to_json(remora::v1::ListAttachmentsResponse()),
              R"({"attachments":[],"nextPageToken":""})");
}

TEST(Answers, HttpStatus_table) {
    const std::pair<StatusCode, int> table[] = {
        {StatusCode::OK, 200},
        {StatusCode::CANCELLED, 499},
        {StatusCode::UNKNOWN, 500},
        {StatusCode::INVALID_ARGUMENT, 400},
        {StatusCode::DEADLINE_EXCEEDED, 504},
        {StatusCode::NOT_FOUND, 404},
        {StatusCode::ALREADY_EXISTS, 409},
        {StatusCode::PERMISSION_DENIED, 403},
        {StatusCode::RESOURCE_EXHAUSTED, 429},
        {StatusCode::FAILED_PRECONDITION, 400},
        {StatusCode::ABORTED, 409},
        {StatusCode::OUT_OF_RANGE, 400},
        {StatusCode::UNIMPLEMENTED, 501},
        {StatusCode::INTERNAL, 500},
        {StatusCode::UNAVAILABLE, 503},
        {StatusCode::DATA_LOSS, 500},
        {StatusCode::UNAUTHENTICATED, 401},
    };
    for (const auto& [code, status] : table) {
        EXPECT_EQ(rest::http_status(code), status) << code;
    }
}

TEST(Answers, Refusal_isCodeMessageAndDetails) {
    const auto answer = rest::refusal(grpc::Status(StatusCode::NOT_FOUND, "no \"a\xff\""));
    EXPECT_EQ(answer.status, 404);
    EXPECT_EQ(answer.body, "{\"code\":5,\"message\":\"no \\\"a\xEF\xBF\xBD\\\"\",\"details\":[]}");
}

TEST(Answers, ParseTimeout_table) {
    using std::chrono::milliseconds;
    const std::pair<const char*, core::Nanos> good[] = {{"5S", milliseconds(5000)},
                                                        {"250m", milliseconds(250)},
                                                        {"1000000u", milliseconds(1000)},
                                                        {"1M", milliseconds(60'000)},
                                                        {"99999999n", core::Nanos(99'999'999)},
                                                        {"99999999H", rest::kLongestDeadline},
                                                        {"11M", rest::kLongestDeadline}};
    for (const auto& [text, wait] : good) {
        const auto parsed = rest::parse_timeout(text);
        ASSERT_TRUE(parsed) << text;
        EXPECT_EQ(*parsed, wait) << text;
    }
    for (const char* bad : {"", "S", "5", "5s", "-5S", "0S", "5 S", "5SS", "123456789S", "5.5S"}) {
        EXPECT_FALSE(rest::parse_timeout(bad)) << bad;
    }
}

}  // namespace

}  // namespace remora::test
