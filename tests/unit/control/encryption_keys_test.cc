// SPDX-License-Identifier: Apache-2.0
// The keys of encrypted volumes over restarts: opened again, not opened, remembered, forgotten; and
// a world that fails or stops at each step.
#include "tests/unit/control/encryption_fixture.h"

namespace remora::test {

namespace {

TEST_F(EncryptionTest, AnotherKeyAfterADeletion_isRefusedUntilTheOldIsForgotten) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    EXPECT_KIND(forget("m0"), FailedPrecondition);
    ASSERT_TRUE(remove("volumes/e0"));
    restart_plane();
    const auto refused = create("e1", encrypted("m0", key_of('b')));
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("forget-key"), std::string::npos);
    ASSERT_TRUE(create("e1", encrypted("m0"))) << "the same key is right";
    ASSERT_TRUE(remove("volumes/e1"));
    ASSERT_TRUE(forget("mallocVolumes/m0"));
    EXPECT_TRUE(forget("m0")) << "there is none any more";
    EXPECT_TRUE(create("e1", encrypted("m0", key_of('b'))));
    EXPECT_KIND(forget("nowhere"), NotFound);
}

TEST_F(EncryptionTest, VolumeBelow_deletedAndMadeAnew_takesAnyKey) {
    const auto uuid = node->volumes["mallocVolumes/m0"].uuid.text();
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(remove("volumes/e0"));
    ASSERT_TRUE(delete_malloc("volumes/m0"));
    opi::CreateMallocVolumeRequest request;
    request.set_malloc_volume_id("m0");
    request.mutable_malloc_volume()->set_block_size(512);
    request.mutable_malloc_volume()->set_blocks_count(8);
    request.mutable_malloc_volume()->set_uuid(uuid);
    ASSERT_TRUE(call(&ControlPlane::volumes, &control::Volumes::create_malloc, request));
    EXPECT_TRUE(create("e0", encrypted("m0", key_of('b'))));
}

TEST_F(EncryptionTest, Restart_buildsItAgain) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(create_disk("e0"));
    const core::Uuid uuid = node->encrypted["encryptedVolumes/e0"].uuid;
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_EQ(node->encrypted["encryptedVolumes/e0"].uuid, uuid);
    EXPECT_TRUE(node->vhosts.contains("disk0"));
}

TEST_F(EncryptionTest, OtherSealKey_leavesItUnbuilt_untilItsKeyComesAgain) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    seal_keys->key[0] = 'x';
    restart_plane();
    EXPECT_EQ(built_key("e0"), "");
    const api::Condition condition = ready_of("volumes/e0");
    EXPECT_EQ(condition.status(), api::Condition::STATUS_FALSE);
    EXPECT_EQ(condition.reason(), "KeyNotUnsealed");
    EXPECT_NE(condition.message().find("--seal-key"), std::string::npos);
    const auto disk = create_disk("e0");
    EXPECT_KIND(disk, FailedPrecondition);
    EXPECT_NE(disk.error().message.find("cannot be unsealed"), std::string::npos);
    EXPECT_KIND(create_disk("m0"), FailedPrecondition) << "it still has the volume for itself";
    EXPECT_KIND(create("e0", encrypted("m0", key_of('b'))), AlreadyExists);
    EXPECT_EQ(built_key("e0"), "");

    ASSERT_TRUE(create("e0", encrypted("m0"))) << "the right key";

    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_EQ(ready_of("volumes/e0").status(), api::Condition::STATUS_TRUE);
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('a')) << "it was sealed anew";
}

TEST_F(EncryptionTest, UnreadableSealKey_orDamagedRecord_leavesItUnbuilt_andCanBeDeleted) {
    ASSERT_TRUE(create_malloc("m1"));
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(create("e1", encrypted("m1", key_of('b'))));
    seal_keys->trouble = "the seal key is not there";
    restart_plane();
    EXPECT_EQ(ready_of("volumes/e0").reason(), "KeyNotUnsealed");
    EXPECT_TRUE(remove("volumes/e0"));

    // The key of one under the name of the other: what somebody who can write the store may try.
    seal_keys->trouble.clear();
    edit_stored("volumes/e2", [](state::Record& record) {
        opi::EncryptedVolume resource;
        EXPECT_TRUE(resource.ParseFromString(record.resource()));
        resource.set_name("volumes/e2");
        record.set_resource(resource.SerializeAsString());
    });
    restart_plane();
    EXPECT_TRUE(node->encrypted.empty());
    EXPECT_EQ(ready_of("volumes/e2").reason(), "KeyNotUnsealed");
    EXPECT_NE(ready_of("volumes/e2").message().find("of another volume"), std::string::npos);
}

TEST_F(EncryptionTest, VolumeBelowThatIsNotThere_leavesItUnbuilt) {
    network.files["/f"] = 1 << 20;
    opi::CreateAioVolumeRequest file;
    file.set_aio_volume_id("f0");
    file.mutable_aio_volume()->set_filename("/f");
    file.mutable_aio_volume()->set_block_size(512);
    ASSERT_TRUE(call(&ControlPlane::volumes, &control::Volumes::create_aio, file));
    ASSERT_TRUE(create("e0", encrypted("f0")));
    network.files.erase("/f");
    restart_plane();
    EXPECT_EQ(ready_of("volumes/e0").reason(), "NoVolume");
    EXPECT_EQ(built_key("e0"), "");
    network.files["/f"] = 1 << 20;
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('a'));
}

TEST_F(EncryptionTest, VolumeBelowThatIsAnother_isNotWrittenTo) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    edit_stored("volumes/e0", [](state::Record& record) {
        record.mutable_encryption()->set_lower_uuid(uuid_of(5).text());
    });
    restart_plane();
    EXPECT_EQ(built_key("e0"), "");
    EXPECT_EQ(ready_of("volumes/e0").reason(), "NotBuilt");
    EXPECT_NE(ready_of("volumes/e0").message().find(uuid_of(5).text()), std::string::npos);
}

TEST_F(EncryptionTest, EachStep_failsOrStops_leavesAllOrNothing) {
    for (const bool crash : {false, true}) {
        for (int step = 1; step <= 4; ++step) {
            SCOPED_TRACE(testing::Message() << "step " << step << (crash ? " crashes" : " fails"));
            steps = {};
            (crash ? steps.crash_at : steps.fail_at) = step;
            const auto made = create("e0", encrypted("m0"));
            steps.fail_at = 0;
            if (!crash) {
                EXPECT_EQ(built_key("e0"), made ? key_of('a') : "");
            }
            restart_plane();
            EXPECT_EQ(built_key("e0"), made ? key_of('a') : "");
            EXPECT_FALSE(stored_shows_key());

            const bool was = made.has_value();
            (crash ? steps.crash_at : steps.fail_at) = step;
            const auto gone = remove("volumes/e0", true);
            steps.fail_at = 0;
            if (!crash) {
                EXPECT_EQ(built_key("e0"), was && !gone ? key_of('a') : "");
            }
            restart_plane();
            EXPECT_EQ(built_key("e0"), was && !gone ? key_of('a') : "");
            EXPECT_TRUE(remove("volumes/e0", true));
        }
    }
}

}  // namespace

}  // namespace remora::test
