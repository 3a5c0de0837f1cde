// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/control/bad_input_rows.h"

#include <gtest/gtest.h>

namespace remora::test {

namespace {

using Requests = std::map<std::string, GoodRequest>;

constexpr const char* kKey = "key: \"0123456789abcdef0123456789abcdeF\" ";

/// Calls that differ between kinds only by names.
struct NamedKind {
    std::string singular;
    std::string plural;
    std::string name;    ///< Of one that is there, used by nothing.
    std::string parent;  ///< Empty: its listing has none.
    Codes codes{grpc::OK};
};

const std::vector<NamedKind>& kinds() {
    static const std::string controller = "nvmeRemoteControllers/r0";
    static const Codes none{grpc::NOT_FOUND};
    static const std::vector<NamedKind> all{
        {"AioVolume", "AioVolumes", "aioVolumes/a0", ""},
        {"MallocVolume", "MallocVolumes", "volumes/m0", ""},
        {"NullVolume", "NullVolumes", "n0", ""},
        {"NvmeSubsystem", "NvmeSubsystems", "nvmeSubsystems/s1", ""},
        {"NvmeController", "NvmeControllers", "nvmeSubsystems/s0/nvmeControllers/c0",
         "nvmeSubsystems/s0"},
        {"NvmeNamespace", "NvmeNamespaces", "nvmeSubsystems/s0/nvmeNamespaces/ns0",
         "nvmeSubsystems/s0"},
        {"VirtioBlk", "VirtioBlks", "virtioBlks/d0", ""},
        {"VirtioScsiTarget", "VirtioScsiTargets", "virtioScsiTargets/t0", "todo", none},
        {"VirtioScsiController", "VirtioScsiControllers", "volumes/sc0", "todo", none},
        {"VirtioScsiLun", "VirtioScsiLuns", "volumes/l0", "todo", none},
        {"EncryptedVolume", "EncryptedVolumes", "volumes/e0", "todo"},
        {"QosVolume", "QosVolumes", "qosVolumes/q0", "todo"},
        {"NvmeRemoteController", "NvmeRemoteControllers", "nvmeRemoteControllers/r1", ""},
        {"NvmePath", "NvmePaths", controller + "/nvmePaths/p0", controller},
        {"NvmeRemoteNamespace", "NvmeRemoteNamespaces", controller + "/nvmeRemoteNamespaces/1",
         controller},
        {"DiscoveryReferral", "DiscoveryReferrals", "discoveryReferrals/f0", ""},
        {"Attachment", "Attachments", "attachments/3", ""},
        {"RaidVolume", "RaidVolumes", "raidVolumes/ra0", ""},
        {"IntegrityVolume", "IntegrityVolumes", "volumes/i0", ""},
        {"FaultInjection", "FaultInjections", "faultInjections/x0", ""},
        {"Capacity", "Capacities", "capacities/k0", ""},
    };
    return all;
}

std::string quoted(const std::string& field, const std::string& value) {
    return field + ": \"" + value + "\" ";
}

void add_named(Requests& out) {
    for (const NamedKind& kind : kinds()) {
        const std::string name = quoted("name", kind.name);
        out["Get" + kind.singular] = {name, kind.codes};
        out["Delete" + kind.singular] = {name, kind.codes};
        out["Stats" + kind.singular] = {
            name, kind.codes == Codes{grpc::NOT_FOUND} ? Codes{grpc::UNIMPLEMENTED} : kind.codes};
        GoodRequest& list = out["List" + kind.plural];
        list.text = (kind.parent.empty() ? "" : quoted("parent", kind.parent)) + "page_size: 1";
        list.any_parent = kind.parent == "todo";
    }
    // What there are no such calls of.
    for (const char* absent :
         {"StatsNvmeRemoteNamespace", "DeleteNvmeRemoteNamespace", "StatsDiscoveryReferral",
          "StatsAttachment", "DeleteAttachment", "StatsFaultInjection", "StatsCapacity"}) {
        out.erase(absent);
    }
}

std::string listener(int port) {
    return "trtype: NVME_TRANSPORT_TYPE_TCP fabrics_id { traddr: \"10.0.0.9\" trsvcid: \"" +
           std::to_string(port) + "\" adrfam: NVME_ADDRESS_FAMILY_IPV4 } ";
}
const std::string kPath =
    "trtype: NVME_TRANSPORT_TYPE_TCP traddr: \"10.0.0.1\" fabrics { "
    "trsvcid: 4420 subnqn: \"nqn.2024-01.org.example:target\" "
    "adrfam: NVME_ADDRESS_FAMILY_IPV4 hostnqn: "
    "\"nqn.2024-01.org.example:host\" } ";

std::string function(int number) {
    return "pcie_id { port_id {} physical_function { value: " + std::to_string(number) +
           " } virtual_function {} } ";
}

std::string encrypted(const std::string& below) {
    return quoted("volume_name_ref", below) + kKey + "cipher: ENCRYPTION_TYPE_AES_XTS_128 ";
}

void add_volumes(Requests& out) {
    const std::string sizes = "block_size: 512 blocks_count: 2048 ";
    const std::string uuid = quoted("uuid", "2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e10");
    out["CreateMallocVolume"] = {"malloc_volume_id: \"new\" malloc_volume { " + sizes + uuid + "}"};
    out["CreateNullVolume"] = {"null_volume_id: \"new\" null_volume { " + sizes + uuid + "}"};
    out["CreateAioVolume"] = {"aio_volume_id: \"new\" aio_volume { " + sizes + uuid +
                              "filename: \"/files/new\" }"};
    out["UpdateMallocVolume"] = {"malloc_volume { name: \"volumes/m0\" " + sizes + "}"};
    out["UpdateNullVolume"] = {"null_volume { name: \"nullVolumes/n0\" " + sizes + "}"};
    out["UpdateAioVolume"] = {"aio_volume { name: \"aioVolumes/a0\" filename: \"/files/a0\" " +
                              sizes + "}"};
    const std::string limits = "limits { min { rw_iops_kiops: 2 } max { rw_iops_kiops: 5 } } ";
    out["CreateQosVolume"] = {"qos_volume_id: \"new\" qos_volume { volume_name_ref: \"m0\" " +
                              limits + "}"};
    out["UpdateQosVolume"] = {"qos_volume { name: \"qosVolumes/q0\" volume_name_ref: \"m2\" " +
                              limits + "}"};
    out["CreateEncryptedVolume"] = {"encrypted_volume_id: \"new\" encrypted_volume { " +
                                    encrypted("m3") + "}"};
    out["UpdateEncryptedVolume"] = {"encrypted_volume { name: \"volumes/e0\" " + encrypted("m4") +
                                    "}"};
    out["ForgetVolumeKey"] = {"volume_name_ref: \"m0\""};
    out["RekeyVolume"] = {"name: \"volumes/e0\" background_mbs: 9 key: \"" + std::string(16, 'r') +
                          std::string(16, 's') + "\""};
    out["GetRekey"] = {"name: \"volumes/e0\""};
}

void add_layers(Requests& out) {
    const std::string mirror = "level: RAID_LEVEL_1 members: \"m5\" members: \"m6\" ";
    out["CreateRaidVolume"] = {
        "raid_volume_id: \"new\" raid_volume { level: RAID_LEVEL_5 members: \"m0\" "
        "members: \"m3\" members: \"m8\" spares: \"m9\" chunk_bytes: 8192 background_mbs: 9 }"};
    out["UpdateRaidVolume"] = {"raid_volume { name: \"raidVolumes/ra0\" " + mirror +
                               "background_mbs: 7 }"};
    const std::string array = "name: \"raidVolumes/ra0\" ";
    out["ReplaceRaidMember"] = {array + "member: \"m5\" replacement: \"m8\""};
    out["RemoveRaidMember"] = {array + "member: \"m6\""};
    out["ScrubRaidVolume"] = {array};
    out["CreateIntegrityVolume"] = {
        "integrity_volume_id: \"new\" integrity_volume { volume_name_ref: \"m0\" scrub_mbs: 5 }"};
    out["UpdateIntegrityVolume"] = {
        "integrity_volume { name: \"volumes/i0\" volume_name_ref: \"m7\" scrub_mbs: 6 }"};
    out["ScrubIntegrityVolume"] = {"name: \"volumes/i0\""};
    const std::string rules =
        "errors { scope { operations: OPERATION_READ first_lba: 5 block_count: 9 "
        "probability: 0.5 } count: 3 error: ERROR_MEDIUM } "
        "delays { scope { probability: 1 } distribution: DISTRIBUTION_UNIFORM "
        "mean { nanos: 5000 } spread { nanos: 100 } } seed: 4 ";
    out["CreateFaultInjection"] = {
        "fault_injection_id: \"new\" fault_injection { volume_name_ref: \"m0\" " + rules + "}"};
    out["UpdateFaultInjection"] = {
        "fault_injection { name: \"faultInjections/x0\" volume_name_ref: \"m2\" " + rules + "}"};
}

void add_nvme(Requests& out) {
    out["CreateNvmeSubsystem"] = {
        "nvme_subsystem_id: \"new\" nvme_subsystem { spec { nqn: \"nqn.2024-01.org.example:new\" "
        "serial_number: \"SN\" model_number: \"MN\" max_namespaces: 8 "
        "hostnqn: \"nqn.2024-01.org.example:host\" } }"};
    out["UpdateNvmeSubsystem"] = {
        "nvme_subsystem { name: \"nvmeSubsystems/s1\" spec { "
        "nqn: \"nqn.2024-01.org.example:s1\" } }"};
    const std::string counts =
        "max_nsq: 4 max_ncq: 4 sqes: 6 cqes: 4 max_namespaces: 8 "
        "min_limit { wr_iops_kiops: 1 } max_limit { rd_bandwidth_mbs: 9 } } ";
    out["CreateNvmeController"] = {
        "parent: \"nvmeSubsystems/s0\" nvme_controller_id: \"new\" nvme_controller { "
        "spec { " +
        listener(4420) + counts + "}"};
    out["UpdateNvmeController"] = {
        "nvme_controller { name: \"nvmeSubsystems/s0/nvmeControllers/c0\" spec { " +
        listener(4421) + counts + "}"};
    out["CreateNvmeNamespace"] = {
        "parent: \"nvmeSubsystems/s1\" nvme_namespace_id: \"new\" nvme_namespace { spec { "
        "host_nsid: 7 uuid: \"2f6e1f4c-8d53-4c8e-9d0a-3f5b1c7a9e11\" "
        "nguid: \"2f6e1f4c8d534c8e9d0a3f5b1c7a9e11\" eui64: 5 volume_name_ref: \"m0\" } }"};
    out["UpdateNvmeNamespace"] = {
        "nvme_namespace { name: \"nvmeSubsystems/s0/nvmeNamespaces/ns0\" spec { "
        "volume_name_ref: \"m1\" } }"};
    const std::string remote =
        "multipath: NVME_MULTIPATH_MULTIPATH io_queues_count: 2 "
        "queue_size: 64 tcp { hdgst: true } ";
    out["CreateNvmeRemoteController"] = {
        "nvme_remote_controller_id: \"new\" nvme_remote_controller { " + remote + "}"};
    out["UpdateNvmeRemoteController"] = {
        "nvme_remote_controller { name: \"nvmeRemoteControllers/r1\" " + remote + "}"};
    out["ResetNvmeRemoteController"] = {"name: \"nvmeRemoteControllers/r0\""};
    out["CreateNvmePath"] = {
        "parent: \"nvmeRemoteControllers/r1\" nvme_path_id: \"new\" "
        "nvme_path { " +
        kPath + "}"};
    out["UpdateNvmePath"] = {"nvme_path { name: \"nvmeRemoteControllers/r0/nvmePaths/p0\" " +
                             kPath + "}"};
}

void add_devices(Requests& out) {
    const std::string limit =
        "min_limit { rd_bandwidth_mbs: 3 } max_limit { rw_bandwidth_mbs: 10 } ";
    out["CreateVirtioBlk"] = {"virtio_blk_id: \"new\" virtio_blk { volume_name_ref: \"m0\" " +
                              function(8) + "max_io_qps: 2 " + limit + "}"};
    out["UpdateVirtioBlk"] = {"virtio_blk { name: \"volumes/d0\" volume_name_ref: \"n1\" " +
                              function(9) + limit + "}"};
    const Codes absent{grpc::UNIMPLEMENTED};
    const std::string lun = "target_name_ref: \"t0\" volume_name_ref: \"m0\" ";
    out["CreateVirtioScsiTarget"] = {"virtio_scsi_target { max_luns: 4 }", absent};
    out["UpdateVirtioScsiTarget"] = {"virtio_scsi_target { name: \"volumes/t0\" max_luns: 4 }",
                                     absent};
    out["CreateVirtioScsiController"] = {"virtio_scsi_controller { " + function(1) + "}", absent};
    out["UpdateVirtioScsiController"] = {
        "virtio_scsi_controller { name: \"volumes/sc0\" " + function(1) + "}", absent};
    out["CreateVirtioScsiLun"] = {"virtio_scsi_lun { " + lun + "}", absent};
    out["UpdateVirtioScsiLun"] = {"virtio_scsi_lun { name: \"volumes/l0\" " + lun + "}", absent};
}

void add_remora(Requests& out) {
    out["GetInventory"] = {"name: \"inventory/x/inventory/x\""};
    out["AttachVolume"] = {
        "discovery { traddr: \"10.0.0.1\" trsvcid: \"4420\" } host_function: 5 "
        "volume_uuid: \"11000000-0000-0000-0000-000000000002\" "
        "hostnqn: \"nqn.2024-01.org.example:host\""};
    out["DetachVolume"] = {"host_function: 3"};
    out["GetStatus"] = {""};
    out["SetPathPolicy"] = {
        "remote_controller: \"nvmeRemoteControllers/r1\" policy: PATH_POLICY_ROUND_ROBIN"};
    out["SetConnectionTimings"] = {
        "remote_controller: \"nvmeRemoteControllers/r1\" connect_ms: 500 keep_alive_ms: 5000 "
        "io_ms: 5000 reconnect_max_ms: 500"};
    out["GetVolumeStats"] = {"volume_name_ref: \"m0\""};
    const std::string controller = "name: \"nvmeSubsystems/s0/nvmeControllers/c0\" ";
    out["SetAnaState"] = {controller + "ana_state: ANA_STATE_INACCESSIBLE"};
    out["GetAnaState"] = {controller};
    out["CreateDiscoveryReferral"] = {
        "discovery_referral_id: \"new\" discovery_referral { endpoint { traddr: \"::1\" trsvcid: "
        "\"8009\" } subnqn: \"nqn.2014-08.org.nvmexpress.discovery\" }"};
    out["CreateCapacity"] = {
        "capacity_id: \"new\" capacity { remote_controller: \"nvmeRemoteControllers/r1\" "
        "kiops: 50 mbs: 100 }"};
    out["UpdateCapacity"] = {"capacity { name: \"capacities/k1\" kiops: 60 mbs: 200 }"};
    out["GetThrottling"] = {controller};
    out["GetCapabilities"] = {""};
    out["ListVolumes"] = {"page_size: 1"};
    out["ListConditions"] = {"name_prefix: \"volumes/\""};
    out["WatchResources"] = {"kinds: \"opi_api.storage.v1.VirtioBlk\""};
    out["RunBenchmark"] = {
        "volume_name_ref: \"m0\" pattern: PATTERN_READ io_bytes: 4096 "
        "queue_depth: 1 seconds: 1"};
}

}  // namespace

std::map<std::string, GoodRequest> good_requests() {
    Requests out;
    add_named(out);
    add_volumes(out);
    add_layers(out);
    add_nvme(out);
    add_devices(out);
    add_remora(out);
    return out;
}

std::vector<std::pair<std::string, std::string>> world_calls() {
    std::vector<std::pair<std::string, std::string>> calls;
    const std::string sizes = "block_size: 512 blocks_count: 1024 }";
    for (const char* id : {"m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"}) {
        calls.emplace_back("CreateMallocVolume",
                           quoted("malloc_volume_id", id) + "malloc_volume { " + sizes);
    }
    for (const char* id : {"n0", "n1"}) {
        calls.emplace_back("CreateNullVolume",
                           quoted("null_volume_id", id) + "null_volume { " + sizes);
    }
    calls.emplace_back("CreateAioVolume",
                       "aio_volume_id: \"a0\" aio_volume { filename: \"/files/a0\" " + sizes);
    for (const char* id : {"s0", "s1"}) {
        calls.emplace_back("CreateNvmeSubsystem",
                           quoted("nvme_subsystem_id", id) + "nvme_subsystem { spec { " +
                               quoted("nqn", std::string("nqn.2024-01.org.example:") + id) + "} }");
    }
    const std::string in_s0 = "parent: \"nvmeSubsystems/s0\" ";
    calls.emplace_back(
        "CreateNvmeController",
        in_s0 + "nvme_controller_id: \"c0\" nvme_controller { spec { " + listener(4421) + "} }");
    calls.emplace_back("CreateNvmeNamespace",
                       in_s0 +
                           "nvme_namespace_id: \"ns0\" nvme_namespace { spec { "
                           "volume_name_ref: \"m1\" } }");
    for (const char* id : {"r0", "r1"}) {
        calls.emplace_back("CreateNvmeRemoteController",
                           quoted("nvme_remote_controller_id", id) +
                               "nvme_remote_controller { multipath: NVME_MULTIPATH_MULTIPATH }");
    }
    calls.emplace_back("CreateNvmePath",
                       "parent: \"nvmeRemoteControllers/r0\" nvme_path_id: "
                       "\"p0\" nvme_path { " +
                           kPath + "}");
    calls.emplace_back(
        "CreateVirtioBlk",
        "virtio_blk_id: \"d0\" virtio_blk { volume_name_ref: \"n1\" " + function(9) + "}");
    calls.emplace_back("CreateQosVolume",
                       "qos_volume_id: \"q0\" qos_volume { volume_name_ref: "
                       "\"m2\" limits { max { rd_iops_kiops: 1 } } }");
    calls.emplace_back("CreateCapacity", "capacity_id: \"k1\" capacity { kiops: 100 mbs: 1000 }");
    calls.emplace_back("CreateCapacity",
                       "capacity_id: \"k0\" capacity { remote_controller: "
                       "\"nvmeRemoteControllers/r0\" kiops: 100 }");
    calls.emplace_back("CreateDiscoveryReferral",
                       "discovery_referral_id: \"f0\" discovery_referral { endpoint { traddr: "
                       "\"10.0.0.7\" trsvcid: \"8009\" } }");
    calls.emplace_back("AttachVolume",
                       "discovery { traddr: \"10.0.0.1\" trsvcid: \"4420\" } host_function: 3 "
                       "volume_uuid: \"11000000-0000-0000-0000-000000000001\"");
    calls.emplace_back("CreateEncryptedVolume",
                       "encrypted_volume_id: \"e0\" encrypted_volume { " + encrypted("m4") + "}");
    calls.emplace_back("CreateRaidVolume",
                       "raid_volume_id: \"ra0\" raid_volume { level: RAID_LEVEL_1 members: \"m5\" "
                       "members: \"m6\" }");
    calls.emplace_back("CreateIntegrityVolume",
                       "integrity_volume_id: \"i0\" integrity_volume { volume_name_ref: \"m7\" }");
    calls.emplace_back("CreateFaultInjection",
                       "fault_injection_id: \"x0\" fault_injection { volume_name_ref: \"m2\" "
                       "errors { } }");
    return calls;
}

std::vector<const google::protobuf::MethodDescriptor*> served_methods() {
    std::vector<const google::protobuf::MethodDescriptor*> methods;
    for (const std::string& name : served_services()) {
        const auto* service =
            google::protobuf::DescriptorPool::generated_pool()->FindServiceByName(name);
        EXPECT_NE(service, nullptr) << name;
        for (int i = 0; service != nullptr && i < service->method_count(); ++i) {
            methods.push_back(service->method(i));
        }
    }
    return methods;
}

}  // namespace remora::test
