// SPDX-License-Identifier: Apache-2.0
// RAID volumes of remora.v1 over fakes: what may be made of what, crashes in the midst, members
// that come and go.
#include "tests/unit/control/layers_fixture.h"

namespace remora::test {

namespace {

using api::RAID_LEVEL_0;
using api::RAID_LEVEL_1;
using api::RAID_LEVEL_10;
using api::RAID_LEVEL_5;
using api::RAID_LEVEL_CONCAT;

TEST_F(LayersTest, Raid_create_isWholeAndShown) {
    const auto made =
        create_array("r0", array_of(RAID_LEVEL_5, {"m0", "m1", "volumes/m2"}, {"m3"}));
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->name(), "volumes/r0");
    EXPECT_EQ(made->health(), api::RaidVolume::HEALTH_OPTIMAL);
    EXPECT_EQ(made->member_states_size(), 4);
    EXPECT_FALSE(made->uuid().empty());
    EXPECT_GT(made->size_bytes(), 0U);
    const auto& spec = node->arrays.at("raidVolumes/r0").spec;
    EXPECT_EQ(spec.members, (std::vector<std::string>{"mallocVolumes/m0", "mallocVolumes/m1",
                                                      "mallocVolumes/m2"}));
    EXPECT_EQ(spec.chunk_bytes, 65536U);
    EXPECT_TRUE(spec.fresh);
    EXPECT_EQ(condition_of("volumes/r0", "Ready"), "true Available");
    EXPECT_EQ(condition_of("volumes/r0", "Degraded"), "false AllMembersActive");
}

TEST_F(LayersTest, Raid_createAgain_isAnswered_otherwiseRefused) {
    const auto first = create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}));
    ASSERT_TRUE(first);
    const auto again =
        create_array("r0", array_of(RAID_LEVEL_1, {"mallocVolumes/m0", "volumes/m1"}));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->uuid(), first->uuid());
    EXPECT_REFUSED(create_array("r0", array_of(RAID_LEVEL_1, {"m1", "m0"})), AlreadyExists,
                   "members");
    EXPECT_REFUSED(create_array("r0", array_of(RAID_LEVEL_0, {"m0", "m1"})), AlreadyExists,
                   "level");
}

TEST_F(LayersTest, Raid_badShape_isRefusedWithTheRemedy) {
    struct Case {
        api::RaidVolume array;
        ErrorKind kind;
        const char* text;
    };
    auto chunk = array_of(RAID_LEVEL_0, {"m0", "m1"});
    chunk.set_chunk_bytes(12288);
    auto rate = array_of(RAID_LEVEL_1, {"m0", "m1"});
    rate.set_background_mbs(20'000'000);
    const std::vector<Case> cases{
        {array_of(RAID_LEVEL_1, {"m0"}), ErrorKind::InvalidArgument, "takes 2 to 16 members"},
        {array_of(RAID_LEVEL_5, {"m0", "m1"}), ErrorKind::InvalidArgument, "takes 3 to 16"},
        {array_of(RAID_LEVEL_10, {"m0", "m1", "m2", "m3", "m4"}), ErrorKind::InvalidArgument,
         "made of pairs"},
        {array_of(RAID_LEVEL_0, {"m0", "m1"}, {"m2"}), ErrorKind::InvalidArgument,
         "a spare is of no use"},
        {array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2", "m3", "m4", "x", "y"}),
         ErrorKind::InvalidArgument, "spares: at most 4"},
        {array_of(RAID_LEVEL_1, {"m0", "volumes/m0"}), ErrorKind::InvalidArgument, "named twice"},
        {array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m1"}), ErrorKind::InvalidArgument, "named twice"},
        {array_of(RAID_LEVEL_1, {"m0", "none"}), ErrorKind::NotFound, "members[1]"},
        {array_of(api::RAID_LEVEL_UNSPECIFIED, {"m0", "m1"}), ErrorKind::InvalidArgument, "level"},
        {array_of(RAID_LEVEL_1, {}), ErrorKind::InvalidArgument, "members"},
        {chunk, ErrorKind::InvalidArgument, "no power of two"},
        {rate, ErrorKind::InvalidArgument, "background_mbs"},
    };
    for (const Case& one : cases) {
        const auto made = create_array("r0", one.array);
        ASSERT_FALSE(made) << one.text;
        EXPECT_EQ(made.error().kind, one.kind) << made.error().message;
        EXPECT_NE(made.error().message.find(one.text), std::string::npos) << made.error().message;
    }
    EXPECT_TRUE(node->arrays.empty());
}

TEST_F(LayersTest, Raid_membersInUse_areRefusedBothWays) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"})));
    EXPECT_REFUSED(create_array("r1", array_of(RAID_LEVEL_1, {"m1", "m2"})), FailedPrecondition,
                   "in use by raidVolumes/r0");
    EXPECT_REFUSED(create_checked("i0", "m0"), FailedPrecondition, "raidVolumes/r0");
    EXPECT_REFUSED(delete_malloc("volumes/m0"), FailedPrecondition, "raidVolumes/r0");
    ASSERT_TRUE(create_checked("i0", "r0")) << "layers stack";
    EXPECT_REFUSED(delete_array("volumes/r0"), FailedPrecondition, "integrityVolumes/i0");
}

TEST_F(LayersTest, Raid_anothersMarks_areTakenOnlyWhenAsked) {
    network.marks["mallocVolumes/m1"] = "array of somebody else";
    EXPECT_REFUSED(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"})), AlreadyExists,
                   "carries another");
    EXPECT_REFUSED(get_array("volumes/r0"), NotFound, "r0");
    EXPECT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}), true));
}

TEST_F(LayersTest, Raid_restart_assemblesWhatIsThere) {
    const auto made = create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"}));
    ASSERT_TRUE(made);
    restart_plane();
    const auto& array = node->arrays.at("raidVolumes/r0");
    EXPECT_FALSE(array.spec.fresh);
    EXPECT_EQ(array.spec.uuid.text(), made->uuid());
    EXPECT_EQ(array.spec.members.size(), 3U) << "spares are found by their superblocks";
}

TEST_F(LayersTest, Raid_stackOfLayers_isRebuiltFromTheGround) {
    ASSERT_TRUE(create_checked("z", "m0"));
    ASSERT_TRUE(create_checked("y", "m1"));
    ASSERT_TRUE(create_array("a", array_of(RAID_LEVEL_1, {"z", "y"})));
    restart_plane();
    for (const char* volume : {"integrityVolumes/z", "integrityVolumes/y", "raidVolumes/a"}) {
        EXPECT_TRUE(node->find_volume(volume)) << volume;
    }
}

TEST_F(LayersTest, Raid_createFails_leavesNothing) {
    for (int step = 1; step <= 4; ++step) {
        steps = {};
        steps.fail_at = step;
        const auto made = create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"}));
        steps = {};
        if (!made) {
            EXPECT_TRUE(node->arrays.empty()) << step;
            EXPECT_REFUSED(get_array("volumes/r0"), NotFound, "r0");
            network.marks.clear();
            EXPECT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"}))) << step;
        }
        ASSERT_TRUE(delete_array("volumes/r0")) << step;
    }
}

TEST_F(LayersTest, Raid_killedInTheMidstOfCreate_isWhollyThereOrWhollyGone) {
    bool there = false;
    bool gone = false;
    for (int step = 1; step <= 6; ++step) {
        steps = {};
        steps.crash_at = step;
        const auto made = create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"}));
        restart_plane();
        const auto found = get_array("volumes/r0");
        EXPECT_TRUE(found || !made) << "what was answered is there; step " << step;
        (found ? there : gone) = true;
        EXPECT_EQ(node->arrays.contains("raidVolumes/r0"), found.has_value()) << step;
        EXPECT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"}))) << step;
        ASSERT_TRUE(delete_array("volumes/r0")) << step;
        restart_plane();
    }
    EXPECT_TRUE(there && gone) << "the loop has met both";
}

TEST_F(LayersTest, Raid_replace_letsTheOldOneGoWhenTheNewOneHasAll) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"})));
    const auto begun = replace("volumes/r0", "m1", "m2");
    ASSERT_TRUE(begun) << begun.error().message;
    EXPECT_EQ(begun->work().kind(), api::BackgroundWork::KIND_REBUILD);
    settle();
    EXPECT_REFUSED(delete_malloc("volumes/m1"), FailedPrecondition, "raidVolumes/r0");
    EXPECT_REFUSED(delete_malloc("volumes/m2"), FailedPrecondition, "raidVolumes/r0");
    node->finish_rebuild("raidVolumes/r0");
    settle();
    const auto now = get_array("volumes/r0");
    ASSERT_TRUE(now);
    EXPECT_EQ(now->members(1), "m2");
    EXPECT_TRUE(delete_malloc("volumes/m1")) << "it is free again";
    EXPECT_REFUSED(delete_malloc("volumes/m2"), FailedPrecondition, "raidVolumes/r0");
    restart_plane();
    EXPECT_EQ(node->arrays.at("raidVolumes/r0").spec.members,
              (std::vector<std::string>{"mallocVolumes/m0", "mallocVolumes/m2"}));
}

TEST_F(LayersTest, Raid_spareStepsIn_theStoreFollows) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"})));
    auto& status = node->arrays.at("raidVolumes/r0").status;
    status.members[1].name = "mallocVolumes/m2";  // what the array does by itself
    status.members.pop_back();
    settle();
    const auto now = get_array("volumes/r0");
    ASSERT_TRUE(now);
    EXPECT_EQ(now->members(1), "m2");
    EXPECT_EQ(now->spares_size(), 0);
    EXPECT_TRUE(delete_malloc("volumes/m1"));
}

TEST_F(LayersTest, Raid_removeMember_degrades_theLastIsRefused) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"})));
    ASSERT_TRUE(take_away("volumes/r0", "m1"));
    EXPECT_EQ(condition_of("volumes/r0", "Degraded"), "true MemberLost");
    EXPECT_TRUE(delete_malloc("volumes/m1"));
    EXPECT_REFUSED(take_away("volumes/r0", "m0"), FailedPrecondition, "last good copy");
    EXPECT_REFUSED(take_away("volumes/r0", "m4"), NotFound, "its members are");
    // Its place is still called by its name.
    EXPECT_TRUE(replace("volumes/r0", "m1", "m2"));
}

TEST_F(LayersTest, Raid_ofItself_isRefused) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_10, {"m0", "m1", "m2", "m3"})));
    EXPECT_REFUSED(replace("volumes/r0", "m0", "r0"), FailedPrecondition,
                   "made of the array itself");
    auto wanted = array_of(RAID_LEVEL_10, {"m0", "m1", "m2", "m3"}, {"r0"});
    wanted.set_name("volumes/r0");
    EXPECT_REFUSED(update_array(wanted), FailedPrecondition, "made of the array itself");
    ASSERT_TRUE(create_checked("i0", "r0"));
    EXPECT_REFUSED(replace("volumes/r0", "m0", "i0"), FailedPrecondition,
                   "made of the array itself");
}

TEST_F(LayersTest, Raid_update_changesSparesAndRate) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m2"})));
    auto wanted = array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m3"});
    wanted.set_name("volumes/r0");
    wanted.set_background_mbs(50);
    const auto updated = update_array(wanted);
    ASSERT_TRUE(updated) << updated.error().message;
    ASSERT_EQ(updated->spares_size(), 1);
    EXPECT_EQ(updated->spares(0), "m3");
    EXPECT_EQ(node->background_rates.at("raidVolumes/r0"), std::uint64_t{50} << 20U);
    EXPECT_TRUE(delete_malloc("volumes/m2"));
    EXPECT_REFUSED(delete_malloc("volumes/m3"), FailedPrecondition, "raidVolumes/r0");
    wanted.set_level(RAID_LEVEL_0);
    EXPECT_REFUSED(update_array(wanted, {"level"}), FailedPrecondition, "level");
    ASSERT_TRUE(create_checked("i0", "m4"));
    auto busy = array_of(RAID_LEVEL_1, {"m0", "m1"}, {"m4"});
    busy.set_name("volumes/r0");
    EXPECT_REFUSED(update_array(busy, {"spares"}), FailedPrecondition, "integrityVolumes/i0");
}

TEST_F(LayersTest, Raid_memberGone_startsDegraded_andDeleteFrees) {
    ASSERT_TRUE(create_array("r0", array_of(RAID_LEVEL_1, {"m0", "m1"})));
    ASSERT_TRUE(delete_array("volumes/r0"));
    EXPECT_TRUE(network.marks.empty()) << "what it left on its members is gone";
    EXPECT_TRUE(create_array("r1", array_of(RAID_LEVEL_CONCAT, {"m0", "m1"})));
    EXPECT_REFUSED(delete_array("volumes/r0"), NotFound, "r0");
    EXPECT_TRUE(delete_array("volumes/r0", true));
}

}  // namespace

}  // namespace remora::test
