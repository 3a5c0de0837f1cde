// SPDX-License-Identifier: Apache-2.0
// Commands that show the whole of something, and the one that watches it change.
#include <csignal>
#include <thread>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "inventory/inventory.pb.h"
#include "remora/v1/remora.pb.h"
#include "storage/backend_malloc.pb.h"
#include "storage/backend_nvme.pb.h"
#include "tests/unit/cli/fake_daemon.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
namespace api = remora::v1;
using nlohmann::json;
using testing::ContainsRegex;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

api::Condition condition(const char* type, bool is, const char* message) {
    api::Condition out;
    out.set_type(type);
    out.set_status(is ? api::Condition::STATUS_TRUE : api::Condition::STATUS_FALSE);
    out.set_reason("Because");
    out.set_message(message);
    out.set_age_ms(65'000);
    return out;
}

api::ListConditionsResponse some_conditions() {
    api::ListConditionsResponse answer;
    auto& good = *answer.add_resources();
    good.set_name("volumes/a");
    *good.add_conditions() = condition("Ready", true, "it is there");
    auto& bad = *answer.add_resources();
    bad.set_name("nvmeRemoteControllers/array");
    *bad.add_conditions() = condition("Ready", true, "it works");
    *bad.add_conditions() = condition("Degraded", true, "one path is down");
    return answer;
}

api::ResourceEvent event_of(api::ResourceEvent::Type type, const char* name = "") {
    api::ResourceEvent event;
    event.set_type(type);
    event.set_revision(7);
    if (*name != '\0') {
        event.set_kind("opi_api.storage.v1.MallocVolume");
        event.set_name(name);
        opi::MallocVolume volume;
        volume.set_name(name);
        volume.set_blocks_count(8);
        event.mutable_resource()->PackFrom(volume);
    }
    return event;
}

/// SIGINT, as Ctrl-C sends it, once the daemon was called `calls` times.
std::jthread interrupt_after(FakeDaemon& daemon, std::size_t calls) {
    return std::jthread([&daemon, calls] {
        while (daemon.methods().size() < calls) {
            std::this_thread::yield();
        }
        ::kill(::getpid(), SIGINT);
    });
}

}  // namespace

TEST(Inventory, Machine_is_shown_part_by_part) {
    FakeDaemon daemon;
    opi_api::inventory::v1::Inventory machine;
    machine.mutable_system()->set_vendor("Acme");
    machine.mutable_system()->set_name("Board");
    machine.mutable_processor()->set_total_cores(1);
    machine.mutable_processor()->set_total_threads(2);
    machine.mutable_memory()->set_total_physical_bytes(std::int64_t{2} << 30);
    auto& function = *machine.add_pci();
    function.set_address("0000:00:01.0");
    function.set_driver("virtio-pci");
    daemon.answer("GetInventory", machine);

    const Ran ran = run_at(daemon, {"inventory"});
    const Ran as_json = run_at(daemon, {"inventory", "-o", "json"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("Acme Board"));
    EXPECT_THAT(ran.out, HasSubstr("1 core, 2 threads"));
    EXPECT_THAT(ran.out, ContainsRegex("0000:00:01.0 .*virtio-pci"));
    EXPECT_EQ(json::parse(as_json.out)["system"]["vendor"], "Acme");
    const auto request = daemon.request<opi_api::inventory::v1::GetInventoryRequest>();
    EXPECT_TRUE(request.name().starts_with("inventory/"));
}

TEST(Volumes, All_pages_are_one_table_with_chains) {
    FakeDaemon daemon;
    api::ListVolumesResponse first;
    auto& remote = *first.add_volumes();
    remote.set_name("arrayn1");
    remote.set_kind("remote");
    remote.set_size_bytes(std::uint64_t{1} << 30U);
    remote.set_block_size(512);
    remote.set_reason("no path");
    remote.add_chain("arrayn1");
    remote.add_chain("nvmeRemoteControllers/array");
    remote.add_limited_by("qosVolumes/slow");
    first.set_next_page_token("more");
    api::ListVolumesResponse second;
    auto& own = *second.add_volumes();
    own.set_name("mallocVolumes/a");
    own.set_ready(true);
    own.add_used_by("virtioBlks/vda");
    daemon.answer("ListVolumes", first);
    daemon.answer("ListVolumes", second);

    const Ran ran = run_at(daemon, {"volumes"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("arrayn1 > nvmeRemoteControllers/array"));
    EXPECT_THAT(ran.out, HasSubstr("no: no path"));
    EXPECT_THAT(ran.out, ContainsRegex("mallocVolumes/a .*yes .*virtioBlks/vda"));
    EXPECT_EQ(daemon.request<api::ListVolumesRequest>(1).page_token(), "more");
}

TEST(Volumes, Token_that_leads_to_itself_is_an_error) {
    FakeDaemon daemon;
    api::ListVolumesResponse page;
    page.set_next_page_token("same");
    daemon.answer("ListVolumes", page);

    EXPECT_THAT(run_at(daemon, {"volumes"}).err, HasSubstr("(INTERNAL)"));
}

TEST(Conditions, Trouble_is_what_is_not_ready_or_degraded) {
    FakeDaemon daemon;
    daemon.answer("ListConditions", some_conditions());

    const Ran all = run_at(daemon, {"conditions", "--prefix", "n"});
    const Ran trouble = run_at(daemon, {"conditions", "--trouble"});
    const Ran as_json = run_at(daemon, {"conditions", "--trouble", "-o", "json"});

    EXPECT_EQ(all.code, 0) << all.err;
    EXPECT_THAT(all.out, ContainsRegex("volumes/a  *Ready  *yes  *1 min 5 s"));
    EXPECT_EQ(daemon.request<api::ListConditionsRequest>().name_prefix(), "n");
    EXPECT_THAT(trouble.out, Not(HasSubstr("Ready")));
    EXPECT_THAT(trouble.out, HasSubstr("one path is down"));
    const json got = json::parse(as_json.out);
    ASSERT_EQ(got["resources"].size(), 1U);
    EXPECT_EQ(got["resources"][0]["conditions"].size(), 1U);
}

TEST(Conditions, Nothing_wrong_is_said) {
    FakeDaemon daemon;

    EXPECT_EQ(run_at(daemon, {"conditions", "--trouble"}).out, "nothing is wrong\n");
}

TEST(Capabilities, Missing_ones_come_with_their_reasons) {
    FakeDaemon daemon;
    api::Capabilities answer;
    answer.set_host_platform("qemu");
    answer.set_host_functions(64);
    answer.set_host_virtual_functions(8);
    answer.add_back_end_transports("NVMe/TCP");
    auto& can = *answer.add_calls();
    can.set_service("opi_api.storage.v1.MallocVolumeService");
    can.set_method("CreateMallocVolume");
    can.set_supported(true);
    auto& cannot = *answer.add_calls();
    cannot.set_service("opi_api.storage.v1.FrontendVirtioScsiService");
    cannot.set_method("CreateVirtioScsiLun");
    cannot.set_reason("use virtio-blk");
    auto& option = *answer.add_options();
    option.set_name("VirtioBlk.max_limit");
    option.set_detail("whole thousands");
    daemon.answer("GetCapabilities", answer);

    const Ran all = run_at(daemon, {"capabilities"});
    const Ran missing = run_at(daemon, {"capabilities", "--missing"});

    EXPECT_EQ(all.code, 0) << all.err;
    EXPECT_THAT(all.out, HasSubstr("qemu with 64 functions and 8 virtual functions"));
    EXPECT_THAT(all.out, ContainsRegex("CreateMallocVolume  *MallocVolumeService  *yes"));
    EXPECT_THAT(missing.out, Not(HasSubstr("CreateMallocVolume")));
    EXPECT_THAT(missing.out, ContainsRegex("CreateVirtioScsiLun .*no  *use virtio-blk"));
    EXPECT_THAT(missing.out, HasSubstr("VirtioBlk.max_limit"));
}

TEST(Reset, Remote_controller_is_named_whole) {
    FakeDaemon daemon;

    EXPECT_EQ(run_at(daemon, {"reset", "array"}).out, "reset array\n");

    EXPECT_EQ(daemon.request<opi::ResetNvmeRemoteControllerRequest>().name(),
              "nvmeRemoteControllers/array");
}

TEST(Watch, Changes_are_lines_until_it_is_interrupted) {
    FakeDaemon daemon;
    auto trouble = event_of(api::ResourceEvent::TYPE_CONDITION, "volumes/a");
    *trouble.add_conditions() = condition("Ready", false, "it is not built");
    daemon.stream<api::ResourceEvent>(
        "WatchResources",
        {event_of(api::ResourceEvent::TYPE_EXISTING, "volumes/a"),
         event_of(api::ResourceEvent::TYPE_SYNCED),
         event_of(api::ResourceEvent::TYPE_ADDED, "volumes/b"), trouble},
        grpc::Status(grpc::StatusCode::UNAVAILABLE, "remorad is stopping"));

    const Ran ran = run_at(daemon, {"watch", "malloc", "remora.v1.Attachment"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("remorad is stopping (UNAVAILABLE)"));
    EXPECT_EQ(ran.out,
              "existing   malloc             a\n"
              "-- that is all there is; changes follow\n"
              "added      malloc             b\n"
              "condition  malloc             a  Ready: no (it is not built)\n");
    EXPECT_THAT(daemon.request<api::WatchResourcesRequest>().kinds(),
                ElementsAre("opi_api.storage.v1.MallocVolume", "remora.v1.Attachment"));
}

TEST(Watch, Interrupt_ends_it_well) {
    FakeDaemon daemon;
    daemon.stream<api::ResourceEvent>("WatchResources",
                                      {event_of(api::ResourceEvent::TYPE_SYNCED)});
    const auto user = interrupt_after(daemon, 1);

    const Ran ran = run_at(daemon, {"watch"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.err, "");
    EXPECT_EQ(std::signal(SIGINT, SIG_DFL), SIG_DFL);  // As it was before.
}

TEST(Watch, Json_is_one_object_a_line) {
    FakeDaemon daemon;
    auto unknown = event_of(api::ResourceEvent::TYPE_MODIFIED, "volumes/b");
    unknown.mutable_resource()->set_type_url("type.googleapis.com/of.another.Version");
    daemon.stream<api::ResourceEvent>(
        "WatchResources", {event_of(api::ResourceEvent::TYPE_ADDED, "volumes/a"), unknown},
        grpc::Status(grpc::StatusCode::UNAVAILABLE, "stopping"));

    const Ran ran = run_at(daemon, {"watch", "-o", "json", "--changes-only"});

    std::istringstream lines(ran.out);
    std::string line;
    ASSERT_TRUE(std::getline(lines, line));
    const json first = json::parse(line);
    EXPECT_EQ(first["type"], "TYPE_ADDED");
    EXPECT_EQ(first["resource"]["blocksCount"], "8");
    ASSERT_TRUE(std::getline(lines, line));
    EXPECT_EQ(json::parse(line)["name"], "volumes/b");
    EXPECT_FALSE(std::getline(lines, line));
    EXPECT_TRUE(daemon.request<api::WatchResourcesRequest>().changes_only());
}

TEST(Watch, Falling_behind_is_told_and_all_is_shown_anew) {
    FakeDaemon daemon;
    daemon.stream<api::ResourceEvent>(
        "WatchResources", {event_of(api::ResourceEvent::TYPE_SYNCED)},
        grpc::Status(grpc::StatusCode::OUT_OF_RANGE, "more than 4096 changes wait"));
    daemon.stream<api::ResourceEvent>("WatchResources",
                                      {event_of(api::ResourceEvent::TYPE_EXISTING, "volumes/a")});
    const auto user = interrupt_after(daemon, 2);

    const Ran ran = run_at(daemon, {"watch", "--changes-only"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("watching anew"));
    EXPECT_TRUE(daemon.request<api::WatchResourcesRequest>(0).changes_only());
    EXPECT_FALSE(daemon.request<api::WatchResourcesRequest>(1).changes_only());
}

TEST(Watch, Kind_that_is_none_is_refused_here) {
    const Ran ran = run_line({"watch", "disks"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("there is no kind 'disks'; use one of: malloc"));
}

TEST(Watch, Daemon_that_is_not_there_is_named) {
    const Ran ran = run_line({"--server", "127.0.0.1:1", "watch"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.err, HasSubstr("no daemon answers at 127.0.0.1:1"));
}

}  // namespace remora::cli
