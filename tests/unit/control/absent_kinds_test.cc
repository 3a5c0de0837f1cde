// SPDX-License-Identifier: Apache-2.0
// All of OPI's methods over gRPC: each checks its request first. Those of kinds that this build has
// not (virtio-scsi) say so, with what to do instead, and answer questions as if
// none of the kind had been made.
#include <set>
#include <string>
#include <vector>

#include "google/api/field_behavior.pb.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using enum grpc::StatusCode;

const std::string kStorage = "opi_api.storage.v1.";

std::vector<const MethodDescriptor*> methods_of(const std::string& service) {
    const ServiceDescriptor* found =
        DescriptorPool::generated_pool()->FindServiceByName(kStorage + service);
    std::vector<const MethodDescriptor*> methods;
    for (int i = 0; found != nullptr && i < found->method_count(); ++i) {
        methods.push_back(found->method(i));
    }
    return methods;
}

bool requires_something(const MethodDescriptor& method) {
    for (int i = 0; i < method.input_type()->field_count(); ++i) {
        const auto& options = method.input_type()->field(i)->options();
        for (int k = 0; k < options.ExtensionSize(google::api::field_behavior); ++k) {
            if (options.GetExtension(google::api::field_behavior, k) == google::api::REQUIRED) {
                return true;
            }
        }
    }
    return false;
}

TEST_F(GrpcTest, EveryStorageMethod_missesTheRequiredFieldsFirst) {
    serve();
    int count = 0;
    for (const char* service :
         {"AioVolumeService", "FrontendNvmeService", "FrontendVirtioBlkService",
          "FrontendVirtioScsiService", "MallocVolumeService", "MiddleendEncryptionService",
          "MiddleendQosVolumeService", "NullVolumeService", "NvmeRemoteControllerService"}) {
        for (const MethodDescriptor* method : methods_of(service)) {
            const grpc::Status status = call(method->full_name(), "", nullptr);
            const bool required = requires_something(*method);
            EXPECT_EQ(status.error_code(), required ? INVALID_ARGUMENT : OK)
                << method->full_name() << ": " << status.error_message();
            EXPECT_EQ(status.error_message().starts_with("missing required field: "), required)
                << method->full_name() << ": " << status.error_message();
            ++count;
        }
    }
    EXPECT_EQ(count, 87);
}

struct Row {
    std::string method;  ///< With its service.
    std::string request;
    grpc::StatusCode code = OK;
    std::string sentence;  ///< A part of it.
};

/// What is the same for all kinds. `resource` is a whole one without its name.
struct AbsentKindRow {
    std::string service;
    std::string singular, plural;  ///< As in the methods' names.
    std::string field;             ///< As in the requests.
    std::string resource;
    std::string half;     ///< A resource that lacks a field,
    std::string lacking;  ///< this one.
    std::string noun;
    std::string name;   ///< A name of the kind in the spelling of its REST routes,
    std::string named;  ///< and in the one that is returned.
    std::string instead;
};

std::vector<Row> rows_of(const AbsentKindRow& kind) {
    const auto method = [&](const std::string& verb, bool many = false) {
        return kind.service + "." + verb + (many ? kind.plural : kind.singular);
    };
    const auto with = [&](const std::string& inside) { return kind.field + " { " + inside + " }"; };
    const std::string id = kind.field + "_id: ";
    const std::string none = "this build of Remora has no " + kind.noun + "s; " + kind.instead;
    const std::string missing = "there is no " + kind.noun + " named " + kind.named;
    const std::string name = "name: \"" + kind.name + "\"";
    const std::string list = "parent: \"todo\" ";
    std::vector<Row> rows{
        {method("Create"), with(kind.resource), UNIMPLEMENTED, none},
        {method("Create"), with(kind.resource) + id + "\"x-1\"", UNIMPLEMENTED, none},
        {method("Create"), with(kind.resource) + id + "\"X_1\"", INVALID_ARGUMENT, "_id: \"X_1\""},
        {method("Update"), with(kind.resource + name), UNIMPLEMENTED, none},
        {method("Update"), with(kind.resource + name) + "update_mask { paths: \"*\" }",
         UNIMPLEMENTED, none},
        {method("Update"), with(kind.resource + name) + "allow_missing: true", UNIMPLEMENTED, none},
        {method("Update"), with(kind.resource + "name: \"-no\""), INVALID_ARGUMENT, "\"-no\""},
        {method("Stats"), name, UNIMPLEMENTED, none},
        {method("Stats"), "name: \"a//b\"", INVALID_ARGUMENT, "\"a//b\""},
        {method("Get"), name, NOT_FOUND, missing},
        {method("Get"), "name: \"" + kind.named + "\"", NOT_FOUND, missing},
        {method("Get"), "name: \"-no\"", INVALID_ARGUMENT, "\"-no\""},
        {method("Delete"), name, NOT_FOUND, missing},
        {method("Delete"), name + " allow_missing: true", OK, ""},
        {method("Delete"), "name: \"-no\" allow_missing: true", INVALID_ARGUMENT, "\"-no\""},
        {method("Delete"), "allow_missing: true", INVALID_ARGUMENT, "required field: name"},
        {method("List", true), list, OK, ""},
        {method("List", true), "parent: \"volumes\" page_size: 251", OK, ""},
        {method("List", true), "page_size: 1", INVALID_ARGUMENT, "required field: parent"},
        {method("List", true), list + "page_size: -1", INVALID_ARGUMENT, "page_size: -1"},
        {method("List", true), list + "page_token: \"12\"", NOT_FOUND, "pagination token 12"}};
    if (!kind.half.empty()) {
        const std::string lacking = "required field: " + kind.field + "." + kind.lacking;
        rows.push_back({method("Create"), with(kind.half), INVALID_ARGUMENT, lacking});
        rows.push_back({method("Update"), with(kind.half + name), INVALID_ARGUMENT, lacking});
    }
    return rows;
}

const std::string kVirtioBlk =
    "show the volume as a virtio-blk device (FrontendVirtioBlkService CreateVirtioBlk)";
// What godpu sends: port 3, PF 1, VF 2.
const std::string kPlace =
    "pcie_id { port_id { value: 3 } physical_function { value: 1 } virtual_function { value: 2 } }";

const std::vector<AbsentKindRow> kKinds{
    {"FrontendVirtioScsiService", "VirtioScsiTarget", "VirtioScsiTargets", "virtio_scsi_target",
     "max_luns: 4 ", "", "", "virtio-scsi target", "virtioScsiTargets/t", "virtioScsiTargets/t",
     kVirtioBlk},
    {"FrontendVirtioScsiService", "VirtioScsiController", "VirtioScsiControllers",
     "virtio_scsi_controller", kPlace + " ", "min_limit { rd_iops_kiops: 1 } ", "pcie_id",
     "virtio-scsi controller", "virtioScsiControllers/c", "volumes/c", kVirtioBlk},
    {"FrontendVirtioScsiService", "VirtioScsiLun", "VirtioScsiLuns", "virtio_scsi_lun",
     "target_name_ref: \"t\" volume_name_ref: \"Malloc0\" ", "target_name_ref: \"t\" ",
     "volume_name_ref", "virtio-scsi LUN", "virtioScsiLuns/l", "volumes/l", kVirtioBlk}};

TEST_F(GrpcTest, AbsentKinds_answerConsistently) {
    serve();
    std::set<std::string> called;
    for (const AbsentKindRow& kind : kKinds) {
        for (const Row& row : rows_of(kind)) {
            SCOPED_TRACE(row.method + " " + row.request);
            std::string answer;

            const grpc::Status status = call(kStorage + row.method, row.request, &answer);

            EXPECT_EQ(status.error_code(), row.code) << status.error_message();
            EXPECT_NE(status.error_message().find(row.sentence), std::string::npos)
                << status.error_message();
            EXPECT_EQ(answer, "");  // an empty list and an empty message are the same in text
            called.insert(kStorage + row.method);
        }
    }
    for (const MethodDescriptor* method : methods_of("FrontendVirtioScsiService")) {
        EXPECT_TRUE(called.contains(method->full_name())) << method->full_name();
    }
}

TEST_F(GrpcTest, EncryptedVolume_isMadeAndListed_withoutItsKey) {
    serve();
    const std::string service = kStorage + "MiddleendEncryptionService.";
    const std::string key = "0123456789abcdef0123456789abcdeF";
    ASSERT_TRUE(call(kStorage + "MallocVolumeService.CreateMallocVolume",
                     R"(malloc_volume: { block_size: 512 blocks_count: 64 } malloc_volume_id: "v")",
                     nullptr)
                    .ok());
    const auto create = [&](const std::string& with, std::string* answer) {
        return call(service + "CreateEncryptedVolume",
                    R"(encrypted_volume_id: "e" encrypted_volume { volume_name_ref: "v" key: ")" +
                        with + R"(" cipher: ENCRYPTION_TYPE_AES_XTS_128 })",
                    answer);
    };

    std::string made;
    EXPECT_TRUE(create(key, &made).ok());
    const grpc::Status other = create(key.substr(1) + "G", nullptr);
    const grpc::Status shorter = create(key.substr(1), nullptr);
    std::string listed;
    EXPECT_TRUE(call(service + "ListEncryptedVolumes", R"(parent: "todo")", &listed).ok());

    EXPECT_EQ(other.error_code(), ALREADY_EXISTS);
    EXPECT_EQ(shorter.error_code(), INVALID_ARGUMENT);
    EXPECT_NE(listed.find(R"(name: "volumes/e")"), std::string::npos) << listed;
    for (const std::string& text : {made, listed, other.error_message(), shorter.error_message()}) {
        EXPECT_EQ(text.find("123456789abcdef"), std::string::npos) << text;
        EXPECT_EQ(text.find("key: \""), std::string::npos) << text;
    }
}

TEST_F(GrpcTest, QosVolume_isMadeAndListed) {
    serve();
    const std::string service = kStorage + "MiddleendQosVolumeService.";
    ASSERT_TRUE(call(kStorage + "MallocVolumeService.CreateMallocVolume",
                     R"(malloc_volume_id: "v" malloc_volume { block_size: 512 blocks_count: 64 })",
                     nullptr)
                    .ok());

    const grpc::Status made = call(service + "CreateQosVolume",
                                   R"(qos_volume_id: "q" qos_volume { volume_name_ref: "v" )"
                                   R"(limits { max { rw_iops_kiops: 1 } } })",
                                   nullptr);
    EXPECT_TRUE(made.ok()) << made.error_message();

    std::string listed;
    EXPECT_TRUE(call(service + "ListQosVolumes", R"(parent: "todo")", &listed).ok());
    EXPECT_NE(listed.find(R"(name: "volumes/q")"), std::string::npos) << listed;
}

}  // namespace

}  // namespace remora::test
