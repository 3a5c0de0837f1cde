// SPDX-License-Identifier: Apache-2.0
// Settings in a site's file: ANA states of controllers, timings and path policies of remote
// controllers; planned, applied once, exported.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/cli/site_file.h"

namespace remora::cli {

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

constexpr const char* kSubsystem =
    "- {kind: subsystem, name: lab, spec: {nqn: 'nqn.2026-11.example.remora:lab'}}\n";
constexpr const char* kController =
    "- {kind: controller, name: lab/tcp, spec: {trtype: tcp, fabrics_id: "
    "{traddr: 127.0.0.1, trsvcid: '4420', adrfam: ipv4}}}\n";
constexpr const char* kAna = "- {kind: ana, name: lab/tcp, spec: {ana_state: non-optimized}}\n";
constexpr const char* kRemote =
    "- {kind: remote-controller, name: array, spec: {multipath: multipath}}\n"
    "- {kind: path, name: array/p0, spec: {trtype: tcp, traddr: 127.0.0.1, "
    "fabrics: {trsvcid: 4420, subnqn: nqn.x, adrfam: ipv4}}}\n";
constexpr const char* kTimings =
    "- {kind: timings, name: array, spec: {keep_alive_ms: 10000, io_ms: 10000}}\n";
constexpr const char* kPolicy = "- {kind: path-policy, name: array, spec: {policy: round-robin}}\n";

/// Settings first: order in a file means nothing.
std::string all_of_it() {
    return std::string(kPolicy) + kTimings + kAna + kRemote + kController + kSubsystem;
}

}  // namespace

TEST(Settings, Of_new_resources_are_set_behind_them_and_timings_before_paths) {
    FakeStore store;

    const Ran ran = run_site(store, "apply", all_of_it());

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, ElementsAre("create subsystem lab", "create controller lab/tcp",
                                       "ana lab/tcp ANA_STATE_NON_OPTIMIZED",
                                       "create remote-controller array", "policy array",
                                       "timings array keep_alive=10000", "create path array/p0"));
    EXPECT_THAT(ran.out, HasSubstr("~ change  timings"));
    EXPECT_THAT(ran.out, HasSubstr("keep_alive_ms: 5000 -> 10000"));
}

TEST(Settings, Twice_has_nothing_to_do) {
    FakeStore store;
    run_site(store, "apply", all_of_it());
    store.log.clear();

    const Ran again = run_site(store, "apply", all_of_it(), {"--prune"});
    const Ran diff = run_site(store, "diff", all_of_it());

    EXPECT_THAT(again.out, HasSubstr("nothing to do\n"));
    EXPECT_THAT(store.log, IsEmpty());
    EXPECT_EQ(diff.code, 0) << diff.out;
}

TEST(Settings, That_somebody_changed_are_set_again) {
    FakeStore store;
    run_site(store, "apply", all_of_it());
    store.run({"ana", "lab/tcp", "--set", "inaccessible"});
    store.run({"timings", "--remote", "nvmeRemoteControllers/array", "--keep-alive", "7"});
    store.log.clear();

    const Ran diff = run_site(store, "diff", all_of_it());
    const Ran ran = run_site(store, "apply", all_of_it());

    EXPECT_EQ(diff.code, 1);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_THAT(store.log, ElementsAre("ana lab/tcp ANA_STATE_NON_OPTIMIZED",
                                       "timings array keep_alive=10000"));
}

TEST(Settings, Zero_is_the_default_and_found_so) {
    FakeStore store;
    run_site(store, "apply", all_of_it());
    store.log.clear();
    const std::string zero = "- {kind: timings, name: array, spec: {keep_alive_ms: 0}}\n";

    const Ran first = run_site(store, "apply", zero);
    const Ran second = run_site(store, "apply", zero);

    EXPECT_EQ(first.code, 0) << first.err;
    EXPECT_THAT(second.out, HasSubstr("nothing to do\n"));
    EXPECT_THAT(store.log, ElementsAre("timings array keep_alive=0"));
}

TEST(Settings, Of_nothing_stop_the_plan) {
    FakeStore store;

    const Ran ran = run_site(store, "apply", std::string(kSubsystem) + kAna + kTimings);

    EXPECT_EQ(ran.code, 1);
    EXPECT_THAT(ran.out, HasSubstr("! blocked  ana        lab/tcp  there is no controller"));
    EXPECT_THAT(ran.out, HasSubstr("there is no remote-controller array"));
    EXPECT_THAT(store.log, IsEmpty());
}

TEST(Settings, Of_what_is_made_anew_are_set_anew) {
    FakeStore store;
    run_site(store, "apply", all_of_it());
    store.log.clear();
    std::string other = std::string(kAna) + kController + kSubsystem;
    other.replace(other.find("4420"), 4, "4421");

    const Ran ran = run_site(store, "apply", other, {"--replace"});

    EXPECT_EQ(ran.code, 0) << ran.out << ran.err;
    EXPECT_THAT(store.log, ElementsAre("delete controller lab/tcp", "create controller lab/tcp",
                                       "ana lab/tcp ANA_STATE_NON_OPTIMIZED"));
}

TEST(Settings, Keep_their_resource_from_being_pruned) {
    FakeStore store;
    run_site(store, "apply", all_of_it());

    const Ran ran =
        run_site(store, "diff",
                 std::string(kAna) + kSubsystem +
                     "- {kind: controller, name: lab/other, spec: {trtype: tcp, fabrics_id: "
                     "{traddr: 127.0.0.1, trsvcid: '4499', adrfam: ipv4}}}\n",
                 {"--prune"});

    EXPECT_THAT(ran.out, HasSubstr("ana lab/tcp is to use it"));
}

TEST(Settings, Are_exported_where_they_are_no_defaults) {
    FakeStore store;
    run_site(store, "apply", all_of_it());
    run_site(store, "apply",
             "- {kind: remote-controller, name: plain, spec: {multipath: disable}}\n");

    const Ran written = store.run({"export"});
    FakeStore other;
    const Ran made = run_site(other, "apply", written.out);
    const Ran again = other.run({"export"});

    EXPECT_EQ(made.code, 0) << made.err << written.out;
    EXPECT_EQ(again.out, written.out);
    EXPECT_THAT(written.out, HasSubstr("keep_alive_ms: 10000"));
    EXPECT_THAT(written.out, Not(HasSubstr("io_ms")));  // That is the default.
    EXPECT_THAT(written.out, Not(HasSubstr("PATH_POLICY_FAILOVER")));
    EXPECT_THAT(written.out, Not(HasSubstr("remote_controller:")));
    EXPECT_THAT(other.log, testing::Contains("policy array"));
}

TEST(Settings, Of_attachments_are_not_exported) {
    FakeStore store;
    run_site(store, "apply",
             "- {kind: attachment, name: 7, spec: {discovery: {traddr: 192.0.2.7, "
             "trsvcid: '8009'}, volume_uuid: x}}\n");
    store.run({"timings", "--remote", "nvmeRemoteControllers/attached-7", "--io", "60"});

    EXPECT_THAT(store.run({"export"}).out, Not(HasSubstr("timings")));
}

TEST(Settings, Of_an_older_daemon_are_left_out) {
    FakeStore store;
    store.has_settings = false;
    run_site(store, "apply", std::string(kController) + kSubsystem + kRemote);

    const Ran written = store.run({"export"});

    EXPECT_EQ(written.code, 0) << written.err;
    EXPECT_THAT(written.out, Not(HasSubstr("kind: ana")));
}

TEST(Settings, Errors_name_the_place) {
    FakeStore store;
    const struct {
        const char* text;
        const char* part;
    } cases[] = {
        {"- {kind: ana, name: lab/tcp, spec: {ana_state: good}}", ":1:"},
        {"- {kind: ana, name: lab/tcp, spec: {name: x}}", "the name stands beside spec"},
        {"- {kind: timings, name: array, spec: {remote_controller: x}}",
         "the name stands beside spec"},
        {"- {kind: timings, name: array, spec: {io: 5}}",
         "it has: connect_ms, keep_alive_ms, io_ms, reconnect_max_ms"},
        {"- {kind: ana, name: tcp, spec: {ana_state: optimized}}", "write PARENT/ID"},
    };
    for (const auto& one : cases) {
        const Ran ran = run_site(store, "apply", one.text);

        EXPECT_EQ(ran.code, 1) << one.text;
        EXPECT_THAT(ran.err, HasSubstr(one.part)) << one.text;
    }
}

}  // namespace remora::cli
