// SPDX-License-Identifier: Apache-2.0
// apply and diff against a daemon that keeps what it is told.
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "tests/unit/cli/site_file.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

}  // namespace

TEST(Apply, Makes_all_in_the_order_of_dependency) {
    FakeStore store;

    const Ran ran = run_site(store, "apply", kSite);

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log,
                ElementsAre("create malloc disk0", "create malloc disk1", "create subsystem lab",
                            "create controller lab/tcp", "create qos slow0",
                            "create namespace lab/disk0", "create virtio-blk vda"));
    const auto* disk = store.find<opi::MallocVolume>("volumes/disk0");
    ASSERT_NE(disk, nullptr);
    EXPECT_EQ(disk->block_size(), 512);
    EXPECT_EQ(disk->blocks_count(), 131072);
    const auto* controller =
        store.find<opi::NvmeController>("nvmeSubsystems/lab/nvmeControllers/tcp");
    ASSERT_NE(controller, nullptr);
    EXPECT_EQ(controller->spec().trtype(), opi::NVME_TRANSPORT_TYPE_TCP);
    EXPECT_EQ(controller->spec().fabrics_id().trsvcid(), "4420");
    EXPECT_TRUE(store.find<opi::VirtioBlk>("volumes/vda")->pcie_id().has_virtual_function());
}

TEST(Apply, Example_of_the_documents_is_one) {
    FakeStore store;

    const Ran ran = store.run({"apply", "-f", REMORA_SITE_EXAMPLE});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, ElementsAre("create malloc disk0", "create subsystem lab",
                                       "create controller lab/tcp", "create qos slow0",
                                       "create namespace lab/disk0"));
}

TEST(Apply, Shows_the_plan_before_what_is_done) {
    FakeStore store;

    const Ran ran = run_site(store, "apply", malloc_of("disk0", "{size: 64M}"));

    EXPECT_EQ(ran.out,
              "PLAN      KIND    NAME   CHANGE\n"
              "+ create  malloc  disk0  -\n"
              "created malloc disk0\n"
              "done: 1 step\n");
}

TEST(Apply, Twice_has_nothing_to_do) {
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();

    const Ran ran = run_site(store, "apply", kSite);

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, IsEmpty());
    EXPECT_THAT(ran.out, HasSubstr("= unchanged  malloc      disk0"));
    EXPECT_THAT(ran.out, HasSubstr("\nnothing to do\n"));
}

TEST(Apply, Changes_exactly_the_fields_that_differ) {
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();

    const Ran ran = run_site(store, "apply",
                             "- kind: qos\n  name: slow0\n  spec:\n"
                             "    volume_name_ref: volumes/disk0\n"
                             "    limits: {max: {rw_iops_kiops: 0, rd_bandwidth_mbs: 20}}\n" +
                                 malloc_of("disk0", "{size: 128M}"));

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(
        store.log,
        ElementsAre("change malloc disk0 blocks_count",
                    "change qos slow0 limits.max.rw_iops_kiops limits.max.rd_bandwidth_mbs"));
    EXPECT_THAT(ran.out, HasSubstr("~ change  malloc  disk0  blocks_count: 131072 -> 262144\n"));
    const auto* qos = store.find<opi::QosVolume>("volumes/slow0");
    EXPECT_EQ(qos->limits().max().rw_iops_kiops(), 0);
    EXPECT_EQ(qos->limits().max().rd_bandwidth_mbs(), 20);
    EXPECT_EQ(store.find<opi::MallocVolume>("volumes/disk0")->blocks_count(), 262144);
}

TEST(Apply, Uuid_in_another_spelling_is_the_same) {
    FakeStore store;
    run_site(store, "apply",
             malloc_of("a", "{size: 1M, uuid: 11111111-2222-4333-8444-55555555abcd}"));

    const Ran ran = run_site(
        store, "diff", malloc_of("a", "{size: 1M, uuid: 11111111-2222-4333-8444-55555555ABCD}"));

    EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
}

TEST(Apply, What_cannot_change_blocks_before_anything_is_done) {
    struct Case {
        const char* text;
        const char* part;
    };
    const std::vector<Case> cases{
        {"{kind: subsystem, name: lab, spec: {nqn: nqn.other}}", "spec.nqn: "},
        {"{kind: malloc, name: disk0, spec: {size: 32M}}", "blocks_count: 131072 -> 65536"},
        {"{kind: malloc, name: disk0, spec: {block_size: 4096}}", "block_size: 512 -> 4096"},
        {"{kind: virtio-blk, name: vda, spec: {pcieId: {physicalFunction: 0}}}",
         "pcie_id.physical_function: 1 -> 0"},
        {"{kind: namespace, name: lab/disk0, spec: {volume_name_ref: disk1}}",
         "\"slow0\" -> \"disk1\""},
    };
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();
    for (const Case& one : cases) {
        const Ran ran = run_site(
            store, "apply", std::string(one.text) + "\n---\n" + malloc_of("new", "{size: 1M}"));

        EXPECT_EQ(ran.code, 1) << one.text;
        EXPECT_THAT(ran.out, HasSubstr("! blocked"));
        EXPECT_THAT(ran.out, HasSubstr("cannot be changed while it exists"));
        EXPECT_THAT(ran.out, HasSubstr(one.part));
        EXPECT_THAT(ran.err, HasSubstr("(FAILED_PRECONDITION)"));
        EXPECT_THAT(store.log, IsEmpty()) << one.text;
    }
}

TEST(Apply, Replace_makes_it_anew_with_all_that_uses_it) {
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();
    std::string other = kSite;
    other.replace(other.find("size: 64M"), 9, "size: 32M");

    const Ran ran = run_site(store, "apply", other, {"--replace"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, ElementsAre("delete namespace lab/disk0", "delete qos slow0",
                                       "delete malloc disk0", "create malloc disk0",
                                       "create qos slow0", "create namespace lab/disk0"));
    EXPECT_THAT(ran.out, HasSubstr("uses malloc disk0"));
    EXPECT_EQ(store.find<opi::MallocVolume>("volumes/disk0")->blocks_count(), 65536);
}

TEST(Apply, Replace_of_what_something_else_uses_is_blocked) {
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();

    const Ran ran = run_site(store, "apply", malloc_of("disk0", "{size: 32M}"), {"--replace"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, HasSubstr("to be made anew, but qos slow0 uses it"));
    EXPECT_THAT(store.log, IsEmpty());
}

TEST(Apply, Prune_deletes_what_is_not_declared_of_the_kinds_that_are) {
    FakeStore store;
    run_site(store, "apply",
             std::string(kSite) + malloc_of("lab-old", "{size: 1M}") +
                 malloc_of("other", "{size: 1M}") + "---\n" +
                 "{kind: null, name: lab-null, spec: {block_size: 512, blocks_count: 8}}\n");
    store.log.clear();

    run_site(store, "apply", kSite);
    EXPECT_THAT(store.log, IsEmpty());
    const Ran scoped = run_site(store, "apply", kSite, {"--prune", "--scope", "lab-"});
    EXPECT_THAT(store.log, ElementsAre("delete malloc lab-old"));
    EXPECT_THAT(scoped.out, HasSubstr("- delete     malloc      lab-old    not declared\n"));
    run_site(store, "apply", kSite, {"--prune"});

    EXPECT_THAT(store.log, ElementsAre("delete malloc lab-old", "delete malloc other"));
    EXPECT_NE(store.find<opi::NvmeSubsystem>("nvmeSubsystems/lab"), nullptr);
}

TEST(Apply, Prune_goes_from_users_to_used_and_blocks_on_what_stays) {
    FakeStore store;
    run_site(store, "apply", kSite);
    store.log.clear();

    const Ran blocked = run_site(store, "apply", malloc_of("disk1", "{size: 64M}"), {"--prune"});
    EXPECT_EQ(blocked.code, 1);
    EXPECT_THAT(blocked.out, HasSubstr("not declared, but qos slow0 uses it"));
    EXPECT_THAT(store.log, IsEmpty());
    const std::string rest =
        malloc_of("disk1", "{size: 64M}") + malloc_of("disk2", "{size: 1M}") +
        "- {kind: qos, name: slow2, spec: {volume_name_ref: disk2, limits: {max: "
        "{rw_iops_kiops: 1}}}}\n"
        "- {kind: subsystem, name: two, spec: {nqn: nqn.two}}\n"
        "- {kind: namespace, name: two/a, spec: {volume_name_ref: slow2}}\n"
        "- {kind: controller, name: two/tcp, spec: {trtype: tcp}}\n";
    const Ran ran = run_site(store, "apply", rest, {"--prune"});

    EXPECT_EQ(ran.code, 0) << ran.err << ran.out;
    ASSERT_GE(store.log.size(), 5U);
    const std::vector<std::string> first(store.log.begin(), store.log.begin() + 5);
    EXPECT_THAT(first, ElementsAre("delete namespace lab/disk0", "delete qos slow0",
                                   "delete controller lab/tcp", "delete subsystem lab",
                                   "delete malloc disk0"));
}

TEST(Apply, What_is_pruned_must_not_be_what_a_declared_resource_is_to_use) {
    FakeStore store;
    run_site(store, "apply", malloc_of("a", "{size: 1M}"));
    store.log.clear();

    const Ran ran = run_site(store, "apply",
                             malloc_of("b", "{size: 1M}") +
                                 "- kind: virtio-blk\n  name: vda\n  spec:\n"
                                 "    volume_name_ref: a\n"
                                 "    pcie_id: {port_id: 0, physical_function: 0, "
                                 "virtual_function: 0}\n",
                             {"--prune"});

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, HasSubstr("not declared, but virtio-blk vda is to use it"));
    EXPECT_THAT(store.log, IsEmpty());
}

TEST(Apply, Remote_volumes_come_behind_their_paths) {
    FakeStore store;

    const Ran ran = run_site(store, "apply",
                             "- kind: qos\n  name: far\n  spec:\n    volume_name_ref: arrayn1\n"
                             "    limits: {max: {rw_iops_kiops: 1}}\n"
                             "- kind: path\n  name: array/p0\n  spec:\n    trtype: tcp\n"
                             "    traddr: 192.0.2.7\n    fabrics:\n      trsvcid: 4420\n"
                             "      subnqn: nqn.a\n      adrfam: NVME_ADDRESS_FAMILY_IPV4\n"
                             "- kind: remote-controller\n  name: array\n"
                             "  spec: {multipath: failover, tcp: {hdgst: true}}\n");

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, ElementsAre("create remote-controller array", "create path array/p0",
                                       "create qos far"));
}

TEST(Apply, Remote_controller_changes_only_without_paths) {
    FakeStore store;
    const std::string path =
        "- {kind: path, name: a/p, spec: {trtype: tcp, traddr: 192.0.2.7, fabrics: {trsvcid: 4420, "
        "subnqn: nqn.a, adrfam: ipv4}}}\n";
    run_site(store, "apply", "{kind: remote-controller, name: a, spec: {multipath: disable}}");
    const std::string other = "- {kind: remote-controller, name: a, spec: {multipath: failover}}\n";
    store.log.clear();

    const Ran changed = run_site(store, "apply", other + path);
    const Ran blocked =
        run_site(store, "apply", "{kind: remote-controller, name: a, spec: {tcp: {ddgst: true}}}");
    const Ran replaced = run_site(
        store, "apply", "- {kind: remote-controller, name: a, spec: {multipath: disable}}\n" + path,
        {"--replace"});

    EXPECT_EQ(changed.code, 0) << changed.err;
    EXPECT_EQ(blocked.code, 1);
    EXPECT_EQ(replaced.code, 0) << replaced.err;
    EXPECT_THAT(store.log, ElementsAre("change remote-controller a multipath", "create path a/p",
                                       "delete path a/p", "delete remote-controller a",
                                       "create remote-controller a", "create path a/p"));
}

TEST(Apply, Attachments_are_attached_and_detached) {
    FakeStore store;
    const std::string site =
        "- kind: attachment\n  name: 3\n  spec:\n"
        "    discovery: {traddr: 192.0.2.7, trsvcid: 8009}\n"
        "    volume_uuid: 11111111-2222-4333-8444-555555555555\n";

    const Ran made = run_site(store, "apply", site);
    const Ran again = run_site(store, "apply", site);
    const Ran pruned = run_site(store, "apply",
                                "- kind: virtio-blk\n  name: gone\n  spec:\n"
                                "    volume_name_ref: attachments/3\n"
                                "    pcie_id: {port_id: 0, physical_function: 0, "
                                "virtual_function: 0}\n",
                                {"--prune", "--dry-run"});
    const Ran other = run_site(store, "apply",
                               site.substr(0, site.find("    volume_uuid")) +
                                   "    volume_uuid: 11111111-2222-4333-8444-666666666666\n",
                               {"--replace"});

    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_THAT(again.out, HasSubstr("nothing to do"));
    EXPECT_THAT(pruned.out, Not(HasSubstr("delete"))) << "its disk is the attachment's own";
    EXPECT_EQ(other.code, 0) << other.err;
    EXPECT_THAT(store.log, ElementsAre("attach 3", "detach 3", "attach 3"));
}

TEST(Apply, Step_that_fails_ends_it_and_says_what_is_done) {
    FakeStore store;
    store.daemon.refuse("CreateMallocVolume", grpc::StatusCode::RESOURCE_EXHAUSTED, "no memory.");

    const Ran ran = run_site(store, "apply",
                             "{kind: aio, name: f, spec: {filename: /f, size: 1M}}\n---\n"
                             "{kind: subsystem, name: s, spec: {nqn: nqn.s}}\n---\n"
                             "{kind: malloc, name: a, spec: {size: 1M}}\n");

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(store.log, IsEmpty()) << "malloc is the first kind";
    EXPECT_EQ(ran.err,
              "remora: step 1 of 3, create malloc a: no memory; nothing was done before it: apply "
              "again once this is mended (RESOURCE_EXHAUSTED)\n");
}

TEST(Apply, Second_run_goes_on_where_the_first_stopped) {
    FakeStore store;
    const std::string site =
        "- {kind: malloc, name: a, spec: {size: 1M}}\n"
        "- {kind: namespace, name: s/a, spec: {volume_name_ref: a}}\n";

    const Ran first = run_site(store, "apply", site);
    const Ran second =
        run_site(store, "apply", site + "- {kind: subsystem, name: s, spec: {nqn: nqn.s}}\n");

    EXPECT_THAT(first.err, HasSubstr("step 2 of 2, create namespace s/a: nvmeSubsystems/s does not "
                                     "exist; the 1 before it is done, none behind it"));
    EXPECT_EQ(second.code, 0) << second.err;
    EXPECT_THAT(store.log,
                ElementsAre("create malloc a", "create subsystem s", "create namespace s/a"));
}

TEST(Diff, Ends_with_0_1_or_2_and_does_nothing) {
    FakeStore store;
    const std::string site = malloc_of("a", "{size: 1M}");

    const Ran differs = run_site(store, "diff", site);
    const Ran dry = run_site(store, "apply", site, {"--dry-run"});
    EXPECT_THAT(store.log, IsEmpty());
    run_site(store, "apply", site);
    const Ran same = run_site(store, "diff", site);
    const Ran unreadable = store.run({"diff", "-f", "/nonexistent/site.yaml"});
    const Ran bad = run_site(store, "diff", "{kind: nothing}");

    EXPECT_EQ(differs.code, 1);
    EXPECT_EQ(dry.code, 1);
    EXPECT_EQ(dry.out, differs.out);
    EXPECT_EQ(same.code, 0);
    EXPECT_EQ(unreadable.code, 2);
    EXPECT_THAT(unreadable.err, HasSubstr("/nonexistent/site.yaml cannot be read"));
    EXPECT_EQ(bad.code, 2);
}

TEST(Diff, Json_is_one_object) {
    FakeStore store;
    run_site(store, "apply", malloc_of("a", "{size: 1M}"));

    const Ran ran = run_site(
        store, "diff", malloc_of("a", "{size: 2M}") + malloc_of("b", "{size: 1M}"), {"-o", "json"});

    const json plan = json::parse(ran.out);
    EXPECT_TRUE(plan["differs"].get<bool>());
    ASSERT_EQ(plan["steps"].size(), 2U);
    EXPECT_EQ(plan["steps"][0]["action"], "change");
    EXPECT_EQ(plan["steps"][0]["name"], "a");
    EXPECT_EQ(plan["steps"][0]["changes"][0]["field"], "blocks_count");
    EXPECT_EQ(plan["steps"][0]["changes"][0]["before"].get<int>(), 2048);
    EXPECT_EQ(plan["steps"][0]["changes"][0]["after"].get<int>(), 4096);
    EXPECT_EQ(plan["steps"][1]["action"], "create");
}

TEST(Apply, Standard_input_is_a_file_too) {
    FakeStore store;
    const TempFile file(malloc_of("a", "{size: 1M}"));

    const std::string line = std::string(REMORA_PROGRAM) + " --server " + store.daemon.address() +
                             " apply -f - < " + file.path();
    const int code = std::system(line.c_str());  // NOLINT(concurrency-mt-unsafe): one thread

    EXPECT_EQ(code, 0);
    EXPECT_THAT(store.log, ElementsAre("create malloc a"));
}

}  // namespace remora::cli
