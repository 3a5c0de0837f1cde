// SPDX-License-Identifier: Apache-2.0
// Virtual functions of the host: OPI's virtual_function, and attachments to them.
#include "control/status.h"
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {
namespace {

using control::ControlPlane;
using google::protobuf::Empty;

constexpr const char* kSubsystemName = "nvmeSubsystems/s0";

/// The host has two physical functions, and the first of them three virtual ones.
class VirtualFunctionTest : public PlaneFixture {
  public:
    void SetUp() override {
        host->places = {2, {{0, 3}}};
        opi::CreateNvmeSubsystemRequest request;
        request.set_nvme_subsystem_id("s0");
        request.mutable_nvme_subsystem()->mutable_spec()->set_nqn(
            "nqn.2024-01.org.example:functions");
        ASSERT_TRUE(
            call(&ControlPlane::subsystems, &control::Subsystems::create_subsystem, request));
        for (const char* volume : {"m0", "m1"}) {
            ASSERT_TRUE(create_malloc(volume));
        }
    }
    Result<opi::VirtioBlk> create_disk(core::HostFunction function, const std::string& volume) {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id("disk-" + volume);
        set_address(*request.mutable_virtio_blk()->mutable_pcie_id(), function);
        request.mutable_virtio_blk()->set_volume_name_ref(volume);
        return call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, request);
    }
    Result<opi::NvmeController> create_controller(core::HostFunction function,
                                                  const std::string& id) {
        opi::CreateNvmeControllerRequest request;
        request.set_parent(kSubsystemName);
        request.set_nvme_controller_id(id);
        auto& spec = *request.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_PCIE);
        set_address(*spec.mutable_pcie_id(), function);
        return call(&ControlPlane::subsystems, &control::Subsystems::create_controller, request);
    }
    Result<api::Attachment> attach_to(core::HostFunction function, int volume = 1) {
        auto request = attach_request(volume, static_cast<int>(function.pf));
        request.set_host_virtual_function(static_cast<std::int32_t>(function.vf));
        return call(&ControlPlane::attachments, &control::Attachments::attach, request);
    }
    Result<Empty> detach_from(core::HostFunction function) {
        api::DetachVolumeRequest request;
        request.set_name("attachments/" + function.text());
        return call(&ControlPlane::attachments, &control::Attachments::detach, request);
    }
    std::vector<std::string> functions_plugged() const {
        std::vector<std::string> texts;
        for (const auto& [function, socket] : plugged) {
            texts.push_back(function.text());
        }
        return texts;
    }
    using Texts = std::vector<std::string>;
};

TEST_F(VirtualFunctionTest, Devices_standBesideThatOfThePhysicalOne) {
    ASSERT_TRUE(create_disk(0, "m0"));
    ASSERT_TRUE(create_disk({0, 2}, "m1"));
    const auto first = create_controller({0, 1}, "c1");
    const auto second = create_controller(1, "c2");

    ASSERT_TRUE(first) << first.error().message;
    ASSERT_TRUE(second) << second.error().message;
    EXPECT_NE(first->spec().nvme_controller_id(), second->spec().nvme_controller_id());
    EXPECT_EQ(first->spec().pcie_id().virtual_function().value(), 1);
    EXPECT_EQ(functions_plugged(), (Texts{"0", "0.1", "0.2", "1"}));

    const auto status =
        call(&ControlPlane::status, &control::Status::get_status, api::GetStatusRequest());
    ASSERT_EQ(status->host_disks_size(), 4);
    EXPECT_EQ(status->host_disks(2).host_function(), 0);
    EXPECT_EQ(status->host_disks(2).host_virtual_function(), 2);
    EXPECT_EQ(status->host_disks(2).state(), "plugged");
    EXPECT_FALSE(status->host_disks(2).pci_address().empty());
    EXPECT_NE(status->host_disks(2).pci_address(), status->host_disks(0).pci_address());
}

TEST_F(VirtualFunctionTest, Function_isOneDevices_andGoesWithIt) {
    ASSERT_TRUE(create_disk({0, 2}, "m0"));

    const auto refused = create_disk({0, 2}, "m1");
    EXPECT_KIND(refused, AlreadyExists);
    EXPECT_NE(refused.error().message.find("host function 0.2"), std::string::npos);
    EXPECT_KIND(create_controller({0, 2}, "c1"), AlreadyExists);
    EXPECT_KIND(attach_to({0, 2}), AlreadyExists);

    opi::DeleteVirtioBlkRequest request;
    request.set_name("virtioBlks/disk-m0");
    ASSERT_TRUE(call(&ControlPlane::virtio_blks, &control::VirtioBlks::remove, request));
    EXPECT_TRUE(plugged.empty());
    EXPECT_TRUE(create_controller({0, 2}, "c1"));
}

TEST_F(VirtualFunctionTest, Attachment_isCalledByIt_andDetachedByIt) {
    const auto attached = attach_to({0, 3});
    ASSERT_TRUE(attached) << attached.error().message;
    EXPECT_EQ(attached->name(), "attachments/0.3");
    EXPECT_EQ(attached->host_function(), 0);
    EXPECT_EQ(attached->host_virtual_function(), 3);
    EXPECT_EQ(attach_to({0, 3})->name(), attached->name()) << "again: the same";
    EXPECT_KIND(attach_to(0), AlreadyExists) << "the volume has another function";
    EXPECT_EQ(functions_plugged(), (Texts{"0.3"}));

    EXPECT_KIND(detach_from(0), NotFound);
    ASSERT_TRUE(detach_from({0, 3}));
    EXPECT_TRUE(plugged.empty());
    EXPECT_KIND(detach_from({0, 3}), NotFound);
}

TEST_F(VirtualFunctionTest, Attachment_withoutAFunction_getsAPhysicalOne) {
    ASSERT_TRUE(create_disk(0, "m0"));
    ASSERT_TRUE(create_disk(1, "m1"));
    const auto refused = attach(1, -1);
    EXPECT_KIND(refused, ResourceExhausted);
    EXPECT_TRUE(attach_to({0, 1}));
}

TEST_F(VirtualFunctionTest, Devices_areThereAgainAfterACrash_andPluggedWhereTheyWere) {
    ASSERT_TRUE(create_disk({0, 2}, "m0"));
    ASSERT_TRUE(create_controller({0, 1}, "c1"));
    ASSERT_TRUE(attach_to({0, 3}));
    const auto before = plugged;
    plugged.clear();

    restart_plane();

    turn_until([&] { return plugged == before; });
    EXPECT_TRUE(detach_from({0, 3}));
    EXPECT_EQ(functions_plugged(), (Texts{"0.1", "0.2"}));
}

// A host that has lost places since: what is there can be changed and deleted all the same.
TEST_F(VirtualFunctionTest, PlacesGone_whatIsThereCanBeChangedAndDeleted) {
    const auto made = create_controller({0, 1}, "c1");
    ASSERT_TRUE(made);
    ASSERT_TRUE(attach_to({0, 3}));
    host->places = {2};

    opi::UpdateNvmeControllerRequest update;
    *update.mutable_nvme_controller() = *made;
    update.mutable_nvme_controller()->mutable_spec()->mutable_max_limit()->set_rw_iops_kiops(5);
    update.mutable_update_mask()->add_paths("spec.max_limit");
    const auto updated =
        call(&ControlPlane::subsystems, &control::Subsystems::update_controller, update);
    EXPECT_TRUE(updated) << updated.error().message;
    EXPECT_TRUE(detach_from({0, 3}));
    opi::DeleteNvmeControllerRequest request;
    request.set_name(update.nvme_controller().name());
    EXPECT_TRUE(call(&ControlPlane::subsystems, &control::Subsystems::delete_controller, request));
}

TEST_F(VirtualFunctionTest, WhatIsNotThere_isRefused_andNothingIsLeft) {
    EXPECT_KIND(create_disk({0, 4}, "m0"), ResourceExhausted);
    EXPECT_KIND(create_controller({0, 4}, "c1"), ResourceExhausted);
    EXPECT_KIND(attach_to({0, 4}), ResourceExhausted);
    EXPECT_KIND(create_disk({1, 1}, "m0"), InvalidArgument) << "that one has none";
    EXPECT_KIND(create_controller({1, 1}, "c1"), InvalidArgument);
    EXPECT_KIND(attach_to({1, 1}), InvalidArgument);
    EXPECT_KIND(create_disk({2, 1}, "m0"), InvalidArgument) << "nor one that is not there";
    EXPECT_KIND(create_disk({64, 1}, "m0"), InvalidArgument);
    constexpr std::uint32_t kNegative = 0xffffffff;
    EXPECT_KIND(create_disk({0, kNegative}, "m0"), InvalidArgument);
    EXPECT_KIND(attach_to({0, kNegative}), InvalidArgument);

    auto request = attach_request(1, -1);
    request.set_host_virtual_function(1);
    EXPECT_KIND(call(&ControlPlane::attachments, &control::Attachments::attach, request),
                InvalidArgument);
    EXPECT_TRUE(plugged.empty());
    EXPECT_TRUE(node->functions.empty());
}

TEST_F(VirtualFunctionTest, Capabilities_sayWhetherThereAreAny) {
    const auto option = [this] {
        const auto all = call(&ControlPlane::overview, &control::Overview::capabilities,
                              api::GetCapabilitiesRequest());
        for (const auto& one : all->options()) {
            if (one.name() == "opi_api.storage.v1.VirtioBlk.pcie_id.virtual_function") {
                return std::pair(one.supported(), all->host_virtual_functions());
            }
        }
        return std::pair(false, 0xffU);
    };
    EXPECT_EQ(option(), std::pair(true, 3U));
    host->places = {2};
    EXPECT_EQ(option(), std::pair(false, 0U));
}

}  // namespace
}  // namespace remora::test
