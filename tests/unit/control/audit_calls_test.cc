// SPDX-License-Identifier: Apache-2.0
// The audit log behind the gRPC server: which calls leave what, whoever makes them.
#include <latch>
#include <thread>

#include <gmock/gmock.h>

#include "tests/unit/control/audit_sink.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::MatchesRegex;
using testing::Not;

constexpr const char* kCreateMalloc = "opi_api.storage.v1.MallocVolumeService.CreateMallocVolume";

/// The lines outlive the server, so they are a base that is made first.
struct AuditLines {
    MemorySink::Lines lines;
};

class AuditCallsTest : private AuditLines, public GrpcTest {
  public:
    AuditCallsTest()
        : GrpcTest(*control::AuditLog::start(std::make_unique<MemorySink>(lines), 0)) {}

    /// Without the `start`.
    std::vector<json> records() {
        auto out = lines.records();
        out.erase(out.begin());
        return out;
    }
    void fail_sink(bool on) { lines.fail(on); }
    grpc::Status create(const std::string& id) {
        return call(
            kCreateMalloc,
            "malloc_volume { block_size: 512 blocks_count: 1024 } malloc_volume_id: '" + id + "'",
            nullptr);
    }
};

TEST_F(AuditCallsTest, Change_leavesTwoRecordsWithItsClientAndOutcome) {
    serve();

    ASSERT_TRUE(create("a").ok());

    const auto seen = records();
    ASSERT_EQ(seen.size(), 2);
    EXPECT_EQ(seen[0]["event"], "begin");
    EXPECT_EQ(seen[1]["event"], "end");
    EXPECT_EQ(seen[0]["seq"], seen[1]["seq"]);
    EXPECT_EQ(seen[1]["method"], kCreateMalloc);
    EXPECT_EQ(seen[1]["resource"], "volumes/a");
    EXPECT_EQ(seen[1]["code"], "OK");
    EXPECT_EQ(seen[1]["via"], "grpc");
    EXPECT_THAT(seen[1]["peer"].get<std::string>(), MatchesRegex("127\\.0\\.0\\.1:[0-9]+"));
    EXPECT_EQ(seen[0]["request"]["malloc_volume"]["blocks_count"], "1024");
}

TEST_F(AuditCallsTest, Refusals_areThereAsWell) {
    EXPECT_FALSE(create("early").ok());
    serve();
    EXPECT_FALSE(create("No Such Id").ok());
    EXPECT_FALSE(call("opi_api.storage.v1.MallocVolumeService.DeleteMallocVolume",
                      "name: 'mallocVolumes/none'", nullptr)
                     .ok());

    const auto seen = records();
    ASSERT_EQ(seen.size(), 6);
    EXPECT_EQ(seen[1]["code"], "UNAVAILABLE");
    EXPECT_EQ(seen[3]["code"], "INVALID_ARGUMENT");
    EXPECT_THAT(seen[3]["message"].get<std::string>(), HasSubstr("No Such Id"));
    EXPECT_EQ(seen[5]["code"], "NOT_FOUND");
    EXPECT_EQ(seen[5]["resource"], "mallocVolumes/none");
}

TEST_F(AuditCallsTest, Questions_leaveNothing) {
    serve();

    EXPECT_TRUE(call("remora.v1.RemoraService.GetStatus", "", nullptr).ok());
    EXPECT_TRUE(call("opi_api.storage.v1.MallocVolumeService.ListMallocVolumes", "", nullptr).ok());
    EXPECT_FALSE(call("opi_api.storage.v1.MallocVolumeService.GetMallocVolume",
                      "name: 'mallocVolumes/none'", nullptr)
                     .ok());
    EXPECT_FALSE(call("remora.v1.RemoraService.SetConnectionTimings",
                      "remote_controller: 'nvmeRemoteControllers/none'", nullptr)
                     .ok());

    EXPECT_TRUE(records().empty());

    EXPECT_FALSE(call("remora.v1.RemoraService.SetConnectionTimings",
                      "remote_controller: 'nvmeRemoteControllers/none' io_ms: 0", nullptr)
                     .ok());
    EXPECT_EQ(records().size(), 2);
}

TEST_F(AuditCallsTest, Change_thatCannotBeWrittenDown_isNotMade) {
    serve();
    fail_sink(true);

    const grpc::Status refused = create("a");
    std::string listed;
    EXPECT_TRUE(call("opi_api.storage.v1.MallocVolumeService.ListMallocVolumes", "", &listed).ok());
    fail_sink(false);

    EXPECT_EQ(refused.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(refused.error_message(), HasSubstr("audit log"));
    EXPECT_EQ(listed, "");
    EXPECT_TRUE(create("a").ok());
}

TEST_F(AuditCallsTest, Outcome_thatNobodyWaitsFor_isWrittenWhenItIsThere) {
    serve();
    std::latch busy(1);
    std::latch release(1);
    control_reactor().post_function([&] {
        busy.count_down();
        release.wait();
    });
    busy.wait();

    grpc::ClientContext context;
    std::thread client([&] {
        api::Attachment disk;
        EXPECT_FALSE(stub_->AttachVolume(&context, PlaneFixture::attach_request(1, 0), &disk).ok());
    });
    while (records().empty()) {  // The server's thread has taken the call.
        std::this_thread::yield();
    }
    context.TryCancel();
    client.join();
    server().stop();  // Returns when that thread has.
    EXPECT_EQ(records().size(), 1);
    release.count_down();
    while (records().size() < 2) {
        std::this_thread::yield();
    }

    const json end = records().back();
    EXPECT_EQ(end["code"], "OK");
    EXPECT_EQ(end["resource"], "attachments/0");
    EXPECT_EQ(end["client"], "gone");
}

TEST_F(AuditCallsTest, HttpPeer_thatAClientOfTheNetworkClaims_isNotBelieved) {
    serve();
    google::protobuf::Empty nothing;
    grpc::ClientContext context;
    context.AddMetadata("x-remora-http-peer", "10.9.8.7:6");
    context.AddMetadata("x-remora-in-process", std::string(64, '0'));
    (void)stub_->DetachVolume(&context, api::DetachVolumeRequest(), &nothing);

    const json end = records().back();
    EXPECT_EQ(end["via"], "grpc");
    EXPECT_THAT(end.dump(), Not(HasSubstr("10.9.8.7")));
}

TEST_F(AuditCallsTest, Secrets_ofRequestsThatFailAndSucceed_areNowhere) {
    serve();
    const std::string secret = "NotToBeSeenAnywhere-0123456789ab";
    const auto send = [&](const std::string& method, const std::string& text) {
        (void)call(method, text, nullptr);
    };
    send("opi_api.storage.v1.MiddleendEncryptionService.CreateEncryptedVolume",
         "encrypted_volume { volume_name_ref: 'mallocVolumes/none' key: '" + secret +
             "' cipher: ENCRYPTION_TYPE_AES_XTS_128 } encrypted_volume_id: 'e'");
    send("opi_api.storage.v1.FrontendNvmeService.CreateNvmeSubsystem",
         "nvme_subsystem { spec { nqn: 'nqn.2024-01.io.remora:s' psk: '" + secret + "' } }");
    send("opi_api.storage.v1.NvmeRemoteControllerService.CreateNvmeRemoteController",
         "nvme_remote_controller { multipath: NVME_MULTIPATH_DISABLE tcp { psk: '" + secret +
             "' } }");

    const auto seen = records();
    ASSERT_EQ(seen.size(), 6);
    for (const json& each : seen) {
        EXPECT_THAT(each.dump(), Not(HasSubstr("NotToBeSeen")));
    }
    EXPECT_EQ(seen[2]["request"]["nvme_subsystem"]["spec"]["psk"], "(secret)");
}

}  // namespace

}  // namespace remora::test
