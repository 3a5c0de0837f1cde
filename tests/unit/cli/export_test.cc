// SPDX-License-Identifier: Apache-2.0
// export, and what apply makes of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/site_file.h"

namespace remora::cli {

namespace {

namespace opi = opi_api::storage::v1;
using testing::HasSubstr;
using testing::Not;

}  // namespace

TEST(Export, Is_found_unchanged_and_makes_the_same_elsewhere) {
    FakeStore store;
    run_site(store, "apply",
             std::string(kSite) +
                 "- {kind: attachment, name: 7, spec: {discovery: "
                 "{traddr: 192.0.2.7, trsvcid: '8009'}, "
                 "volume_uuid: x}}\n");
    for (const char* format : {"table", "json"}) {
        const Ran written = store.run({"export", "-o", format});
        FakeStore other;

        const Ran diff = run_site(store, "diff", written.out, {"--prune"});
        const Ran made = run_site(other, "apply", written.out);
        const Ran again = other.run({"export", "-o", format});

        EXPECT_EQ(diff.code, 0) << diff.out << diff.err << written.out;
        EXPECT_EQ(made.code, 0) << made.err << written.out;
        EXPECT_EQ(again.out, written.out);
        EXPECT_EQ(other.size(), store.size());
    }
}

TEST(Export, Minima_come_behind_the_capacities_that_they_stand_on) {
    FakeStore store;
    const Ran made = run_site(
        store, "apply",
        "- {kind: qos, name: sure, spec: {volume_name_ref: disk0, limits: {min: {rw_iops_kiops: "
        "5}}}}\n"
        "- {kind: malloc, name: disk0, spec: {size: 64M}}\n"
        "- {kind: subsystem, name: lab, spec: {nqn: nqn.s}}\n"
        "- {kind: controller, name: lab/tcp, spec: {trtype: tcp, max_limit: {rd_iops_kiops: 9}, "
        "min_limit: {rd_iops_kiops: 2}}}\n"
        "- {kind: capacity, name: far, spec: {remote_controller: nvmeRemoteControllers/array, mbs: "
        "9}}\n"
        "- {kind: remote-controller, name: array, spec: {multipath: disable}}\n"
        "- {kind: capacity, name: own, spec: {kiops: 100}}\n");
    const Ran written = store.run({"export"});
    FakeStore other;

    const Ran again = run_site(other, "apply", written.out);

    EXPECT_EQ(made.code, 0) << made.err;
    EXPECT_EQ(again.code, 0) << again.err << written.out;
    EXPECT_EQ(other.log, store.log);
    const auto at = [&store](const std::string& step) {
        return std::ranges::find(store.log, step) - store.log.begin();
    };
    EXPECT_LT(at("create capacity own"), at("create qos sure"));
    EXPECT_LT(at("create capacity own"), at("create controller lab/tcp"));
    EXPECT_LT(at("create remote-controller array"), at("create capacity far"));
    const auto* tcp = other.find<opi::NvmeController>("nvmeSubsystems/lab/nvmeControllers/tcp");
    ASSERT_NE(tcp, nullptr);
    EXPECT_EQ(tcp->spec().min_limit().rd_iops_kiops(), 2);
}

TEST(Export, Strings_that_look_like_something_else_come_back) {
    FakeStore store;
    const std::string site =
        "kind: subsystem\nname: s\nspec:\n  nqn: 'nqn: #1'\n  serial_number: 0123\n"
        "  model_number: 'null'\n  hostnqn: \"tab\\t \\\"q\\\" \\u00e9 \\x01\"\n";

    run_site(store, "apply", site);
    const Ran written = store.run({"export"});
    FakeStore other;
    const Ran made = run_site(other, "apply", written.out);

    EXPECT_EQ(made.code, 0) << made.err << written.out;
    const auto* subsystem = other.find<opi::NvmeSubsystem>("nvmeSubsystems/s");
    ASSERT_NE(subsystem, nullptr);
    EXPECT_EQ(subsystem->spec().nqn(), "nqn: #1");
    EXPECT_EQ(subsystem->spec().serial_number(), "0123");
    EXPECT_EQ(subsystem->spec().model_number(), "null");
    EXPECT_EQ(subsystem->spec().hostnqn(), "tab\t \"q\" \xc3\xa9 \x01");
}

TEST(Export, Has_no_secret_nothing_the_daemon_writes_and_nothing_of_attachments) {
    FakeStore store;
    run_site(store, "apply",
             "- {kind: subsystem, name: s, spec: {nqn: nqn.s, psk: U0VDUkVU}}\n"
             "- {kind: controller, name: s/c, spec: {trtype: tcp}}\n"
             "- {kind: attachment, name: 7, spec: {volume_uuid: x}}\n");
    ASSERT_EQ(store.find<opi::NvmeSubsystem>("nvmeSubsystems/s")->spec().psk(), "SECRET");

    const Ran written = store.run({"export"});
    const Ran diff = run_site(store, "diff", "{kind: subsystem, name: s, spec: {psk: T1RIRVI=}}");

    for (const char* part : {"psk", "U0VDUkVU", "SECRET", "status", "nvme_controller_id",
                             "attached-7", "remote-controller"}) {
        EXPECT_THAT(written.out, Not(HasSubstr(part)));
    }
    EXPECT_EQ(diff.code, 0) << "a key is not compared: " << diff.out;
}

TEST(Export, Daemon_without_anything_is_an_empty_list) {
    FakeStore store;

    const Ran written = store.run({"export"});

    EXPECT_TRUE(written.out.ends_with("\n[]\n")) << written.out;
    EXPECT_EQ(run_site(store, "diff", written.out).code, 0);
}

}  // namespace remora::cli
