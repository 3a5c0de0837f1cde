// SPDX-License-Identifier: Apache-2.0
// Rules about bad input that one field alone does not show: what another object has already, what
// does not fit the parent, tokens and names of something else.
#include "control/validate.h"
#include "tests/unit/control/bad_input_rows.h"
#include "tests/unit/control/grpc_fixture.h"

namespace remora::test {

namespace {

using enum grpc::StatusCode;

struct Row {
    std::string method;   ///< Without its service.
    std::string request;  ///< Put on top of the good request, or in its place where that is empty.
    grpc::StatusCode code;
    std::string sentence;  ///< A part of it.
    bool alone = false;    ///< `request` is all of it.
};

class BadInputRules : public GrpcTest {
  public:
    BadInputRules() {
        serve();
        for (const auto& [name, text] : world_calls()) {
            static_cast<void>(call(full_name(name), text, nullptr));
        }
    }
    static std::string full_name(const std::string& name) {
        for (const auto* method : served_methods()) {
            if (method->name() == name) {
                return method->full_name();
            }
        }
        return name;
    }
    void expect(const std::vector<Row>& rows) {
        const auto good = good_requests();
        for (const Row& row : rows) {
            const std::string before = everything();
            // A field that is written twice has the later value.
            const std::string text = row.alone ? row.request : good.at(row.method).text;
            const std::string merged = row.alone ? text : merge(row.method, text, row.request);
            const grpc::Status status = call(full_name(row.method), merged, nullptr);
            EXPECT_EQ(status.error_code(), row.code)
                << row.method << " " << row.request << ": " << status.error_message();
            EXPECT_NE(status.error_message().find(row.sentence), std::string::npos)
                << row.method << " " << row.request << ": " << status.error_message();
            EXPECT_EQ(everything(), before) << row.method << " " << row.request;
        }
    }

  private:
    static std::string merge(const std::string& method,
                             const std::string& good,
                             const std::string& patch) {
        const auto* type = google::protobuf::DescriptorPool::generated_pool()
                               ->FindMethodByName(full_name(method))
                               ->input_type();
        auto& factory = *google::protobuf::MessageFactory::generated_factory();
        const std::unique_ptr<google::protobuf::Message> message(factory.GetPrototype(type)->New());
        EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(good, message.get())) << good;
        const std::unique_ptr<google::protobuf::Message> on_top(message->New());
        EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(patch, on_top.get())) << patch;
        message->MergeFrom(*on_top);
        return message->ShortDebugString();
    }
};

const std::string kTaken = "nqn.2024-01.org.example:s0";

TEST_F(BadInputRules, WhatAnotherHas_isNotGivenTwice) {
    const std::string uuid_of_m0 = [this] {
        std::string answer;
        call(full_name("GetMallocVolume"), "name: \"m0\"", &answer);
        const auto at = answer.find("uuid: \"") + 7;
        return answer.substr(at, 36);
    }();
    expect({
        {"CreateNvmeSubsystem", "nvme_subsystem { spec { nqn: \"" + kTaken + "\" } }",
         ALREADY_EXISTS, "nvmeSubsystems/s0"},
        {"CreateNvmeController", "nvme_controller { spec { fabrics_id { trsvcid: \"4421\" } } }",
         ALREADY_EXISTS, "nvmeControllers/c0"},
        {"CreateNvmeNamespace",
         "parent: \"nvmeSubsystems/s0\" nvme_namespace { spec { host_nsid: 1 } }", ALREADY_EXISTS,
         "nvmeNamespaces/ns0"},
        {"CreateNvmePath", "parent: \"nvmeRemoteControllers/r0\"", ALREADY_EXISTS, "nvmePaths/p0"},
        {"CreateNullVolume", "null_volume { uuid: \"" + uuid_of_m0 + "\" }", ALREADY_EXISTS,
         "mallocVolumes/m0"},
        {"CreateAioVolume", "aio_volume { filename: \"/files/a0\" }", ALREADY_EXISTS, "volumes/a0"},
        {"CreateVirtioBlk", "virtio_blk { pcie_id { physical_function { value: 9 } } }",
         ALREADY_EXISTS, "virtioBlks/d0"},
        {"CreateVirtioBlk", "virtio_blk { pcie_id { physical_function { value: 3 } } }",
         ALREADY_EXISTS, "attachments/3"},
        {"CreateVirtioBlk", "virtio_blk { volume_name_ref: \"n1\" }", FAILED_PRECONDITION,
         "virtioBlks/d0"},
        {"CreateVirtioBlk", "virtio_blk { volume_name_ref: \"m1\" }", FAILED_PRECONDITION,
         "nvmeNamespaces/ns0"},
        {"CreateQosVolume", "qos_volume { volume_name_ref: \"m2\" }", ALREADY_EXISTS,
         "qosVolumes/q0"},
        {"AttachVolume", "host_function: 9", ALREADY_EXISTS, "virtioBlks/d0"},
        {"AttachVolume", "host_function: 3", ALREADY_EXISTS, "attachments/3"},
        {"AttachVolume", "volume_uuid: \"11000000-0000-0000-0000-000000000001\"", ALREADY_EXISTS,
         "detach it first"},
        {"RunBenchmark", "volume_name_ref: \"n1\" pattern: PATTERN_WRITE", FAILED_PRECONDITION,
         "virtioBlks/d0"},
        // The id of one that is there, for another.
        {"CreateMallocVolume", "malloc_volume_id: \"m0\"", ALREADY_EXISTS, "blocks_count"},
        {"CreateNvmeSubsystem", "nvme_subsystem_id: \"s0\"", ALREADY_EXISTS, "spec.nqn"},
    });
}

TEST_F(BadInputRules, WhatIsUsed_isNotDeleted) {
    expect({
        {"DeleteMallocVolume", "name: \"volumes/m1\"", FAILED_PRECONDITION, "nvmeNamespaces/ns0"},
        {"DeleteMallocVolume", "name: \"volumes/m2\"", FAILED_PRECONDITION, "qosVolumes/q0"},
        {"DeleteNullVolume", "name: \"volumes/n1\"", FAILED_PRECONDITION, "virtioBlks/d0"},
        {"DeleteNvmeSubsystem", "name: \"nvmeSubsystems/s0\"", FAILED_PRECONDITION,
         "nvmeControllers/c0"},
        {"DeleteNvmeRemoteController", "name: \"nvmeRemoteControllers/r0\"", FAILED_PRECONDITION,
         "nvmePaths/p0"},
        {"DeleteVirtioBlk", "name: \"volumes/attached-3-11000000\"", FAILED_PRECONDITION,
         "attachments/3"},
        {"UpdateNvmeRemoteController",
         "nvme_remote_controller { name: \"nvmeRemoteControllers/r0\" queue_size: 8 }",
         FAILED_PRECONDITION, "nvmePaths/p0"},
    });
}

// Found by the fuzz target `requests`: a smaller size of a file's volume was announced in the store
// before the data plane refused it, and stayed there.
TEST_F(BadInputRules, VolumeThatWouldShrink_isRefusedAndNothingIsStored) {
    const std::string sizes = "block_size: 512 blocks_count: 1 }";
    expect({
        {"UpdateAioVolume", "aio_volume { name: \"aioVolumes/a0\" filename: \"/files/a0\" " + sizes,
         FAILED_PRECONDITION, "does not shrink", true},
        {"UpdateMallocVolume", "malloc_volume { name: \"volumes/m0\" " + sizes, FAILED_PRECONDITION,
         "does not shrink", true},
        {"UpdateNullVolume", "null_volume { name: \"nullVolumes/n0\" " + sizes, FAILED_PRECONDITION,
         "does not shrink", true},
    });
}

TEST_F(BadInputRules, WrongTransport_isSaid) {
    const std::string spec = "nvme_controller { spec { ";
    expect({
        {"CreateNvmeController", spec + "trtype: NVME_TRANSPORT_TYPE_PCIE } }", INVALID_ARGUMENT,
         "spec.pcie_id"},
        {"CreateNvmeController", spec + "trtype: NVME_TRANSPORT_TYPE_RDMA } }", UNIMPLEMENTED,
         "NVME_TRANSPORT_TYPE_TCP"},
        {"CreateNvmeController",
         spec + "pcie_id { port_id {} physical_function {} virtual_function {} } } }",
         INVALID_ARGUMENT, "spec.fabrics_id"},
        {"CreateNvmeController", spec + "fabrics_id { traddr: \"::1\" } } }", INVALID_ARGUMENT,
         "family"},
        {"CreateNvmeController", spec + "fabrics_id { adrfam: NVME_ADDRESS_FAMILY_FC } } }",
         INVALID_ARGUMENT, "family"},
        {"CreateNvmePath", "nvme_path { trtype: NVME_TRANSPORT_TYPE_PCIE }", INVALID_ARGUMENT,
         "fabrics"},
        {"CreateNvmePath", "nvme_path { trtype: NVME_TRANSPORT_TYPE_FC }", UNIMPLEMENTED,
         "NVME_TRANSPORT_TYPE_TCP"},
        {"CreateNvmePath",
         "parent: \"nvmeRemoteControllers/r1\" nvme_path { trtype: NVME_TRANSPORT_TYPE_TCP traddr: "
         "\"10.0.0.1\" }",
         INVALID_ARGUMENT, "fabrics", true},
        {"CreateNvmePath",
         "parent: \"nvmeRemoteControllers/r0\" nvme_path { traddr: \"10.0.0.2\" fabrics { subnqn: "
         "\"nqn.2024-01.org.example:empty\" } }",
         INVALID_ARGUMENT, "one subsystem"},
        {"CreateNvmePath", "nvme_path { traddr: \"10.0.0.2\" }", NOT_FOUND, "10.0.0.2"},
        {"AttachVolume", "discovery { traddr: \"10.0.0.2\" }", UNAVAILABLE, "10.0.0.2"},
    });
}

TEST_F(BadInputRules, NamesOfAnotherKind_areNotFound) {
    expect({
        {"GetNullVolume", "name: \"mallocVolumes/m0\"", NOT_FOUND, "mallocVolumes/m0"},
        {"GetNullVolume", "name: \"volumes/m0\"", NOT_FOUND, "null volume"},
        {"GetNvmeController", "name: \"nvmeSubsystems/s0/nvmeNamespaces/ns0\"", NOT_FOUND, ""},
        {"GetNvmeSubsystem", "name: \"nvmeSubsystems/s0/nvmeControllers/c0\"", NOT_FOUND, ""},
        {"CreateNvmeController", "parent: \"nvmeRemoteControllers/r0\"", NOT_FOUND, "parent"},
        {"CreateNvmePath", "parent: \"nvmeSubsystems/s0\"", NOT_FOUND, "parent"},
        {"ListNvmePaths", "parent: \"nvmeSubsystems/s0\"", NOT_FOUND, "parent"},
        {"CreateVirtioBlk", "virtio_blk { volume_name_ref: \"nullVolumes/m0\" }", NOT_FOUND, ""},
        {"CreateVirtioBlk", "virtio_blk { volume_name_ref: \"r0n9\" }", FAILED_PRECONDITION,
         "r0n9"},
    });
}

// An update of what is missing makes it only under a name that a volume of the kind can have.
TEST_F(BadInputRules, AllowMissing_ofAnotherKindsName_makesNothing) {
    expect({
        {"UpdateNullVolume", "null_volume { name: \"mallocVolumes/x\" } allow_missing: true",
         NOT_FOUND, "mallocVolumes/x"},
        {"UpdateMallocVolume", "malloc_volume { name: \"a/b/c\" } allow_missing: true", NOT_FOUND,
         "a/b/c"},
        {"UpdateAioVolume",
         "aio_volume { name: \"volumes/x/y\" filename: \"/files/x\" } allow_missing: true",
         NOT_FOUND, "volumes/x/y"},
        {"UpdateNullVolume", "null_volume { name: \"volumes/X_\" } allow_missing: true",
         INVALID_ARGUMENT, "X_"},
    });
    std::string made;
    EXPECT_TRUE(call(full_name("UpdateNullVolume"),
                     "null_volume { name: \"nullVolumes/x\" block_size: 512 blocks_count: 8 } "
                     "allow_missing: true",
                     &made)
                    .ok());
    EXPECT_NE(made.find("volumes/x"), std::string::npos) << made;
}

TEST_F(BadInputRules, LimitsOfNonsense_areRefused) {
    const std::string limits = "qos_volume { limits { ";
    expect({
        {"CreateQosVolume",
         "qos_volume { volume_name_ref: \"m0\" limits { max { rw_iops_kiops: 0 } } }",
         INVALID_ARGUMENT, "limits nothing", true},
        {"CreateQosVolume", "qos_volume { volume_name_ref: \"m0\" limits {} }", INVALID_ARGUMENT,
         "limits nothing", true},
        {"CreateQosVolume", limits + "min { rd_iops_kiops: 6 } } }", INVALID_ARGUMENT,
         "rd_iops_kiops"},
        {"CreateQosVolume",
         "qos_volume { volume_name_ref: \"m0\" limits { min { rw_iops_kiops: 91 } } }",
         RESOURCE_EXHAUSTED, "90.0 %", true},
        {"UpdateQosVolume", limits + "min { wr_bandwidth_mbs: -1 } } }", INVALID_ARGUMENT,
         "wr_bandwidth_mbs"},
        {"CreateQosVolume", limits + "max { wr_bandwidth_mbs: 10000001 } } }", INVALID_ARGUMENT,
         "wr_bandwidth_mbs"},
        {"CreateVirtioBlk", "virtio_blk { min_limit { rd_bandwidth_mbs: 11 } }", INVALID_ARGUMENT,
         "rd_bandwidth_mbs"},
        {"CreateNvmeController", "nvme_controller { spec { max_limit { rd_bandwidth_mbs: -1 } } }",
         INVALID_ARGUMENT, "rd_bandwidth_mbs"},
        {"UpdateNvmeController", "nvme_controller { spec { min_limit { wr_iops_kiops: 91 } } }",
         RESOURCE_EXHAUSTED, "91.0 %"},
        {"CreateCapacity", "capacity { mbs: 10000001 }", INVALID_ARGUMENT, "capacity.mbs"},
        {"UpdateCapacity", "capacity { kiops: -1 }", INVALID_ARGUMENT, "capacity.kiops"},
        {"CreateNvmeController", "nvme_controller { spec { sqes: 16 } }", INVALID_ARGUMENT, "sqes"},
        {"UpdateNvmeController", "nvme_controller { spec { max_ncq: -1 } }", INVALID_ARGUMENT,
         "max_ncq"},
        {"CreateNvmeNamespace", "nvme_namespace { spec { host_nsid: 1025 } }", INVALID_ARGUMENT,
         "host_nsid"},
        {"SetConnectionTimings", "connect_ms: 99", INVALID_ARGUMENT, "connect_ms"},
        {"RunBenchmark", "io_bytes: 513", INVALID_ARGUMENT, "io_bytes"},
        {"RunBenchmark", "queue_depth: 1025", INVALID_ARGUMENT, "queue_depth"},
        {"RunBenchmark", "seconds: 3601", INVALID_ARGUMENT, "seconds"},
        {"AttachVolume", "host_function: 64", RESOURCE_EXHAUSTED, "64"},
        // This host has no virtual functions.
        {"AttachVolume", "host_virtual_function: 1", INVALID_ARGUMENT, "no virtual functions"},
        {"AttachVolume", "host_virtual_function: -1", INVALID_ARGUMENT, "host_virtual_function"},
        {"CreateVirtioBlk", "virtio_blk { pcie_id { virtual_function { value: 1 } } }",
         INVALID_ARGUMENT, "virtio_blk.pcie_id.virtual_function"},
        {"CreateVirtioBlk",
         "virtio_blk { pcie_id { physical_function { value: 64 } virtual_function { value: 1 } } }",
         INVALID_ARGUMENT, "virtio_blk.pcie_id.virtual_function"},
        {"DetachVolume", "name: \"volumes/3\"", NOT_FOUND, "such as 3"},
        {"DetachVolume", "name: \"attachments/03\"", NOT_FOUND, "such as 3"},
        {"DetachVolume", "name: \"attachments/3.2\"", NOT_FOUND, "attachments/3.2"},
    });
}

// A page goes on only in the listing that it is of, and in that under the same parent.
TEST_F(BadInputRules, PageToken_ofAnotherParent_isNotFound) {
    const std::string controller =
        "nvme_controller { spec { trtype: NVME_TRANSPORT_TYPE_TCP "
        "fabrics_id { traddr: \"10.0.0.9\" trsvcid: \"0\" adrfam: "
        "NVME_ADDRESS_FAMILY_IPV4 } } }";
    for (const char* id : {"c1", "c2"}) {
        for (const char* parent : {"s0", "s1"}) {
            EXPECT_TRUE(call(full_name("CreateNvmeController"),
                             std::string("parent: \"nvmeSubsystems/") + parent +
                                 "\" nvme_controller_id: \"" + id + "\" " + controller,
                             nullptr)
                            .ok());
        }
    }
    std::string answer;
    const std::string first = "page_size: 1 parent: ";
    ASSERT_TRUE(
        call(full_name("ListNvmeControllers"), first + "\"nvmeSubsystems/s0\"", &answer).ok());
    const auto at = answer.find("next_page_token: \"");
    ASSERT_NE(at, std::string::npos) << answer;
    const std::string token = answer.substr(at + 18, answer.find('"', at + 18) - at - 18);
    const std::string next = "page_token: \"" + token + "\" ";
    expect({
        {"ListNvmeControllers", next + "parent: \"nvmeSubsystems/s1\"", NOT_FOUND, "page_token"},
        {"ListNvmeControllers", next + "parent: \"nvmeSubsystems/-\"", NOT_FOUND, "page_token"},
        {"ListNvmeNamespaces", next, NOT_FOUND, "page_token"},
        {"ListMallocVolumes", next, NOT_FOUND, "page_token"},
        {"ListVolumes", next, NOT_FOUND, "page_token"},
        {"ListMallocVolumes",
         "page_token: \"" + control::page_token("null_volume", "volumes/n0") + "\"", NOT_FOUND,
         "page_token"},
    });
    EXPECT_TRUE(
        call(full_name("ListNvmeControllers"), next + "parent: \"nvmeSubsystems/s0\"", &answer)
            .ok());
    EXPECT_NE(answer.find("nvmeControllers/c1"), std::string::npos) << answer;
}

TEST_F(BadInputRules, RequestLargerThanAnyIs_isRefused) {
    const std::string huge(std::size_t{5} << 20U, 'a');
    const std::string before = everything();
    const grpc::Status status =
        call(full_name("GetMallocVolume"), "name: \"" + huge + "\"", nullptr);
    EXPECT_EQ(status.error_code(), RESOURCE_EXHAUSTED);
    EXPECT_EQ(everything(), before);
}

}  // namespace

}  // namespace remora::test
