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
