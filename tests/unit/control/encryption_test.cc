// SPDX-License-Identifier: Apache-2.0
// Encrypted volumes over fakes: what the data plane is told, what is refused, and what is shown.
#include "tests/unit/control/encryption_fixture.h"

namespace remora::test {

namespace {

TEST_F(EncryptionTest, Create_buildsItOverTheVolume_andShowsNoKey) {
    const auto made = create("e0", encrypted("m0"));
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->name(), "volumes/e0");
    EXPECT_EQ(made->key(), "");
    EXPECT_EQ(made->cipher(), opi::ENCRYPTION_TYPE_AES_XTS_256);
    const auto& built = node->encrypted.at("encryptedVolumes/e0");
    EXPECT_EQ(built.lower, "mallocVolumes/m0");
    EXPECT_EQ(built.sector_size, 512U);
    EXPECT_EQ(built.numbers, services::crypto::SectorNumbers::Units512);
    EXPECT_FALSE(built.uuid.is_nil());
    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_FALSE(stored_shows_key());
    EXPECT_EQ(ready_of("volumes/e0").status(), api::Condition::STATUS_TRUE);
}

TEST_F(EncryptionTest, GetListWatchAndOverview_showAllButTheKey) {
    opi::ListEncryptedVolumesRequest list;
    EXPECT_KIND(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::list, list),
                InvalidArgument);
    const auto watcher = std::make_shared<control::Watcher>(api::WatchResourcesRequest());
    ASSERT_TRUE(plane->watchers.add(watcher, {}));
    ASSERT_TRUE(create("e0", encrypted("m0", key_of('a', 32))));
    list.set_parent("todo");  // what a published client sends
    const auto listed =
        checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::list, list));
    ASSERT_TRUE(listed && listed->encrypted_volumes_size() == 1);
    EXPECT_EQ(listed->encrypted_volumes(0).volume_name_ref(), "m0");
    EXPECT_EQ(listed->encrypted_volumes(0).cipher(), opi::ENCRYPTION_TYPE_AES_XTS_128);
    opi::GetEncryptedVolumeRequest get;
    get.set_name("encryptedVolumes/e0");
    const auto got = checked(call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::get, get));
    ASSERT_TRUE(got);
    EXPECT_EQ(got->SerializeAsString(), listed->encrypted_volumes(0).SerializeAsString());
    opi::StatsEncryptedVolumeRequest stats;
    stats.set_name("volumes/e0");
    const auto counted = call(&ControlPlane::encrypted_volumes, &EncryptedVolumes::stats, stats);
    ASSERT_TRUE(counted);
    EXPECT_EQ(counted->stats().read_ops_count(), 3);
    bool seen = false;
    for (const auto& event : watcher->take(core::Nanos(0)).events) {
        EXPECT_FALSE(shows_key(event->SerializeAsString()));
        seen = seen || (event->type() == api::ResourceEvent::TYPE_ADDED &&
                        event->kind() == "opi_api.storage.v1.EncryptedVolume");
    }
    EXPECT_TRUE(seen);
    const auto all = checked(
        call(&ControlPlane::overview, &control::Overview::volumes, api::ListVolumesRequest()));
    ASSERT_TRUE(all && all->volumes_size() == 2);
    EXPECT_EQ(all->volumes(0).name(), "encryptedVolumes/e0");
    EXPECT_EQ(all->volumes(0).kind(), "encrypted");
    EXPECT_TRUE(all->volumes(0).ready());
    ASSERT_EQ(all->volumes(0).chain_size(), 2);
    EXPECT_EQ(all->volumes(0).chain(1), "mallocVolumes/m0");
    ASSERT_EQ(all->volumes(1).used_by_size(), 1);
    EXPECT_EQ(all->volumes(1).used_by(0), "encryptedVolumes/e0");
}

TEST_F(EncryptionTest, Create_again_isIdempotentWithTheSameKeyOnly) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    EXPECT_TRUE(create("e0", encrypted("mallocVolumes/m0"))) << "another spelling";
    const auto other = create("e0", encrypted("m0", key_of('b')));
    EXPECT_KIND(other, AlreadyExists);
    EXPECT_NE(other.error().message.find("another key"), std::string::npos);
    EXPECT_KIND(create("e0", encrypted("m0", key_of('a', 32))), AlreadyExists);
    EXPECT_EQ(built_key("e0"), key_of('a'));
}

TEST_F(EncryptionTest, BadRequests_areRefusedWithTheirField) {
    const auto sizes = create("e0", [] {
        auto volume = encrypted("m0");
        volume.set_cipher(opi::ENCRYPTION_TYPE_AES_XTS_128);
        return volume;
    }());
    EXPECT_KIND(sizes, InvalidArgument);
    EXPECT_NE(sizes.error().message.find("expected key size 32b, provided size 64b"),
              std::string::npos);
    EXPECT_KIND(create("e0", encrypted("m0", key_of('a', 64).substr(1))), InvalidArgument);
    const std::string half = key_of('a', 32);
    EXPECT_KIND(create("e0", encrypted("m0", half + half)), InvalidArgument);
    for (const auto cipher : {opi::ENCRYPTION_TYPE_AES_CBC_128, opi::ENCRYPTION_TYPE_AES_CBC_256,
                              opi::ENCRYPTION_TYPE_AES_XTS_192}) {
        auto volume = encrypted("m0");
        volume.set_cipher(cipher);
        EXPECT_KIND(create("e0", volume), InvalidArgument);
    }
    EXPECT_KIND(create("-e", encrypted("m0")), InvalidArgument);
    EXPECT_KIND(create("e0", encrypted("nowhere")), NotFound);
    EXPECT_KIND(create("e0", encrypted("")), InvalidArgument);
    EXPECT_TRUE(node->encrypted.empty());
    EXPECT_EQ(store.size(), 1U) << "the malloc volume";
}

TEST_F(EncryptionTest, WithoutASealKey_nothingIsMade) {
    seal_keys->trouble = "the seal key is open to others";
    const auto refused = create("e0", encrypted("m0"));
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("open to others"), std::string::npos);
    EXPECT_TRUE(node->encrypted.empty());
    EXPECT_EQ(store.size(), 1U);
}

TEST_F(EncryptionTest, VolumeBelow_isForTheCiphertextAlone) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    const auto gone = delete_malloc("volumes/m0");
    EXPECT_KIND(gone, FailedPrecondition);
    EXPECT_NE(gone.error().message.find("encryptedVolumes/e0"), std::string::npos);
    EXPECT_KIND(create_disk("m0"), FailedPrecondition);
    EXPECT_KIND(create_namespace("m0"), FailedPrecondition);
    EXPECT_KIND(create("e1", encrypted("m0")), FailedPrecondition);
    EXPECT_KIND(create("e1", encrypted("encryptedVolumes/e0")), InvalidArgument);
    api::RunBenchmarkRequest load;
    load.set_volume_name_ref("m0");
    load.set_pattern(api::RunBenchmarkRequest::PATTERN_WRITE);
    load.set_io_bytes(4096);
    load.set_queue_depth(1);
    load.set_seconds(1);
    EXPECT_KIND(call(&ControlPlane::status, &control::Status::run_benchmark, load),
                FailedPrecondition);
    EXPECT_TRUE(remove("volumes/e0"));
    EXPECT_TRUE(delete_malloc("volumes/m0"));
}

TEST_F(EncryptionTest, VolumeInUse_isNotEncrypted) {
    ASSERT_TRUE(create_disk("m0"));
    const auto refused = create("e0", encrypted("m0"));
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("virtioBlks/disk0"), std::string::npos);
}

TEST_F(EncryptionTest, ItIsAVolume_withDisksNamespacesAndLimits) {
    ASSERT_TRUE(create("e0", encrypted("m0")));
    ASSERT_TRUE(create_disk("volumes/e0"));
    EXPECT_EQ(node->vhosts["disk0"].volume, "encryptedVolumes/e0");
    EXPECT_KIND(remove("volumes/e0"), FailedPrecondition);
    opi::DeleteVirtioBlkRequest disk;
    disk.set_name("virtioBlks/disk0");
    ASSERT_TRUE(call(&ControlPlane::virtio_blks, &control::VirtioBlks::remove, disk));
    ASSERT_TRUE(create_namespace(node->encrypted["encryptedVolumes/e0"].uuid.text()));
    opi::CreateQosVolumeRequest limit;
    limit.set_qos_volume_id("q0");
    limit.mutable_qos_volume()->set_volume_name_ref("e0");
    limit.mutable_qos_volume()->mutable_limits()->mutable_max()->set_rw_iops_kiops(7);
    ASSERT_TRUE(call(&ControlPlane::qos_volumes, &control::QosVolumes::create, limit));
    EXPECT_EQ(node->volume_rates["encryptedVolumes/e0"].all_ops, 7000U);
    const auto refused = remove("volumes/e0");
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("qosVolumes/q0"), std::string::npos);
    EXPECT_NE(refused.error().message.find("nvmeNamespaces"), std::string::npos);
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('a'));
    EXPECT_EQ(node->namespaces.size(), 1U);
}

TEST_F(EncryptionTest, Update_changesNothing_andHonoursItsMask) {
    ASSERT_TRUE(create_malloc("m1"));
    ASSERT_TRUE(create("e0", encrypted("m0")));
    EXPECT_TRUE(update("encryptedVolumes/e0", encrypted("volumes/m0")));
    EXPECT_TRUE(update("volumes/e0", encrypted("m0"), {"*"}));
    EXPECT_TRUE(update("volumes/e0", encrypted("m0"), {"key"}));
    EXPECT_TRUE(update("volumes/e0", encrypted("m0", key_of('b')), {"volume_name_ref"}))
        << "the key is not asked for";
    EXPECT_TRUE(update("volumes/e0", encrypted("m1"), {"key"})) << "nor is the volume";
    const auto key = update("volumes/e0", encrypted("m0", key_of('b')));
    EXPECT_KIND(key, FailedPrecondition);
    EXPECT_NE(key.error().message.find("key cannot be changed"), std::string::npos);
    EXPECT_KIND(update("volumes/e0", encrypted("m0", key_of('b')), {"key"}), FailedPrecondition);
    EXPECT_KIND(update("volumes/e0", encrypted("m1"), {"volume_name_ref"}), FailedPrecondition);
    EXPECT_KIND(update("volumes/e0", encrypted("m0", key_of('a', 32)), {"cipher"}),
                FailedPrecondition);
    EXPECT_KIND(update("volumes/e0", encrypted("m0"), {"nonsense"}), InvalidArgument);
    EXPECT_KIND(update("volumes/e0", encrypted("m0"), {"nonsense", "key"}), InvalidArgument);
    EXPECT_KIND(update("volumes/e9", encrypted("m0")), NotFound);
    EXPECT_EQ(built_key("e0"), key_of('a'));
}

TEST_F(EncryptionTest, RemoteVolume_isEncrypted_andItsPathStays) {
    ASSERT_TRUE(connect_by_hand("ctrl", kNqn));
    ASSERT_TRUE(create("e0", encrypted("ctrln1")));
    EXPECT_EQ(node->encrypted["encryptedVolumes/e0"].lower, "ctrln1");
    opi::DeleteNvmePathRequest request;
    request.set_name("nvmeRemoteControllers/ctrl/nvmePaths/path0");
    const auto refused = call(&ControlPlane::remotes, &control::Remotes::delete_path, request);
    EXPECT_KIND(refused, FailedPrecondition);
    EXPECT_NE(refused.error().message.find("encryptedVolumes/e0"), std::string::npos);
    const auto attached = attach(1, 3);
    EXPECT_KIND(attached, FailedPrecondition);
    EXPECT_NE(attached.error().message.find("encryptedVolumes/e0"), std::string::npos);
    // The target is away: the volume is known from before, and its I/O waits.
    network.targets.clear();
    restart_plane();
    EXPECT_EQ(built_key("e0"), key_of('a'));
}

TEST_F(EncryptionTest, VolumeOfAnAttachment_isNotEncrypted) {
    ASSERT_TRUE(attach(1, 0));
    const std::string remote = node->remotes.begin()->first;
    EXPECT_KIND(create("e0", encrypted(remote + "n2")), FailedPrecondition);
}

}  // namespace

}  // namespace remora::test
