// SPDX-License-Identifier: Apache-2.0
// Volumes with checksums and fault injections of remora.v1 over fakes.
#include "tests/unit/control/layers_fixture.h"

namespace remora::test {

namespace {

TEST_F(LayersTest, Integrity_create_takesTheVolume) {
    const auto made = create_checked("i0", "m0");
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->name(), "volumes/i0");
    EXPECT_LT(made->size_bytes(), 1024U * 512U);
    EXPECT_FALSE(made->uuid().empty());
    EXPECT_FALSE(made->has_first_bad_lba());
    const auto again = create_checked("i0", "mallocVolumes/m0");
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->uuid(), made->uuid());
    EXPECT_REFUSED(create_checked("i0", "m1"), AlreadyExists, "volume_name_ref");
    EXPECT_REFUSED(create_checked("i1", "m0"), FailedPrecondition, "integrityVolumes/i0");
}

TEST_F(LayersTest, Integrity_mismatch_degradesAndNamesTheBlock) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    EXPECT_EQ(condition_of("volumes/i0", "Degraded"), "false NoMismatch");
    node->integrity.at("integrityVolumes/i0").mismatches = 2;
    node->integrity.at("integrityVolumes/i0").first_bad_lba = 77;
    const auto seen = get_checked("volumes/i0");
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->mismatches(), 2U);
    EXPECT_EQ(seen->first_bad_lba(), 77U);
    EXPECT_EQ(condition_of("volumes/i0", "Degraded"), "true ChecksumMismatch");
}

TEST_F(LayersTest, Integrity_restart_opensWhatWasMade) {
    const auto made = create_checked("i0", "m0");
    ASSERT_TRUE(made);
    restart_plane();
    const auto& spec = node->checked.at("integrityVolumes/i0");
    EXPECT_FALSE(spec.fresh);
    EXPECT_EQ(spec.uuid.text(), made->uuid());
}

TEST_F(LayersTest, Integrity_marksLost_isNotBuiltAndSaysSo) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    network.marks.clear();
    restart_plane();
    EXPECT_EQ(condition_of("volumes/i0", "Ready"), "false NotBuilt");
    EXPECT_REFUSED(create_fault("f0", slow_reads("i0")), FailedPrecondition, "carries nothing");
}

TEST_F(LayersTest, Fault_create_isInForceAndOneOfAVolume) {
    const auto made = create_fault("f0", slow_reads("m0"));
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->name(), "faultInjections/f0");
    const auto& settings = node->volume_faults.at("mallocVolumes/m0");
    ASSERT_EQ(settings.delays.size(), 1U);
    EXPECT_TRUE(settings.delays[0].on.read);
    EXPECT_FALSE(settings.delays[0].on.write);
    EXPECT_EQ(settings.delays[0].mean, std::chrono::milliseconds(5));
    EXPECT_TRUE(create_fault("f0", slow_reads("volumes/m0"))) << "the same again";
    EXPECT_REFUSED(create_fault("f1", slow_reads("m0")), AlreadyExists, "faultInjections/f0");
    EXPECT_REFUSED(delete_malloc("volumes/m0"), FailedPrecondition, "faultInjections/f0");
}

TEST_F(LayersTest, Fault_update_changesRules_deleteEndsThem) {
    ASSERT_TRUE(create_fault("f0", slow_reads("m0")));
    api::FaultInjection wanted = slow_reads("m0");
    wanted.set_name("faultInjections/f0");
    wanted.clear_delays();
    wanted.add_errors()->set_error(api::ErrorRule::ERROR_NO_SPACE);
    const auto updated = update_fault(wanted, {"errors", "delays"});
    ASSERT_TRUE(updated) << updated.error().message;
    const auto& settings = node->volume_faults.at("mallocVolumes/m0");
    EXPECT_TRUE(settings.delays.empty());
    ASSERT_EQ(settings.errors.size(), 1U);
    EXPECT_EQ(settings.errors[0].status, block::Status::NoSpace);
    ASSERT_TRUE(delete_fault("faultInjections/f0"));
    EXPECT_TRUE(node->volume_faults.empty());
    EXPECT_TRUE(delete_malloc("volumes/m0"));
}

TEST_F(LayersTest, Fault_restart_isInForceAgain) {
    ASSERT_TRUE(create_fault("f0", slow_reads("m0")));
    restart_plane();
    EXPECT_TRUE(node->volume_faults.contains("mallocVolumes/m0"));
}

TEST_F(LayersTest, Fault_nonsense_isRefusedWithField) {
    api::FaultInjection none = slow_reads("m0");
    none.clear_delays();
    EXPECT_REFUSED(create_fault("f0", none), InvalidArgument, "it does nothing");
    api::FaultInjection chance = slow_reads("m0");
    chance.mutable_delays(0)->mutable_scope()->set_probability(1.5);
    EXPECT_REFUSED(create_fault("f0", chance), InvalidArgument, "probability");
    api::FaultInjection longest = slow_reads("m0");
    longest.mutable_delays(0)->mutable_mean()->set_seconds(61);
    EXPECT_REFUSED(create_fault("f0", longest), InvalidArgument, "mean");
    api::FaultInjection negative = slow_reads("m0");
    negative.mutable_delays(0)->mutable_mean()->set_nanos(-5);
    EXPECT_REFUSED(create_fault("f0", negative), InvalidArgument, "delays[0].mean");
    EXPECT_TRUE(node->volume_faults.empty());
}

TEST_F(LayersTest, Stack_tooHighForARequest_isRefused) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    ASSERT_TRUE(create_checked("i1", "i0"));
    EXPECT_REFUSED(create_checked("i2", "i1"), FailedPrecondition, "leave one out");
    ASSERT_TRUE(create_fault("f0", slow_reads("m0"))) << "the eighth stage";
    EXPECT_REFUSED(create_fault("f1", slow_reads("i1")), FailedPrecondition, "leave one out");
}

TEST_F(LayersTest, Overview_layers_haveTheirWholeChain) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    ASSERT_TRUE(create_checked("i1", "m1"));
    api::RaidVolume mirror = array_of(api::RAID_LEVEL_1, {"i0", "i1"});
    ASSERT_TRUE(create_array("r0", mirror));
    ASSERT_TRUE(create_fault("f0", slow_reads("r0")));
    const auto all =
        call(&ControlPlane::overview, &control::Overview::volumes, api::ListVolumesRequest());
    ASSERT_TRUE(all);
    bool found = false;
    for (const auto& volume : all->volumes()) {
        if (volume.name() == "raidVolumes/r0") {
            found = true;
            EXPECT_EQ(volume.kind(), "raid");
            ASSERT_EQ(volume.chain_size(), 5);
            EXPECT_EQ(volume.chain(1), "integrityVolumes/i0");
            EXPECT_EQ(volume.chain(2), "mallocVolumes/m0");
            EXPECT_EQ(volume.chain(4), "mallocVolumes/m1");
            EXPECT_EQ(volume.disturbed_by(0), "faultInjections/f0");
        }
    }
    EXPECT_TRUE(found);
}

}  // namespace

}  // namespace remora::test
