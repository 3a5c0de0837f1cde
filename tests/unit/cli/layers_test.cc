// SPDX-License-Identifier: Apache-2.0
// Arrays, checksums and faults on purpose on the command line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "remora/v1/fault.pb.h"
#include "remora/v1/integrity.pb.h"
#include "remora/v1/raid.pb.h"
#include "tests/unit/cli/site_file.h"

namespace remora::cli {

namespace {

namespace api = remora::v1;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

}  // namespace

TEST(Create, Raid_sends_members_in_order) {
    FakeDaemon daemon;
    const Ran ran =
        run_at(daemon, {"create", "raid", "r0", "--level", "5", "--members", "a,b,arrayn1",
                        "--spares", "d", "--chunk", "16k", "--background-mbs", "50"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<api::CreateRaidVolumeRequest>();
    EXPECT_EQ(request.raid_volume_id(), "r0");
    EXPECT_EQ(request.raid_volume().level(), api::RAID_LEVEL_5);
    EXPECT_THAT(request.raid_volume().members(), ElementsAre("a", "b", "arrayn1"));
    EXPECT_THAT(request.raid_volume().spares(), ElementsAre("d"));
    EXPECT_EQ(request.raid_volume().chunk_bytes(), 16384U);
    EXPECT_EQ(request.raid_volume().background_mbs(), 50U);
    EXPECT_FALSE(request.overwrite());
}

TEST(Create, Raid_refuses_what_cannot_be_before_it_asks) {
    FakeDaemon daemon;
    const Ran level = run_at(daemon, {"create", "raid", "r0", "--level", "6", "--members", "a,b"});
    EXPECT_NE(level.code, 0);
    EXPECT_THAT(level.err, HasSubstr("concat"));
    const Ran name = run_at(daemon, {"create", "raid", "r0", "--level", "1", "--members", "a,,b"});
    EXPECT_NE(name.code, 0);
    EXPECT_THAT(name.err, HasSubstr("a name is missing"));
    EXPECT_THAT(daemon.methods(), IsEmpty());
}

TEST(Create, Fault_makes_rules_of_its_flags) {
    FakeDaemon daemon;
    const Ran ran =
        run_at(daemon, {"create",   "fault",          "f0",         "--volume",
                        "disk0",    "--fail",         "read,unmap", "--fail-probability",
                        "0.25",     "--fail-count",   "3",          "--error",
                        "no-space", "--delay",        "all",        "--mean-us",
                        "2500000",  "--distribution", "normal",     "--spread-us",
                        "10",       "--first-lba",    "8",          "--block-count",
                        "16"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto fault = daemon.request<api::CreateFaultInjectionRequest>().fault_injection();
    ASSERT_EQ(fault.errors_size(), 1);
    EXPECT_THAT(fault.errors(0).scope().operations(),
                ElementsAre(api::FaultScope::OPERATION_READ, api::FaultScope::OPERATION_UNMAP));
    EXPECT_EQ(fault.errors(0).scope().probability(), 0.25);
    EXPECT_EQ(fault.errors(0).scope().first_lba(), 8U);
    EXPECT_EQ(fault.errors(0).count(), 3U);
    EXPECT_EQ(fault.errors(0).error(), api::ErrorRule::ERROR_NO_SPACE);
    ASSERT_EQ(fault.delays_size(), 1);
    EXPECT_THAT(fault.delays(0).scope().operations(), IsEmpty());
    EXPECT_FALSE(fault.delays(0).scope().has_probability());
    EXPECT_EQ(fault.delays(0).mean().seconds(), 2);
    EXPECT_EQ(fault.delays(0).mean().nanos(), 500'000'000);
    EXPECT_EQ(fault.delays(0).distribution(), api::DelayRule::DISTRIBUTION_NORMAL);
}

TEST(Create, Fault_refuses_words_that_mean_nothing) {
    FakeDaemon daemon;
    const auto refused = [&](const std::string& flag, const std::string& value) {
        const Ran ran = run_at(
            daemon, {"create", "fault", "f0", "--volume", "disk0", "--fail", "read", flag, value});
        EXPECT_NE(ran.code, 0) << flag;
        return ran.err;
    };
    EXPECT_THAT(refused("--delay", "writes"), HasSubstr("use read, write, flush, unmap or all"));
    EXPECT_THAT(refused("--fail-probability", "often"), HasSubstr("such as 0.01"));
    EXPECT_THAT(daemon.methods(), IsEmpty());
}

TEST(Scrub, Waits_and_shows_what_came_of_it) {
    FakeDaemon daemon;
    api::RaidVolume busy;
    busy.set_name("volumes/r0");
    busy.set_level(api::RAID_LEVEL_1);
    busy.mutable_work()->set_kind(api::BackgroundWork::KIND_SCRUB);
    busy.mutable_work()->set_done_bytes(1);
    busy.mutable_work()->set_total_bytes(4);
    api::RaidVolume done = busy;
    done.clear_work();
    done.set_health(api::RaidVolume::HEALTH_OPTIMAL);
    daemon.answer("ScrubRaidVolume", busy);
    daemon.answer("GetRaidVolume", busy);
    daemon.answer("GetRaidVolume", done);

    const Ran ran = run_at(daemon, {"scrub", "raid", "r0", "--wait"});

    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(daemon.request<api::ScrubRaidVolumeRequest>().name(), "volumes/r0");
    EXPECT_EQ(daemon.methods().size(), 3U);
    EXPECT_THAT(ran.out, HasSubstr("optimal"));
}

TEST(ReplaceMember, Sends_all_names) {
    FakeDaemon daemon;
    const Ran ran = run_at(daemon, {"replace-member", "r0", "--member", "b", "--with", "e"});
    EXPECT_EQ(ran.code, 0) << ran.err;
    const auto request = daemon.request<api::ReplaceRaidMemberRequest>();
    EXPECT_EQ(request.name(), "volumes/r0");
    EXPECT_EQ(request.member(), "b");
    EXPECT_EQ(request.replacement(), "e");
}

// A site's file has what the command line has no flags for.
TEST(Apply, Layers_are_declared_like_all_else) {
    FakeStore store;
    const std::string text =
        malloc_of("disk0", "{size: 64M}") + malloc_of("disk1", "{size: 64M}") +
        "- {kind: raid, name: r0, spec: {level: RAID_LEVEL_1, members: [disk0, disk1]}}\n"
        "- {kind: fault, name: f0, spec: {volume_name_ref: r0, delays: [{mean: 0.005s}]}}\n";
    const Ran first = run_site(store, "apply", text);
    EXPECT_EQ(first.code, 0) << first.err;
    const auto* array = store.find<api::RaidVolume>("volumes/r0");
    ASSERT_NE(array, nullptr);
    EXPECT_EQ(array->members_size(), 2);
    const auto* fault = store.find<api::FaultInjection>("faultInjections/f0");
    ASSERT_NE(fault, nullptr);
    EXPECT_EQ(fault->delays(0).mean().nanos(), 5'000'000);
    const Ran again = run_site(store, "apply", text);
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_THAT(again.out, HasSubstr("nothing"));
}

}  // namespace remora::cli
