// SPDX-License-Identifier: Apache-2.0
// A start while the sockets of a killed predecessor are still there.
#include "control/control_plane.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;

class TakeoverTest : public PlaneFixture {
  public:
    TakeoverTest() {
        opi::CreateNvmeSubsystemRequest subsystem;
        subsystem.set_nvme_subsystem_id("s0");
        subsystem.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kNqn);
        EXPECT_TRUE(
            call(&ControlPlane::subsystems, &control::Subsystems::create_subsystem, subsystem));
        opi::CreateNvmeControllerRequest listener;
        listener.set_parent("nvmeSubsystems/s0");
        listener.set_nvme_controller_id("c0");
        auto& spec = *listener.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        spec.mutable_fabrics_id()->set_traddr("127.0.0.1");
        spec.mutable_fabrics_id()->set_trsvcid("4420");
        spec.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        EXPECT_TRUE(
            call(&ControlPlane::subsystems, &control::Subsystems::create_controller, listener));
        EXPECT_TRUE(create_malloc("m0"));
        opi::CreateVirtioBlkRequest disk;
        disk.set_virtio_blk_id("d0");
        disk.mutable_virtio_blk()->set_volume_name_ref("m0");
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_physical_function()->set_value(1);
        disk.mutable_virtio_blk()->mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        EXPECT_TRUE(call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, disk));
    }

    /// Why the resource is not ready; empty when it is.
    std::string trouble(const std::string& name) {
        api::ListConditionsRequest request;
        request.set_name_prefix(name);
        const auto got = call(&ControlPlane::conditions, &control::Conditions::list, request);
        for (const auto& resource : got->resources()) {
            for (const auto& one : resource.conditions()) {
                if (resource.name() == name && one.type() == "Ready" &&
                    one.status() == api::Condition::STATUS_FALSE) {
                    return one.reason();
                }
            }
        }
        return {};
    }
    [[nodiscard]] bool all_served() const {
        return node->listeners.size() == 1 && node->vhosts.size() == 1;
    }

    static constexpr const char* kListener = "nvmeSubsystems/s0/nvmeControllers/c0";
    static constexpr const char* kDisk = "volumes/d0";
    static constexpr int kForEver = 1'000'000;
};

TEST_F(TakeoverTest, Start_placesTakenForAMoment_waits) {
    places_taken = 6;
    restart_plane();
    EXPECT_TRUE(all_served());
    EXPECT_EQ(trouble(kListener), "");
    EXPECT_EQ(trouble(kDisk), "");
}

TEST_F(TakeoverTest, Start_placesTakenForLong_servesTheRestAndTriesAgain) {
    places_taken = kForEver;
    takeover_limit = core::Nanos(0);
    restart_plane();
    EXPECT_FALSE(all_served());
    EXPECT_EQ(trouble(kListener), "NotListening");
    EXPECT_EQ(trouble(kDisk), "NotServed");
    node->places_taken = 0;
    turn_until([this] { return all_served(); });
    EXPECT_EQ(trouble(kListener), "");
    EXPECT_EQ(trouble(kDisk), "");
}

TEST_F(TakeoverTest, Delete_ofWhatIsNotServed_isTheEndOfIt) {
    places_taken = kForEver;
    takeover_limit = core::Nanos(0);
    restart_plane();
    opi::DeleteNvmeControllerRequest listener;
    listener.set_name(kListener);
    EXPECT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::delete_controller, listener));
    opi::DeleteVirtioBlkRequest disk;
    disk.set_name(kDisk);
    EXPECT_TRUE(call(&ControlPlane::virtio_blks, &control::VirtioBlks::remove, disk));
    node->places_taken = 0;
    places_taken = 0;
    restart_plane();
    EXPECT_TRUE(node->listeners.empty());
    EXPECT_TRUE(node->vhosts.empty());
}

}  // namespace

}  // namespace remora::test
