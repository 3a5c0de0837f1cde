// SPDX-License-Identifier: Apache-2.0
// The audit log and calls over HTTP: the client that is named is the one at the other end of the
// HTTP connection, whatever headers it sends.
#include <httplib.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rest/server.h"
#include "tests/unit/control/audit_sink.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

/// The lines outlive the server, so they are a base that is made first.
struct AuditLines {
    MemorySink::Lines lines;
};

class RestAuditTest : private AuditLines, public GrpcTest {
  public:
    RestAuditTest() : GrpcTest(*control::AuditLog::start(std::make_unique<MemorySink>(lines), 0)) {
        serve();
    }

    /// Serves at `address`, sends one POST that makes a volume, and gives its two records.
    std::vector<json> records_of_a_post(const std::string& host, const std::string& address) {
        const auto rest = rest::Server::start(address, server().channel(), server().services());
        if (!rest) {
            return {};
        }
        httplib::Client client(
            host, std::stoi((*rest)->address().substr((*rest)->address().rfind(':') + 1)));
        const httplib::Headers forged{{"X-Remora-Http-Peer", "10.9.8.7:6"},
                                      {"Grpc-Metadata-X-Remora-Http-Peer", "10.9.8.7:6"},
                                      {"X-Forwarded-For", "10.9.8.7"},
                                      {"REMOTE_ADDR", "10.9.8.7"},
                                      {"REMOTE_PORT", "6"}};
        const auto answer =
            client.Post("/v1/mallocVolumes?malloc_volume_id=a", forged,
                        R"({"blockSize": "512", "blocksCount": 1024})", "application/json");
        EXPECT_TRUE(answer && answer->status == 200);
        auto out = lines.records();
        out.erase(out.begin());
        return out;
    }
};

TEST_F(RestAuditTest, Change_overHttp_namesTheHttpClient) {
    const auto seen = records_of_a_post("127.0.0.1", "127.0.0.1:0");

    ASSERT_EQ(seen.size(), 2);
    EXPECT_EQ(seen[1]["via"], "rest");
    EXPECT_EQ(seen[1]["code"], "OK");
    EXPECT_EQ(seen[1]["resource"], "volumes/a");
    for (const json& each : seen) {
        EXPECT_THAT(each["peer"].get<std::string>(), MatchesRegex("127\\.0\\.0\\.1:[0-9]+"));
        EXPECT_THAT(each.dump(), Not(HasSubstr("10.9.8.7")));
    }
}

TEST_F(RestAuditTest, Change_overIpv6_hasTheAddressInBrackets) {
    const auto seen = records_of_a_post("::1", "[::1]:0");
    if (seen.empty()) {
        GTEST_SKIP() << "this machine has no ::1";
    }

    ASSERT_EQ(seen.size(), 2);
    EXPECT_THAT(seen[1]["peer"].get<std::string>(), MatchesRegex("\\[::1\\]:[0-9]+"));
}

}  // namespace

}  // namespace remora::test
