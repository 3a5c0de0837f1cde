// SPDX-License-Identifier: Apache-2.0
// Layers that cannot be built at a start, because what they stand on comes later.
#include "tests/unit/control/layers_fixture.h"

namespace remora::test {

namespace {

using control::Subsystems;

class LayerBuilderTest : public LayersTest {
  public:
    LayerBuilderTest() { takeover_limit = core::Nanos(0); }

    /// Volumes with checksums on the remote volumes "farn1" and "farn2".
    void create_on_remote() {
        ASSERT_TRUE(connect_by_hand("far", kNqn));
        ASSERT_TRUE(create_checked("i0", "farn1"));
        ASSERT_TRUE(create_checked("i1", "farn2"));
    }
    /// One as namespace of a subsystem of our own, the other as host disk.
    void show() {
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn("nqn.2024-01.org.example:own");
        ASSERT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_subsystem, subsystem));
        opi::CreateNvmeNamespaceRequest space;
        space.set_parent("nvmeSubsystems/s0");
        space.set_nvme_namespace_id("n0");
        space.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref("i0");
        ASSERT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_namespace, space));
        opi::CreateVirtioBlkRequest disk;
        disk.set_virtio_blk_id("d0");
        disk.mutable_virtio_blk()->set_volume_name_ref("i1");
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_physical_function()->set_value(1);
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        const auto made = call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, disk);
        ASSERT_TRUE(made) << made.error().message;
    }
    [[nodiscard]] bool all_served() const {
        return node->namespaces.size() == 1 && node->vhosts.size() == 1;
    }
    /// What the network had before.
    std::map<std::string, std::vector<Network::Subsystem>> away;
    void leave_or_come_back() { std::swap(away, network.targets); }
};

TEST_F(LayerBuilderTest, Start_noPathLive_saysSoAndBuildsWhenOneIs) {
    create_on_remote();
    show();
    leave_or_come_back();
    restart_plane();
    EXPECT_EQ(condition_of("volumes/i0", "Ready"), "false NoPathLive");
    EXPECT_FALSE(all_served());
    settle();
    EXPECT_FALSE(node->find_volume("integrityVolumes/i0"));
    leave_or_come_back();
    node->show_remote("far");
    turn_until([this] { return all_served(); });
    EXPECT_EQ(condition_of("volumes/i0", "Ready"), "true Available");
    EXPECT_EQ(condition_of("volumes/d0", "Ready"), "true Plugged");
}

TEST_F(LayerBuilderTest, Start_refusedForLong_isTriedAgainAndWhatStandsOnItToo) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    ASSERT_TRUE(create_array("r0", array_of(api::RAID_LEVEL_1, {"i0", "m1"})));
    network.marks.erase("mallocVolumes/m0");
    network.marks.erase("integrityVolumes/i0");
    const std::string mark = network.marks.at("mallocVolumes/m1");
    network.marks.erase("mallocVolumes/m1");
    restart_plane();
    EXPECT_EQ(condition_of("volumes/i0", "Ready"), "false NotBuilt");
    EXPECT_EQ(condition_of("volumes/r0", "Ready"), "false NotBuilt");
    const std::string uuid = get_checked("volumes/i0")->uuid();
    network.marks["mallocVolumes/m0"] = "integrity " + uuid;
    network.marks["mallocVolumes/m1"] = mark;
    network.marks["integrityVolumes/i0"] = mark;
    turn_until([this] { return node->find_volume("raidVolumes/r0").has_value(); });
    EXPECT_TRUE(node->find_volume("integrityVolumes/i0"));
}

TEST_F(LayerBuilderTest, Deleted_whileItIsTried_isGone) {
    ASSERT_TRUE(create_checked("i0", "m0"));
    network.marks.clear();
    restart_plane();
    api::DeleteIntegrityVolumeRequest request;
    request.set_name("volumes/i0");
    EXPECT_TRUE(call(&ControlPlane::integrity_volumes, &IntegrityVolumes::remove, request));
    network.marks["mallocVolumes/m0"] = "integrity of somebody";
    settle();
    EXPECT_FALSE(node->find_volume("integrityVolumes/i0"));
    EXPECT_TRUE(delete_malloc("volumes/m0"));
}

}  // namespace

}  // namespace remora::test
