// SPDX-License-Identifier: Apache-2.0
// NVMe over TCP, both sides: subsystems shown to others, and remote ones that are used here.
#include <array>

#include "cli/endpoint.h"
#include "cli/failure.h"
#include "cli/host_function.h"
#include "cli/kinds.h"
#include "cli/limits.h"
#include "cli/output.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = remora::v1;

constexpr Flag kHostNqn{"--hostnqn", "NQN", "Who this machine says it is (default: its own NQN)"};

constexpr std::array kSubsystemFlags{
    Flag{"--nqn", "NQN", "The name hosts ask for: nqn.YYYY-MM.domain:rest", FlagType::Text, true},
    Flag{"--hostnqn", "NQN", "The one host that may connect (default: any)"},
    Flag{"--serial", "TEXT", "Serial number, at most 20 characters"},
    Flag{"--model", "TEXT", "Model number, at most 40 characters"}};
constexpr std::array kControllerFlags = joined(
    std::array{
        Flag{"--listen", "ADDRESS:PORT", "Where hosts reach the subsystem, over TCP"},
        Flag{"--function", kFunctionValue,
             "Or: the local host's function that it is, 0 to 63, or one of its virtual functions, "
             "such as 3.2",
             FlagType::Function},
        Flag{"--queues", "N", "Of a function: queues for I/O (default: 16)", FlagType::Number}},
    kRateFlags);
constexpr std::array kNamespaceFlags{
    Flag{"--volume", "REF", "The volume to show: an id, a name or a UUID", FlagType::Text, true},
    Flag{"--nsid", "N", "Its number in the subsystem (default: the lowest that is free)",
         FlagType::Number},
    Flag{"--uuid", "UUID", "The identity that hosts see (default: the volume's)"}};
constexpr std::array kReferralFlags{
    Flag{"--address", "ADDRESS:PORT", "Where it answers, over TCP", FlagType::Text, true},
    Flag{"--nqn", "NQN", "Its discovery subsystem (default: the name that all have)"}};
constexpr std::array kRemoteFlags{
    Flag{"--multipath", "POLICY", "What several paths are used for", FlagType::Text, false,
         "disable", "disable|failover|multipath"},
    Flag{"--queues", "N", "I/O queues a path (default: one a core)", FlagType::Number},
    Flag{"--queue-size", "N", "Entries a queue (default: the daemon's)", FlagType::Number},
    Flag{"--header-digest", "", "CRC32C over PDU headers", FlagType::Switch},
    Flag{"--data-digest", "", "CRC32C over PDU data", FlagType::Switch}};
constexpr std::array kPathFlags{
    Flag{"--address", "ADDRESS:PORT", "Where the subsystem is, over TCP", FlagType::Text, true},
    Flag{"--nqn", "NQN", "The subsystem that must answer there", FlagType::Text, true}, kHostNqn};

opi::NvmeAddressFamily family_of(const Endpoint& endpoint) {
    return endpoint.ipv6 ? opi::NVME_ADDRESS_FAMILY_IPV6 : opi::NVME_ADDRESS_FAMILY_IPV4;
}

void build_subsystem(const Values& values, Message& resource) {
    auto& spec = *as<opi::NvmeSubsystem>(resource).mutable_spec();
    spec.set_nqn(values.text("--nqn"));
    spec.set_hostnqn(values.text("--hostnqn"));
    spec.set_serial_number(values.text("--serial"));
    spec.set_model_number(values.text("--model"));
}

void build_controller(const Values& values, Message& resource) {
    auto& spec = *as<opi::NvmeController>(resource).mutable_spec();
    if (values.given("--listen") == values.given("--function")) {
        throw Refused(
            grpc::StatusCode::INVALID_ARGUMENT,
            "a controller is reached over TCP (--listen ADDRESS:PORT) or is a function of "
            "the local host (--function PF[.VF]): give one of the two",
            kUsage);
    }
    if (values.given("--function")) {
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_PCIE);
        set_function(values.function("--function"), *spec.mutable_pcie_id());
        spec.set_max_nsq(values.number("--queues"));
    } else {
        const Endpoint endpoint = take(parse_endpoint("--listen", values.text("--listen")));
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        spec.mutable_fabrics_id()->set_traddr(endpoint.traddr);
        spec.mutable_fabrics_id()->set_trsvcid(std::to_string(endpoint.port));
        spec.mutable_fabrics_id()->set_adrfam(family_of(endpoint));
    }
    set_limits(values, *spec.mutable_max_limit());
    set_minimum(values, *spec.mutable_min_limit());
}

void build_namespace(const Values& values, Message& resource) {
    auto& spec = *as<opi::NvmeNamespace>(resource).mutable_spec();
    spec.set_volume_name_ref(values.text("--volume"));
    spec.set_host_nsid(values.number("--nsid"));
    spec.set_uuid(values.text("--uuid"));
}

void build_referral(const Values& values, Message& resource) {
    const Endpoint endpoint = take(parse_endpoint("--address", values.text("--address")));
    auto& referral = as<api::DiscoveryReferral>(resource);
    referral.mutable_endpoint()->set_traddr(endpoint.traddr);
    referral.mutable_endpoint()->set_trsvcid(std::to_string(endpoint.port));
    referral.set_subnqn(values.text("--nqn"));
}

void build_remote(const Values& values, Message& resource) {
    auto& controller = as<opi::NvmeRemoteController>(resource);
    const std::string& policy = values.text("--multipath");
    controller.set_multipath(policy == "multipath"  ? opi::NVME_MULTIPATH_MULTIPATH
                             : policy == "failover" ? opi::NVME_MULTIPATH_FAILOVER
                                                    : opi::NVME_MULTIPATH_DISABLE);
    controller.set_io_queues_count(values.number("--queues"));
    controller.set_queue_size(values.number("--queue-size"));
    if (values.given("--header-digest") || values.given("--data-digest")) {
        controller.mutable_tcp()->set_hdgst(values.given("--header-digest"));
        controller.mutable_tcp()->set_ddgst(values.given("--data-digest"));
    }
}

void build_path(const Values& values, Message& resource) {
    const Endpoint endpoint = take(parse_endpoint("--address", values.text("--address")));
    auto& path = as<opi::NvmePath>(resource);
    path.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
    path.set_traddr(endpoint.traddr);
    auto& fabrics = *path.mutable_fabrics();
    fabrics.set_trsvcid(endpoint.port);
    fabrics.set_subnqn(values.text("--nqn"));
    fabrics.set_adrfam(family_of(endpoint));
    fabrics.set_hostnqn(values.text("--hostnqn"));
}

constexpr std::array kSubsystemColumns{
    Column{"NQN", [](const Message& m) { return as<opi::NvmeSubsystem>(m).spec().nqn(); }},
    Column{"HOST",
           [](const Message& m) {
               const auto& host = as<opi::NvmeSubsystem>(m).spec().hostnqn();
               return host.empty() ? std::string("any") : host;
           }},
    Column{"SERIAL",
           [](const Message& m) { return as<opi::NvmeSubsystem>(m).spec().serial_number(); }},
    Column{"MODEL",
           [](const Message& m) { return as<opi::NvmeSubsystem>(m).spec().model_number(); }}};
constexpr std::array kControllerColumns{
    Column{"LISTEN",
           [](const Message& m) {
               const auto& spec = as<opi::NvmeController>(m).spec();
               if (spec.has_pcie_id()) {
                   return "function " + function_text(spec.pcie_id());
               }
               const auto& at = spec.fabrics_id();
               return at.traddr().empty() ? std::string()
                                          : format_endpoint(at.traddr(), at.trsvcid());
           }},
    Column{"TRANSPORT",
           [](const Message& m) {
               return enum_text(
                   opi::NvmeTransportType_Name(as<opi::NvmeController>(m).spec().trtype()),
                   "NVME_TRANSPORT_TYPE");
           }},
    Column{"ACTIVE",
           [](const Message& m) {
               return std::string(as<opi::NvmeController>(m).status().active() ? "yes" : "no");
           }},
    Column{"LIMITS",
           [](const Message& m) {
               return limits_text(as<opi::NvmeController>(m).spec().max_limit());
           }},
    Column{"AT LEAST", [](const Message& m) {
               return limits_text(as<opi::NvmeController>(m).spec().min_limit());
           }}};
constexpr std::array kNamespaceColumns{
    Column{"NSID",
           [](const Message& m) {
               return std::to_string(as<opi::NvmeNamespace>(m).spec().host_nsid());
           }},
    Column{"VOLUME",
           [](const Message& m) { return as<opi::NvmeNamespace>(m).spec().volume_name_ref(); }},
    Column{"UUID", [](const Message& m) { return as<opi::NvmeNamespace>(m).spec().uuid(); }},
    Column{"STATE", [](const Message& m) {
               return enum_text(opi::NvmeNamespaceStatus_OperState_Name(
                                    as<opi::NvmeNamespace>(m).status().oper_state()),
                                "OPER_STATE");
           }}};
constexpr std::array kReferralColumns{
    Column{"ADDRESS",
           [](const Message& m) {
               const auto& at = as<api::DiscoveryReferral>(m).endpoint();
               return format_endpoint(at.traddr(), at.trsvcid());
           }},
    Column{"NQN", [](const Message& m) { return as<api::DiscoveryReferral>(m).subnqn(); }}};
constexpr std::array kRemoteColumns{
    Column{"MULTIPATH",
           [](const Message& m) {
               return enum_text(
                   opi::NvmeMultipath_Name(as<opi::NvmeRemoteController>(m).multipath()),
                   "NVME_MULTIPATH");
           }},
    Column{"DIGESTS", [](const Message& m) {
               const auto& tcp = as<opi::NvmeRemoteController>(m).tcp();
               return std::string(tcp.hdgst() && tcp.ddgst() ? "header, data"
                                  : tcp.hdgst()              ? "header"
                                  : tcp.ddgst()              ? "data"
                                                             : "none");
           }}};
constexpr std::array kPathColumns{
    Column{"ADDRESS",
           [](const Message& m) {
               const auto& path = as<opi::NvmePath>(m);
               return format_endpoint(path.traddr(), std::to_string(path.fabrics().trsvcid()));
           }},
    Column{"NQN", [](const Message& m) { return as<opi::NvmePath>(m).fabrics().subnqn(); }},
    Column{"HOST", [](const Message& m) { return as<opi::NvmePath>(m).fabrics().hostnqn(); }}};
constexpr std::array kRemoteNamespaceColumns{
    Column{"NSID",
           [](const Message& m) { return std::to_string(as<opi::NvmeRemoteNamespace>(m).nsid()); }},
    Column{"UUID", [](const Message& m) { return as<opi::NvmeRemoteNamespace>(m).uuid(); }},
    Column{"NGUID", [](const Message& m) { return as<opi::NvmeRemoteNamespace>(m).nguid(); }}};

constexpr std::string_view kFrontend = "opi_api.storage.v1.FrontendNvmeService";
constexpr std::string_view kBackend = "opi_api.storage.v1.NvmeRemoteControllerService";

constexpr std::string_view kRemora = "remora.v1.RemoraService";

constexpr std::array kControllerChangeable{
    std::string_view("spec.max_nsq"),        std::string_view("spec.max_ncq"),
    std::string_view("spec.sqes"),           std::string_view("spec.cqes"),
    std::string_view("spec.max_namespaces"), std::string_view("spec.max_limit"),
    std::string_view("spec.min_limit")};
constexpr std::array kControllerRates{std::string_view("spec.max_limit"),
                                      std::string_view("spec.min_limit")};
constexpr std::array kControllerChosen{std::string_view("spec.nvme_controller_id")};
constexpr std::array kRemoteChangeable{std::string_view("multipath"),
                                       std::string_view("io_queues_count"),
                                       std::string_view("queue_size"), std::string_view("tcp")};

constexpr std::array kNvme{
    Kind{.name = "subsystem",
         .plural = "subsystems",
         .what = "a set of namespaces shown to others under one NQN",
         .service = kFrontend,
         .message = "NvmeSubsystem",
         .collection = "nvmeSubsystems",
         .example = "lab",
         .example_flags = "--nqn nqn.2026-11.example.remora:lab",
         .columns = kSubsystemColumns,
         .flags = kSubsystemFlags,
         .build = build_subsystem,
         .counters = Counters::Opi},
    Kind{.name = "controller",
         .plural = "controllers",
         .what = "a way to a subsystem: a listener over TCP, or a function of the local host",
         .service = kFrontend,
         .message = "NvmeController",
         .collection = "nvmeControllers",
         .parent = "nvmeSubsystems",
         .example = "lab/tcp",
         .example_flags = "--listen 127.0.0.1:4420",
         .columns = kControllerColumns,
         .flags = kControllerFlags,
         .build = build_controller,
         .counters = Counters::Opi,
         .limits =
             [](Message& m) {
                 return as<opi::NvmeController>(m).mutable_spec()->mutable_max_limit();
             },
         .minimum =
             [](Message& m) {
                 return as<opi::NvmeController>(m).mutable_spec()->mutable_min_limit();
             },
         .limits_paths = kControllerRates,
         .has_minimum =
             [](const Message& m) {
                 return any_limit(as<opi::NvmeController>(m).spec().min_limit());
             },
         .changeable = kControllerChangeable,
         .chosen = kControllerChosen},
    Kind{.name = "namespace",
         .plural = "namespaces",
         .what = "a volume shown in a subsystem",
         .service = kFrontend,
         .message = "NvmeNamespace",
         .collection = "nvmeNamespaces",
         .parent = "nvmeSubsystems",
         .example = "lab/disk0",
         .example_flags = "--volume disk0 --uuid 11111111-2222-4333-8444-555555555555",
         .columns = kNamespaceColumns,
         .flags = kNamespaceFlags,
         .build = build_namespace,
         .counters = Counters::Opi},
    Kind{.name = "referral",
         .plural = "referrals",
         .what = "another discovery service that hosts are told of",
         .service = kRemora,
         .message = "DiscoveryReferral",
         .collection = "discoveryReferrals",
         .example = "rack2",
         .example_flags = "--address 192.0.2.7:8009",
         .columns = kReferralColumns,
         .flags = kReferralFlags,
         .build = build_referral},
    Kind{.name = "remote-controller",
         .plural = "remote-controllers",
         .what = "a remote NVMe subsystem that is used here",
         .service = kBackend,
         .message = "NvmeRemoteController",
         .collection = "nvmeRemoteControllers",
         .example = "array",
         .example_flags = "--multipath disable",
         .columns = kRemoteColumns,
         .flags = kRemoteFlags,
         .build = build_remote,
         .counters = Counters::Opi,
         .changeable = kRemoteChangeable,
         .changes_childless = true},
    Kind{.name = "path",
         .plural = "paths",
         .what = "a way to a remote controller's subsystem",
         .service = kBackend,
         .message = "NvmePath",
         .collection = "nvmePaths",
         .parent = "nvmeRemoteControllers",
         .example = "array/p0",
         .example_flags = "--address 127.0.0.1:4420 --nqn nqn.2026-11.example.remora:lab",
         .columns = kPathColumns,
         .flags = kPathFlags,
         .build = build_path,
         .counters = Counters::Opi},
    Kind{.name = "remote-namespace",
         .plural = "remote-namespaces",
         .what = "a volume that a remote controller found",
         .service = kBackend,
         .message = "NvmeRemoteNamespace",
         .collection = "nvmeRemoteNamespaces",
         .parent = "nvmeRemoteControllers",
         .example = "array/1",
         .columns = kRemoteNamespaceColumns,
         .counters = Counters::Volume,
         .pattern = "nvmeRemoteNamespaces",
         .list_needs_parent = true,
         .can_delete = false}};

}  // namespace

std::span<const Kind> nvme_kinds() {
    return kNvme;
}

}  // namespace remora::cli
