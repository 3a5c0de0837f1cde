// SPDX-License-Identifier: Apache-2.0
// The audit log: what is said of a request, and which records a call leaves.
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <google/protobuf/dynamic_message.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "control/audit_log.h"
#include "control/audit_text.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/middleend_encryption.pb.h"
#include "tests/unit/control/audit_sink.h"

namespace remora::test {

namespace {

namespace opi = opi_api::storage::v1;

using control::AuditLog;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::UnorderedElementsAre;

std::string as_json(std::string_view text, std::size_t limit = control::kAuditTextLimit) {
    std::string out;
    control::append_json_text(out, text, limit);
    return out;
}

const MethodDescriptor& method(const std::string& name) {
    const auto* found = google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name);
    EXPECT_NE(found, nullptr) << name;
    return *found;
}

const MethodDescriptor& create_malloc() {
    return method("opi_api.storage.v1.MallocVolumeService.CreateMallocVolume");
}

opi::CreateMallocVolumeRequest malloc_request(const std::string& id) {
    opi::CreateMallocVolumeRequest request;
    request.set_malloc_volume_id(id);
    return request;
}

/// Every audited method of what the server serves.
std::vector<const MethodDescriptor*> audited_methods() {
    std::vector<const MethodDescriptor*> out;
    for (const auto* file : {remora::v1::AttachVolumeRequest::descriptor()->file(),
                             opi::CreateMallocVolumeRequest::descriptor()->file(),
                             opi::CreateNvmeSubsystemRequest::descriptor()->file(),
                             opi::CreateNvmeRemoteControllerRequest::descriptor()->file(),
                             opi::CreateEncryptedVolumeRequest::descriptor()->file()}) {
        for (int i = 0; i < file->service_count(); ++i) {
            for (int k = 0; k < file->service(i)->method_count(); ++k) {
                if (control::is_audited(*file->service(i)->method(k))) {
                    out.push_back(file->service(i)->method(k));
                }
            }
        }
    }
    return out;
}

/// Sets every field to something that can be found again: texts and bytes hold the field's name.
void fill(google::protobuf::Message& message, int depth) {
    const auto& reflection = *message.GetReflection();
    for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
        const FieldDescriptor& field = *message.GetDescriptor()->field(i);
        if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
            const std::string text = "<" + field.full_name() + ">";
            if (field.is_repeated()) {
                reflection.AddString(&message, &field, text);
            } else {
                reflection.SetString(&message, &field, text);
            }
        } else if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE && depth < 6) {
            fill(field.is_repeated() ? *reflection.AddMessage(&message, &field)
                                     : *reflection.MutableMessage(&message, &field),
                 depth + 1);
        }
    }
}

void collect_secrets(const google::protobuf::Descriptor& message, std::set<std::string>& out) {
    for (int i = 0; i < message.field_count(); ++i) {
        const FieldDescriptor& field = *message.field(i);
        if (control::is_secret(field)) {
            out.insert(field.full_name());
        } else if (field.message_type() != nullptr) {
            collect_secrets(*field.message_type(), out);
        }
    }
}

TEST(AuditText, Text_ofAHostileClient_isOnePrintableLine) {
    EXPECT_EQ(as_json("plain name-1"), R"("plain name-1")");
    EXPECT_EQ(as_json("\"a\\b\""), R"("\"a\\b\"")");
    EXPECT_EQ(as_json(std::string("\n\r\t\0\x1b[2J\x7f", 9)),
              R"("\u000a\u000d\u0009\u0000\u001b[2J\u007f")");
    // A newline of Unicode, a letter, and one beyond the first plane.
    EXPECT_EQ(as_json("\xe2\x80\xa8\xc3\xa9\xf0\x9f\x90\x9f"), R"("\u2028\u00e9\ud83d\udc1f")");
}

TEST(AuditText, Text_thatIsNoUtf8_hasAMarkForEachByte) {
    EXPECT_EQ(as_json("\xff"), R"("\ufffd")");
    EXPECT_EQ(as_json("\xc3"), R"("\ufffd")");                      // Cut short.
    EXPECT_EQ(as_json("\xc0\x8a"), R"("\ufffd\ufffd")");            // A newline in disguise.
    EXPECT_EQ(as_json("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")");  // Half a pair.
    EXPECT_EQ(as_json("\xf5\x80\x80\x80"), R"("\ufffd\ufffd\ufffd\ufffd")");
}

TEST(AuditText, Text_thatIsLong_isCutAndSaysSo) {
    EXPECT_EQ(as_json("abcd", 4), R"("abcd")");
    EXPECT_EQ(as_json("abcde", 4), R"x("abcd...(5 bytes)")x");
}

TEST(AuditText, Request_isJsonOfWhatIsSet) {
    opi::CreateMallocVolumeRequest request = malloc_request("v1");
    request.mutable_malloc_volume()->set_block_size(512);
    request.mutable_malloc_volume()->set_blocks_count(1024);

    const auto text = control::audit_text(request);

    EXPECT_FALSE(text.cut);
    EXPECT_EQ(json::parse(text.json),
              (json{{"malloc_volume", {{"block_size", "512"}, {"blocks_count", "1024"}}},
                    {"malloc_volume_id", "v1"}}));
}

TEST(AuditText, Request_thatIsLarge_isCutAndStaysJson) {
    remora::v1::WatchResourcesRequest request;  // The one with a repeated text.
    for (int i = 0; i < 10'000; ++i) {
        request.add_kinds(std::string(1000, '\n'));
    }

    const auto text = control::audit_text(request);

    EXPECT_TRUE(text.cut);
    EXPECT_LT(text.json.size(), control::kAuditRequestLimit + 2048);
    EXPECT_TRUE(json::accept(text.json));
}

// Who adds a field that holds a secret sees this fail, and so does who adds one that looks so.
TEST(AuditText, SecretFields_ofAllRequests_areThese) {
    std::set<std::string> secrets;
    for (const MethodDescriptor* each : audited_methods()) {
        collect_secrets(*each->input_type(), secrets);
    }
    EXPECT_THAT(secrets, UnorderedElementsAre("opi_api.storage.v1.EncryptedVolume.key",
                                              "opi_api.storage.v1.NvmeSubsystemSpec.psk",
                                              "opi_api.storage.v1.NvmeSubsystemStatus.fru_guid",
                                              "opi_api.storage.v1.TcpController.psk",
                                              "remora.v1.RekeyVolumeRequest.key"));
}

TEST(AuditText, Requests_withEveryFieldSet_showNoSecret) {
    auto& factory = *google::protobuf::MessageFactory::generated_factory();
    int left_out = 0;
    for (const MethodDescriptor* each : audited_methods()) {
        const std::unique_ptr<google::protobuf::Message> request(
            factory.GetPrototype(each->input_type())->New());
        fill(*request, 0);
        std::set<std::string> secrets;
        collect_secrets(*each->input_type(), secrets);

        const std::string text = control::audit_text(*request).json;

        for (const std::string& secret : secrets) {
            EXPECT_THAT(text, Not(HasSubstr("<" + secret + ">"))) << each->full_name();
            left_out += text.find("\"(secret)\"") != std::string::npos ? 1 : 0;
        }
        EXPECT_TRUE(json::accept(text)) << each->full_name();
    }
    EXPECT_GE(left_out, 6);  // Create and Update of three kinds at least.
}

TEST(AuditText, Methods_thatAreNoGet_areAudited) {
    EXPECT_TRUE(control::is_audited(create_malloc()));
    EXPECT_TRUE(control::is_audited(method("remora.v1.RemoraService.RunBenchmark")));
    EXPECT_FALSE(control::is_audited(method("remora.v1.RemoraService.WatchResources")));
    EXPECT_FALSE(
        control::is_audited(method("opi_api.storage.v1.MallocVolumeService.StatsMallocVolume")));
    for (const MethodDescriptor* each : audited_methods()) {
        EXPECT_FALSE(each->name().starts_with("Get") || each->name().starts_with("List") ||
                     each->name().starts_with("Stats"))
            << each->full_name();
    }
}

TEST(AuditText, Resource_isFoundInEveryShapeOfRequest) {
    opi::CreateNvmeControllerRequest child;
    child.set_parent("nvmeSubsystems/s");
    child.set_nvme_controller_id("c");
    opi::UpdateMallocVolumeRequest update;
    update.mutable_malloc_volume()->set_name("mallocVolumes/m");
    opi::DeleteMallocVolumeRequest remove;
    remove.set_name("mallocVolumes/d");
    remora::v1::SetPathPolicyRequest policy;
    policy.set_remote_controller("nvmeRemoteControllers/r");
    opi::CreateMallocVolumeRequest nameless;

    EXPECT_EQ(control::audited_resource(child), "nvmeSubsystems/s/c");
    EXPECT_EQ(control::audited_resource(update), "mallocVolumes/m");
    EXPECT_EQ(control::audited_resource(remove), "mallocVolumes/d");
    EXPECT_EQ(control::audited_resource(policy), "nvmeRemoteControllers/r");
    EXPECT_EQ(control::audited_resource(malloc_request("x")), "x");
    EXPECT_EQ(control::audited_resource(nameless), "");
}

TEST(AuditLog, Call_leavesABeginThatIsDurableAndAnEnd) {
    MemorySink::Lines lines;
    const auto log = *AuditLog::start(std::make_unique<MemorySink>(lines), 41);
    opi::MallocVolume made;
    made.set_name("mallocVolumes/a");

    auto entry = log->begin({"grpc", "127.0.0.1:1", "CN=x"}, create_malloc(), malloc_request("a"));
    ASSERT_TRUE(entry);
    entry->end(grpc::Status::OK, made, false);
    entry->end(grpc::Status::CANCELLED, made, false);  // Ended already: leaves nothing.

    const auto records = lines.records();
    ASSERT_EQ(records.size(), 3);
    EXPECT_EQ(records[0]["event"], "start");
    EXPECT_EQ(records[0]["seq"], 42);
    EXPECT_EQ(records[1]["event"], "begin");
    EXPECT_EQ(records[1]["seq"], 43);
    EXPECT_EQ(records[1]["identity"], "CN=x");
    EXPECT_EQ(records[1]["resource"], "a");
    EXPECT_EQ(records[1]["request"]["malloc_volume_id"], "a");
    EXPECT_EQ(records[2]["event"], "end");
    EXPECT_EQ(records[2]["seq"], 43);
    EXPECT_EQ(records[2]["code"], "OK");
    EXPECT_EQ(records[2]["resource"], "mallocVolumes/a");
    EXPECT_EQ(records[2]["peer"], "127.0.0.1:1");
    EXPECT_FALSE(records[2].contains("client"));
    EXPECT_THAT(lines.durable(), ElementsAre(true, true, false));
    const std::string time = records[2]["time"];
    EXPECT_THAT(time, testing::MatchesRegex("20[0-9]{2}-[01][0-9]-[0-3][0-9]T"
                                            "[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9]{3}Z"));
}

TEST(AuditLog, Failure_isNamedWithItsSentence) {
    MemorySink::Lines lines;
    const auto log = *AuditLog::start(std::make_unique<MemorySink>(lines), 0);

    auto entry = log->begin({"grpc", "", ""}, create_malloc(), malloc_request("a"));
    ASSERT_TRUE(entry);
    entry->end({grpc::StatusCode::ALREADY_EXISTS, "a is\nthere"}, opi::MallocVolume(), true);

    const json end = lines.records().back();
    EXPECT_EQ(end["code"], "ALREADY_EXISTS");
    EXPECT_EQ(end["message"], "a is\nthere");
    EXPECT_EQ(end["client"], "gone");
}

TEST(AuditLog, Begin_thatCannotBeWritten_isRefusedUntilItCan) {
    MemorySink::Lines lines;
    const auto log = *AuditLog::start(std::make_unique<MemorySink>(lines), 0);

    lines.fail(true);
    const auto refused = log->begin({"grpc", "", ""}, create_malloc(), malloc_request("a"));
    lines.fail(false);
    const auto taken = log->begin({"grpc", "", ""}, create_malloc(), malloc_request("b"));

    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().kind, core::ErrorKind::ResourceExhausted);
    EXPECT_TRUE(taken);
}

}  // namespace

}  // namespace remora::test
