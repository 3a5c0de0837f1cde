// SPDX-License-Identifier: Apache-2.0
// Commands against a daemon that answers by script: names, pages, output, refusals, deadline.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "remora/v1/qos.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_nvme.pb.h"
#include "storage/frontend_nvme.pb.h"
#include "storage/middleend_qos_volume.pb.h"
#include "tests/unit/cli/fake_daemon.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = remora::v1;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
constexpr const char* kUuid = "11111111-2222-4333-8444-555555555555";

opi::ListMallocVolumesResponse page(std::initializer_list<const char*> names, const char* next) {
    opi::ListMallocVolumesResponse response;
    for (const char* name : names) {
        response.add_malloc_volumes()->set_name(name);
    }
    response.set_next_page_token(next);
    return response;
}

}  // namespace

TEST(Get, Short_name_of_a_child_is_made_whole) {
    FakeDaemon daemon;

    run_at(daemon, {"get", "namespaces", "lab/a"});

    EXPECT_THAT(daemon.methods(),
                ElementsAre("/opi_api.storage.v1.FrontendNvmeService/GetNvmeNamespace"));
    EXPECT_EQ(daemon.request<opi::GetNvmeNamespaceRequest>().name(),
              "nvmeSubsystems/lab/nvmeNamespaces/a");
}

TEST(Get, Json_is_one_object_with_defaults) {
    FakeDaemon daemon;
    opi::MallocVolume volume;
    volume.set_name("volumes/a");
    volume.set_blocks_count(8);
    daemon.answer("GetMallocVolume", volume);

    const Ran ran = run_at(daemon, {"-o", "json", "get", "malloc", "a"});

    const json got = json::parse(ran.out);
    EXPECT_EQ(got["name"], "volumes/a");
    EXPECT_EQ(got["blocksCount"], "8");
    EXPECT_EQ(got["uuid"], "");
    EXPECT_EQ(daemon.request<opi::GetMallocVolumeRequest>().name(), "volumes/a");
}

TEST(Get, Attachment_is_named_by_function_or_uuid) {
    FakeDaemon daemon;

    run_at(daemon, {"get", "attachment", "3"});
    run_at(daemon, {"get", "attachment", kUuid});

    EXPECT_EQ(daemon.request<api::GetAttachmentRequest>(0).name(), "attachments/3");
    EXPECT_EQ(daemon.request<api::GetAttachmentRequest>(1).name(), kUuid);
}

TEST(List, All_pages_are_one_json_list) {
    FakeDaemon daemon;
    daemon.answer("ListMallocVolumes", page({"volumes/a", "volumes/b"}, "next"));
    daemon.answer("ListMallocVolumes", page({"volumes/c"}, ""));

    const Ran ran = run_at(daemon, {"list", "mallocs", "-o", "json"});

    const json got = json::parse(ran.out);
    ASSERT_EQ(got.size(), 3U);
    EXPECT_EQ(got[2]["name"], "volumes/c");
    EXPECT_EQ(daemon.request<opi::ListMallocVolumesRequest>(1).page_token(), "next");
}

TEST(List, Nothing_is_an_empty_json_list) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"-o", "json", "list", "attachment"});

    EXPECT_EQ(ran.out, "[]\n");
}

TEST(List, Qos_volumes_are_asked_for_under_opis_parent) {
    FakeDaemon daemon;

    run_at(daemon, {"list", "qos"});

    EXPECT_EQ(daemon.request<opi::ListQosVolumesRequest>().parent(), "volumes");
}

TEST(List, Token_that_leads_to_itself_is_an_error) {
    FakeDaemon daemon;
    daemon.answer("ListMallocVolumes", page({"volumes/a"}, "same"));

    const Ran ran = run_at(daemon, {"list", "malloc"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("(INTERNAL)"));
}

TEST(List, Children_are_of_all_parents_or_of_one) {
    FakeDaemon daemon;

    run_at(daemon, {"list", "path"});
    run_at(daemon, {"list", "path", "array"});

    EXPECT_EQ(daemon.request<opi::ListNvmePathsRequest>(0).parent(), "nvmeRemoteControllers/-");
    EXPECT_EQ(daemon.request<opi::ListNvmePathsRequest>(1).parent(), "nvmeRemoteControllers/array");
}

TEST(Limit, Of_a_controller_changes_limits_and_minimum_together) {
    FakeDaemon daemon;
    opi::NvmeController there;
    there.set_name("nvmeSubsystems/lab/nvmeControllers/tcp");
    there.mutable_spec()->mutable_max_limit()->set_rd_iops_kiops(3);
    there.mutable_spec()->mutable_min_limit()->set_rd_iops_kiops(1);
    daemon.answer("GetNvmeController", there);
    daemon.answer("UpdateNvmeController", there);

    const Ran ran = run_at(daemon, {"limit", "controller", "lab/tcp", "--kiops", "50",
                                    "--min-read-kiops", "2", "--min-mbs", "9"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<opi::UpdateNvmeControllerRequest>(1);
    EXPECT_THAT(request.update_mask().paths(), ElementsAre("spec.max_limit", "spec.min_limit"));
    const auto& spec = request.nvme_controller().spec();
    EXPECT_EQ(spec.max_limit().rw_iops_kiops(), 50);
    EXPECT_EQ(spec.max_limit().rd_iops_kiops(), 3);
    EXPECT_EQ(spec.min_limit().rd_iops_kiops(), 2);
    EXPECT_EQ(spec.min_limit().rw_bandwidth_mbs(), 9);
}

TEST(List, Capacities_have_their_plural) {
    FakeDaemon daemon;
    remora::v1::ListCapacitiesResponse page;
    auto& one = *page.add_capacities();
    one.set_name("capacities/own");
    one.set_kiops(100);
    one.set_promised_percent(49.6);
    daemon.answer("ListCapacities", page);

    const Ran ran = run_at(daemon, {"list", "capacity"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("own volumes"));
    EXPECT_THAT(ran.out, HasSubstr("50 %"));
}

TEST(Delete, Carries_allow_missing) {
    FakeDaemon daemon;

    const Ran ran = run_at(daemon, {"delete", "path", "array/p0", "--allow-missing"});

    EXPECT_EQ(ran.out, "deleted path array/p0\n");
    const auto request = daemon.request<opi::DeleteNvmePathRequest>();
    EXPECT_EQ(request.name(), "nvmeRemoteControllers/array/nvmePaths/p0");
    EXPECT_TRUE(request.allow_missing());
}

TEST(Delete, Attachment_is_detached) {
    FakeDaemon daemon;

    run_at(daemon, {"delete", "attachment", "attachments/12"});
    run_at(daemon, {"delete", "attachment", kUuid});

    EXPECT_EQ(daemon.request<api::DetachVolumeRequest>(0).host_function(), 12);
    EXPECT_EQ(daemon.request<api::DetachVolumeRequest>(1).volume_uuid(), kUuid);
}

TEST(Stats, Volume_is_asked_for_in_64_bits_by_its_own_kind) {
    FakeDaemon daemon;
    api::VolumeStats64 counters;
    counters.set_read_ops(5'000'000'000);
    counters.set_read_bytes(std::uint64_t{5'000'000'000} * 4096);
    daemon.answer("GetVolumeStats", counters);

    const Ran ran = run_at(daemon, {"stats", "malloc", "a"});

    EXPECT_EQ(daemon.request<api::GetVolumeStatsRequest>().volume_name_ref(), "mallocVolumes/a");
    EXPECT_THAT(ran.out, HasSubstr("5000000000  18.6 TiB"));
}

TEST(Attach, Carries_all_and_shows_the_disk) {
    FakeDaemon daemon;
    api::Attachment disk;
    disk.set_host_function(0);
    disk.set_pci_address("00:04.0");
    disk.set_serial("11111111222243338444");
    disk.set_size_bytes(64U << 20U);
    disk.set_volume_uuid(kUuid);
    disk.set_state(api::Attachment::STATE_ATTACHED);
    daemon.answer("AttachVolume", disk);

    const Ran ran = run_at(daemon, {"attach", "--discovery", "127.0.0.1:4420", "--volume", kUuid,
                                    "--function", "0", "--hostnqn", "nqn.h"});

    const auto request = daemon.request<api::AttachVolumeRequest>();
    EXPECT_EQ(request.discovery().traddr(), "127.0.0.1");
    EXPECT_EQ(request.discovery().trsvcid(), "4420");
    EXPECT_EQ(request.volume_uuid(), kUuid);
    EXPECT_TRUE(request.has_host_function());
    EXPECT_EQ(request.hostnqn(), "nqn.h");
    EXPECT_EQ(ran.out,
              "FUNCTION  PCI      SIZE    SERIAL                VOLUME"
              "                                STATE\n"
              "0         00:04.0  64 MiB  11111111222243338444  "
              "11111111-2222-4333-8444-555555555555  attached\n");
}

TEST(Attach, Function_left_out_is_left_to_the_daemon) {
    FakeDaemon daemon;

    run_at(daemon, {"attach", "--discovery", "127.0.0.1:4420", "--volume", kUuid});

    EXPECT_FALSE(daemon.request<api::AttachVolumeRequest>().has_host_function());
}

TEST(Attach, Virtual_function_goes_there_and_back) {
    FakeDaemon daemon;
    api::Attachment disk;
    disk.set_host_function(3);
    disk.set_host_virtual_function(2);
    daemon.answer("AttachVolume", disk);

    const Ran ran = run_at(daemon, {"attach", "--discovery", "127.0.0.1:4420", "--volume", kUuid,
                                    "--function", "3.2"});
    run_at(daemon, {"detach", "--function", "3.2"});
    run_at(daemon, {"delete", "attachment", "attachments/3.2"});

    const auto request = daemon.request<api::AttachVolumeRequest>(0);
    EXPECT_EQ(request.host_function(), 3);
    EXPECT_EQ(request.host_virtual_function(), 2);
    EXPECT_THAT(ran.out, HasSubstr("\n3.2 "));
    for (const std::size_t call : {1U, 2U}) {
        EXPECT_EQ(daemon.request<api::DetachVolumeRequest>(call).name(), "attachments/3.2");
    }
}

// One that is older takes the physical function.
TEST(Attach, Disk_at_another_function_is_said) {
    FakeDaemon daemon;
    api::Attachment disk;
    disk.set_host_function(3);
    daemon.answer("AttachVolume", disk);

    const Ran ran = run_at(daemon, {"attach", "--discovery", "127.0.0.1:4420", "--volume", kUuid,
                                    "--function", "3.2"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("attached the volume to host function 3"));
}

TEST(Delete, What_is_no_attachment_is_not_asked_for) {
    FakeDaemon daemon;

    for (const char* name : {"3.0", "03", "attachments/x"}) {
        const Ran ran = run_at(daemon, {"delete", "attachment", name});
        EXPECT_EQ(ran.code, 1) << name;
        EXPECT_THAT(ran.err, HasSubstr("is no attachment")) << name;
    }
}

TEST(Detach, By_function_or_by_volume) {
    FakeDaemon daemon;

    run_at(daemon, {"detach", "--function", "0"});
    run_at(daemon, {"detach", "--volume", kUuid, "--allow-missing"});

    const auto first = daemon.request<api::DetachVolumeRequest>(0);
    EXPECT_EQ(first.disk_case(), api::DetachVolumeRequest::kHostFunction);
    EXPECT_FALSE(first.allow_missing());
    const auto second = daemon.request<api::DetachVolumeRequest>(1);
    EXPECT_EQ(second.volume_uuid(), kUuid);
    EXPECT_TRUE(second.allow_missing());
}

TEST(Status, Shows_each_chain_on_one_line) {
    FakeDaemon daemon;
    api::GetStatusResponse answer;
    answer.set_version("0.1.0");
    answer.set_ready(true);
    answer.set_reactors(2);
    answer.set_uptime_seconds(3725);
    answer.set_host_platform("qemu");
    auto& disk = *answer.add_host_disks();
    disk.set_host_function(7);
    disk.set_state("attached");
    disk.set_pci_address("00:05.0");
    disk.set_virtio_blk("volumes/attached-7");
    disk.set_volume_uuid(kUuid);
    disk.set_size_bytes(1U << 30U);
    disk.set_remote_controller("nvmeRemoteControllers/array");
    disk.set_host_connected(true);
    auto& path = *disk.add_paths();
    path.set_traddr("127.0.0.1");
    path.set_trsvcid("4420");
    path.set_state("down");
    path.set_last_error("connection refused");
    daemon.answer("GetStatus", answer);

    const Ran ran = run_at(daemon, {"status"});

    EXPECT_THAT(ran.out, HasSubstr("remorad 0.1.0 at " + daemon.address() +
                                   ": ready, 2 reactors, up 1 h 2 min, host platform qemu\n"));
    EXPECT_THAT(ran.out, HasSubstr("7         attached  running  00:05.0  attached-7  "
                                   "11111111-2222-4333-8444-555555555555  1 GiB  array   "
                                   "127.0.0.1:4420 down (connection refused)\n"));
}

TEST(Status, Remote_without_disks_is_shown_apart) {
    FakeDaemon daemon;
    api::GetStatusResponse answer;
    auto& remote = *answer.add_remote_controllers();
    remote.set_name("nvmeRemoteControllers/idle");
    remote.set_state("live");
    daemon.answer("GetStatus", answer);

    const Ran ran = run_at(daemon, {"status"});

    EXPECT_THAT(ran.out, HasSubstr("no host disks\n"));
    EXPECT_THAT(ran.out, HasSubstr("idle                  live   -\n"));
}

TEST(Status, Paths_show_what_ana_says) {
    FakeDaemon daemon;
    api::GetStatusResponse answer;
    auto& remote = *answer.add_remote_controllers();
    remote.set_name("nvmeRemoteControllers/array");
    remote.set_state("live");
    for (const char* port : {"4420", "4421"}) {
        auto& path = *remote.add_paths();
        path.set_traddr("127.0.0.1");
        path.set_trsvcid(port);
        path.set_state("live");
        auto& space = *path.add_namespaces();
        space.set_present(true);
        space.set_state(port == std::string("4420") ? "optimized" : "inaccessible");
    }
    daemon.answer("GetStatus", answer);

    const Ran ran = run_at(daemon, {"status"});

    EXPECT_THAT(ran.out, HasSubstr("127.0.0.1:4420 live, 127.0.0.1:4421 live (inaccessible)\n"));
}

TEST(PathPolicy, Is_sent_and_said) {
    FakeDaemon daemon;
    api::PathPolicySetting answer;
    answer.set_remote_controller("nvmeRemoteControllers/array");
    answer.set_policy(api::PATH_POLICY_ROUND_ROBIN);
    daemon.answer("SetPathPolicy", answer);

    const Ran ran = run_at(daemon, {"path-policy", "--remote", "array", "--policy", "round-robin"});

    const auto request = daemon.request<api::SetPathPolicyRequest>();
    EXPECT_EQ(request.remote_controller(), "array");
    EXPECT_EQ(request.policy(), api::PATH_POLICY_ROUND_ROBIN);
    EXPECT_THAT(ran.out, HasSubstr("array uses its paths by round-robin\n"));
}

TEST(Timings, Those_given_are_sent_and_all_are_shown) {
    FakeDaemon daemon;
    api::ConnectionTimings answer;
    answer.set_remote_controller("nvmeRemoteControllers/array");
    answer.set_connect_ms(500);
    answer.set_keep_alive_ms(10'000);
    answer.set_io_ms(30'050);
    answer.set_reconnect_max_ms(5'000);
    daemon.answer("SetConnectionTimings", answer);

    const Ran ran =
        run_at(daemon, {"timings", "--remote", "array", "--connect", "0.5", "--io", "0"});

    const auto request = daemon.request<api::SetConnectionTimingsRequest>();
    EXPECT_EQ(request.remote_controller(), "array");
    EXPECT_TRUE(request.has_connect_ms() && request.has_io_ms());
    EXPECT_EQ(request.connect_ms(), 500U);
    EXPECT_EQ(request.io_ms(), 0U);
    EXPECT_FALSE(request.has_keep_alive_ms() || request.has_reconnect_max_ms());
    EXPECT_THAT(ran.out, testing::ContainsRegex("array +0.500 s +10 s +30.050 s +5 s"));
}

TEST(Timings, No_number_is_refused_before_any_call) {
    FakeDaemon daemon;
    for (const char* text : {"soon", "-1", "10s", "1e9"}) {
        const Ran ran = run_at(daemon, {"timings", "--remote", "array", "--io", text});
        EXPECT_NE(ran.code, 0) << text;
        EXPECT_THAT(ran.err, HasSubstr("--io")) << text;
    }
}

TEST(Bench, Json_has_numbers) {
    FakeDaemon daemon;
    api::RunBenchmarkResponse answer;
    answer.set_operations(1000);
    answer.set_seconds(2);
    answer.set_iops(500);
    answer.mutable_latency()->set_p50(12345);
    answer.mutable_latency()->set_p999(99999);
    daemon.answer("RunBenchmark", answer);

    const Ran ran = run_at(daemon, {"-o", "json", "bench", "--volume", "a", "--rw", "randrw",
                                    "--bs", "4k", "--qd", "8", "--time", "2.25"});

    const auto request = daemon.request<api::RunBenchmarkRequest>();
    EXPECT_EQ(request.volume_name_ref(), "a");
    EXPECT_EQ(request.pattern(), api::RunBenchmarkRequest::PATTERN_READ_WRITE);
    EXPECT_EQ(request.io_bytes(), 4096U);
    EXPECT_EQ(request.queue_depth(), 8U);
    EXPECT_EQ(request.seconds(), 2U);
    EXPECT_EQ(request.milliseconds(), 250U);
    const json got = json::parse(ran.out);
    EXPECT_EQ(got["operations"].get<int>(), 1000);
    EXPECT_EQ(got["errors"].get<int>(), 0);
    EXPECT_EQ(got["iops"].get<double>(), 500);
    EXPECT_EQ(got["latency"]["p50"].get<int>(), 12345);
    EXPECT_EQ(got["latency"]["p999"].get<int>(), 99999);
}

TEST(Refusal, Prints_sentence_and_code_and_ends_with_1) {
    FakeDaemon daemon;
    daemon.refuse("GetMallocVolume", grpc::StatusCode::NOT_FOUND, "there is no volume a.");

    const Ran ran = run_at(daemon, {"get", "malloc", "a"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.out, "");
    EXPECT_EQ(ran.err, "remora: there is no volume a (NOT_FOUND)\n");
}

TEST(Refusal, Unavailable_about_others_is_the_daemons_word) {
    FakeDaemon daemon;
    daemon.refuse("AttachVolume", grpc::StatusCode::UNAVAILABLE, "127.0.0.1:1 cannot be reached");

    const Ran ran = run_at(daemon, {"attach", "--discovery", "127.0.0.1:1", "--volume", kUuid});

    EXPECT_EQ(ran.err, "remora: 127.0.0.1:1 cannot be reached (UNAVAILABLE)\n");
}

TEST(Refusal, No_daemon_says_where_it_was_looked_for_and_how_to_start_one) {
    std::string address;
    {
        const FakeDaemon gone;
        address = gone.address();
    }

    const Ran ran = run_line({"--server", address, "status"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("no daemon answers at " + address));
    EXPECT_THAT(ran.err, HasSubstr("remorad --state DIR --grpc " + address));
    EXPECT_TRUE(ran.err.ends_with("(UNAVAILABLE)\n")) << ran.err;
}

TEST(Refusal, Daemon_that_never_answers_meets_the_deadline) {
    FakeDaemon daemon;
    daemon.hang("GetStatus");

    const Ran ran = run_at(daemon, {"--timeout", "0.2", "status"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_EQ(ran.err, "remora: the daemon at " + daemon.address() +
                           " did not answer within 0.2 s: give it longer with --timeout SECONDS "
                           "(DEADLINE_EXCEEDED)\n");
}

TEST(Refusal, Server_that_is_no_address_is_not_looked_for) {
    const Ran ran = run_line({"--server", "nowhere", "status"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("--server 'nowhere' is not ADDRESS:PORT"));
}

}  // namespace remora::cli
