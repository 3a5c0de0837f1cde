// SPDX-License-Identifier: Apache-2.0
// NVMe controllers that are functions of the local host: made and taken away with the host, through
// crashes and hosts that have lost them, and beside virtio-blk devices and listeners.
#include "tests/unit/control/plane_fixture.h"

namespace remora::test {

namespace {

using control::ControlPlane;
using control::Status;
using control::Subsystems;
using google::protobuf::Empty;

constexpr const char* kSubsystem = "nvmeSubsystems/s0";
constexpr const char* kController = "nvmeSubsystems/s0/nvmeControllers/c0";
constexpr const char* kSubsystemNqn = "nqn.2024-01.org.example:s0";

class FunctionTest : public PlaneFixture {
  public:
    void SetUp() override {
        opi::CreateNvmeSubsystemRequest request;
        request.set_nvme_subsystem_id("s0");
        request.mutable_nvme_subsystem()->mutable_spec()->set_nqn(kSubsystemNqn);
        ASSERT_TRUE(call(&ControlPlane::subsystems, &Subsystems::create_subsystem, request));
        at_first = store.size();
    }
    static opi::CreateNvmeControllerRequest request_of(core::HostFunction function,
                                                       const std::string& id = "c0") {
        opi::CreateNvmeControllerRequest request;
        request.set_parent(kSubsystem);
        request.set_nvme_controller_id(id);
        auto& spec = *request.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_PCIE);
        set_address(*spec.mutable_pcie_id(), function);
        return request;
    }
    Result<opi::NvmeController> create(const opi::CreateNvmeControllerRequest& request) {
        return call(&ControlPlane::subsystems, &Subsystems::create_controller, request);
    }
    Result<opi::NvmeController> create_listener() {
        opi::CreateNvmeControllerRequest request;
        request.set_parent(kSubsystem);
        request.set_nvme_controller_id("tcp");
        auto& spec = *request.mutable_nvme_controller()->mutable_spec();
        spec.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        spec.mutable_fabrics_id()->set_traddr("10.0.0.9");
        spec.mutable_fabrics_id()->set_trsvcid("4420");
        spec.mutable_fabrics_id()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        return create(request);
    }
    Result<Empty> remove(const std::string& name = kController) {
        opi::DeleteNvmeControllerRequest request;
        request.set_name(name);
        return call(&ControlPlane::subsystems, &Subsystems::delete_controller, request);
    }
    Result<opi::VirtioBlk> create_disk(core::HostFunction function) {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id("d0");
        set_address(*request.mutable_virtio_blk()->mutable_pcie_id(), function);
        request.mutable_virtio_blk()->set_volume_name_ref("m0");
        return call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, request);
    }
    [[nodiscard]] bool is_gone() const {
        return store.size() == at_first && plugged.empty() && node->functions.empty();
    }
    [[nodiscard]] bool stands() const {
        return store.size() == at_first + 1 && plugged.size() == 1 && node->functions.size() == 1 &&
               plugged.at(3) == node->functions.begin()->second.socket_path;
    }

    std::size_t at_first = 0;
};

TEST_F(FunctionTest, Controller_isServedAndPlugged_untilItIsDeleted) {
    auto request = request_of(3);
    request.mutable_nvme_controller()->mutable_spec()->set_max_nsq(4);
    const auto made = create(request);

    ASSERT_TRUE(made) << made.error().message;
    EXPECT_TRUE(made->status().active());
    EXPECT_EQ(made->spec().nvme_controller_id(), 4) << "no other function's";
    ASSERT_TRUE(stands());
    const node::VfioNvmeSpec& spec = node->functions.begin()->second;
    EXPECT_EQ(spec.nqn, kSubsystemNqn);
    EXPECT_EQ(spec.io_queues, 4U);
    EXPECT_EQ(spec.cntlid, 4);
    EXPECT_FALSE(spec.serial.empty());
    EXPECT_EQ(create(request)->name(), kController) << "again: the same";

    EXPECT_TRUE(remove());
    EXPECT_TRUE(is_gone());
    EXPECT_KIND(remove(), NotFound);
}

TEST_F(FunctionTest, Status_statsAndConditions_showIt) {
    ASSERT_TRUE(create(request_of(3)));

    const auto status = call(&ControlPlane::status, &Status::get_status, api::GetStatusRequest());
    opi::StatsNvmeControllerRequest asks;
    asks.set_name(kController);
    const auto stats = call(&ControlPlane::subsystems, &Subsystems::stats_controller, asks);

    ASSERT_EQ(status->host_disks_size(), 1);
    EXPECT_EQ(status->host_disks(0).nvme_controller(), kController);
    EXPECT_EQ(status->host_disks(0).state(), "plugged");
    EXPECT_EQ(status->host_disks(0).host_function(), 3);
    EXPECT_TRUE(status->host_disks(0).host_connected());
    EXPECT_EQ(stats->stats().read_ops_count(), 7);
}

TEST_F(FunctionTest, Function_isOneDevices_ofWhateverKind) {
    ASSERT_TRUE(create_malloc("m0"));
    ASSERT_TRUE(create(request_of(0)));

    EXPECT_KIND(create_disk(0), AlreadyExists);
    EXPECT_KIND(create(request_of(0, "c1")), AlreadyExists);
    EXPECT_KIND(attach(1, 0), AlreadyExists);
    const auto attached = attach(1, -1);
    ASSERT_TRUE(attached);
    EXPECT_EQ(attached->host_function(), 1) << "the lowest that is free";
    const auto refused = create(request_of(1, "c1"));
    EXPECT_KIND(refused, AlreadyExists);
    EXPECT_NE(refused.error().message.find("attachments/1"), std::string::npos);
    EXPECT_TRUE(create_disk(2));
    EXPECT_KIND(create(request_of(2, "c1")), AlreadyExists);
    EXPECT_TRUE(remove());
    EXPECT_TRUE(create(request_of(0, "c1")));
}

TEST_F(FunctionTest, Subsystem_isReachedOneWayOrTheOther) {
    ASSERT_TRUE(create_listener());
    EXPECT_KIND(create(request_of(3)), FailedPrecondition);
    ASSERT_TRUE(remove("nvmeSubsystems/s0/nvmeControllers/tcp"));
    ASSERT_TRUE(create(request_of(3)));
    EXPECT_KIND(create_listener(), FailedPrecondition);
    api::SetAnaStateRequest request;
    request.set_name(kController);
    request.set_ana_state(api::ANA_STATE_INACCESSIBLE);
    EXPECT_KIND(call(&ControlPlane::subsystems, &Subsystems::set_ana_state, request),
                FailedPrecondition);
}

TEST_F(FunctionTest, WhatCannotBe_isRefused) {
    const auto refused = [this](auto change) {
        auto request = request_of(3);
        change(*request.mutable_nvme_controller()->mutable_spec());
        const auto made = create(request);
        return made ? ErrorKind::Internal : made.error().kind;
    };
    using Spec = opi::NvmeControllerSpec;
    EXPECT_EQ(refused([](Spec& spec) { spec.clear_pcie_id(); }), ErrorKind::InvalidArgument);
    EXPECT_EQ(refused([](Spec& spec) { spec.set_max_nsq(65); }), ErrorKind::InvalidArgument);
    EXPECT_EQ(refused([](Spec& spec) {
                  spec.mutable_pcie_id()->mutable_virtual_function()->set_value(1);
              }),
              ErrorKind::InvalidArgument);
    EXPECT_EQ(refused([](Spec& spec) {
                  spec.mutable_pcie_id()->mutable_physical_function()->set_value(64);
              }),
              ErrorKind::ResourceExhausted);
    EXPECT_TRUE(is_gone());
}

TEST_F(FunctionTest, Rates_areInForce_andChangeLive) {
    auto request = request_of(3);
    request.mutable_nvme_controller()->mutable_spec()->mutable_max_limit()->set_rw_iops_kiops(5);
    ASSERT_TRUE(create(request));
    EXPECT_EQ(node->functions.begin()->second.rates.all_ops, 5000U);

    opi::UpdateNvmeControllerRequest update;
    *update.mutable_nvme_controller() = request.nvme_controller();
    update.mutable_nvme_controller()->set_name(kController);
    update.mutable_nvme_controller()->mutable_spec()->mutable_max_limit()->set_rw_iops_kiops(7);
    update.mutable_update_mask()->add_paths("spec.max_limit");
    ASSERT_TRUE(call(&ControlPlane::subsystems, &Subsystems::update_controller, update));
    EXPECT_EQ(node->functions.begin()->second.rates.all_ops, 7000U);
    update.mutable_update_mask()->set_paths(0, "spec.pcie_id");
    update.mutable_nvme_controller()
        ->mutable_spec()
        ->mutable_pcie_id()
        ->mutable_physical_function()
        ->set_value(4);
    EXPECT_FALSE(call(&ControlPlane::subsystems, &Subsystems::update_controller, update));
}

TEST_F(FunctionTest, Create_failsAtAnyStep_leavesNothing) {
    for (int step = 1;; ++step) {
        steps = {};
        steps.fail_at = step;
        const auto made = create(request_of(3));
        const bool failed = steps.taken >= step;
        steps.fail_at = 0;
        if (!failed) {
            EXPECT_TRUE(made);
            break;
        }
        turn_until([&] { return made ? stands() : is_gone(); });
        if (made) {
            ASSERT_TRUE(remove());
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(FunctionTest, Create_crashAtAnyStep_isWhollyThereOrWhollyGone) {
    for (int step = 1;; ++step) {
        steps = {};
        steps.crash_at = step;
        const auto made = create(request_of(3));
        const bool crashed = steps.taken >= step;
        restart_plane();
        turn_until([&] { return made ? stands() : is_gone(); });
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(FunctionTest, Delete_crashAtAnyStep_isFinishedOrNeverWas) {
    for (int step = 1;; ++step) {
        steps = {};
        ASSERT_TRUE(create(request_of(3)));
        steps = {};
        steps.crash_at = step;
        const auto done = remove();
        const bool crashed = steps.taken >= step;
        restart_plane();
        const bool intended = step > 1;  // Once the intent is stored there is no way back.
        turn_until([&] { return intended ? is_gone() : stands(); });
        if (!intended) {
            EXPECT_FALSE(done);
            steps = {};
            ASSERT_TRUE(remove());
        }
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(FunctionTest, Host_thatDoesNotLetGo_keepsItAsItWas) {
    ASSERT_TRUE(create(request_of(3)));
    host->refused_unplugs = 1;
    EXPECT_KIND(remove(), DeadlineExceeded);
    EXPECT_TRUE(stands());
    EXPECT_TRUE(remove());
}

// QEMU does not come back to a vfio-user socket: after a restart of ours its device is dead.
TEST_F(FunctionTest, Restart_plugsAnewWhatTheHostHasLost) {
    ASSERT_TRUE(create(request_of(3)));
    restart_plane();
    const std::string name = node->functions.begin()->first;
    int plugs = 0;
    const auto is_served = host->served;
    host->served = [&](const std::string& socket) {
        ++plugs;
        node->lost_functions.erase(name);
        return is_served(socket);
    };
    turn_until([&] { return stands(); });
    node->lost_functions.insert(name);
    ++host->changes;
    turn_until([&] { return node->lost_functions.empty(); });
    EXPECT_TRUE(stands());
    EXPECT_EQ(plugs, 1);
}

// The host has done something that ends a session, and says nothing about it.
TEST_F(FunctionTest, SessionThatEnds_isSeenAndTheFunctionPluggedAnew) {
    ASSERT_TRUE(create(request_of(3)));
    turn_until([&] { return stands(); });
    const std::string name = node->functions.begin()->first;
    const auto is_served = host->served;
    host->served = [&](const std::string& socket) {
        node->lost_functions.erase(name);
        return is_served(socket);
    };
    host->slow_unplugs.insert(3);
    node->lost_functions.insert(name);
    turn_until([&] { return condition_of(kController, "Ready") == "false Disconnected"; });
    host->slow_unplugs.clear();
    turn_until([&] { return node->lost_functions.empty(); });
    turn_until([&] { return condition_of(kController, "Ready") == "true Plugged"; });
    EXPECT_TRUE(stands());
}

TEST_F(FunctionTest, Rebuild_socketThatIsTaken_isServedAtLast) {
    ASSERT_TRUE(create(request_of(3)));
    refuses_functions = true;
    takeover_limit = std::chrono::milliseconds(1);
    restart_plane();
    EXPECT_TRUE(node->functions.empty());
    node->refuses_functions = false;
    turn_until([&] { return stands(); });
}

class NvmeAttachTest : public PlaneFixture {
  public:
    static api::AttachVolumeRequest as_nvme(int volume, int function) {
        api::AttachVolumeRequest request = attach_request(volume, function);
        request.set_as(api::DEVICE_KIND_NVME);
        return request;
    }
    Result<api::Attachment> attach_nvme(int volume, int function) {
        return call(&ControlPlane::attachments, &control::Attachments::attach,
                    as_nvme(volume, function));
    }
    [[nodiscard]] bool is_gone() const {
        return store.size() == 0 && plugged.empty() && node->functions.empty() &&
               node->subsystems.empty() && node->namespaces.empty() && node->remotes.empty();
    }
    [[nodiscard]] bool stands() const {
        return plugged.size() == 1 && node->functions.size() == 1 && node->namespaces.size() == 1 &&
               node->remotes.size() == 1 &&
               plugged.at(0) == node->functions.begin()->second.socket_path;
    }
};

TEST_F(NvmeAttachTest, Attach_isOneNamespaceOfAFunction_untilItIsDetached) {
    const auto made = attach_nvme(1, 0);

    ASSERT_TRUE(made) << made.error().message;
    EXPECT_EQ(made->as(), api::DEVICE_KIND_NVME);
    EXPECT_TRUE(made->virtio_blk().empty());
    EXPECT_FALSE(made->nvme_controller().empty());
    EXPECT_EQ(made->socket_path(), node->functions.begin()->second.socket_path);
    EXPECT_TRUE(stands());
    EXPECT_EQ(node->namespaces.begin()->second.uuid, uuid_of(1));
    EXPECT_EQ(attach_nvme(1, 0)->name(), "attachments/0") << "again: the same";
    EXPECT_KIND(attach(1, 0), AlreadyExists);
    const auto status = call(&ControlPlane::status, &Status::get_status, api::GetStatusRequest());
    EXPECT_EQ(status->host_disks(0).state(), "attached");

    EXPECT_TRUE(detach(0));
    EXPECT_TRUE(is_gone());
    EXPECT_EQ(attach(1, 0)->as(), api::DEVICE_KIND_VIRTIO_BLK);
    EXPECT_KIND(attach_nvme(1, 0), AlreadyExists);
}

TEST_F(NvmeAttachTest, ItsParts_areTheAttachmentsAlone) {
    const auto made = attach_nvme(1, 0);
    ASSERT_TRUE(made);
    const std::string& controller = made->nvme_controller();
    const std::string subsystem = controller.substr(0, controller.find("/nvmeControllers/"));
    opi::DeleteNvmeControllerRequest remove_controller;
    remove_controller.set_name(controller);
    opi::DeleteNvmeNamespaceRequest remove_space;
    remove_space.set_name(subsystem + "/nvmeNamespaces/volume");
    opi::DeleteNvmeSubsystemRequest remove_subsystem;
    remove_subsystem.set_name(subsystem);
    opi::CreateNvmeNamespaceRequest another;
    another.set_parent(subsystem);
    another.mutable_nvme_namespace()->mutable_spec()->set_volume_name_ref("m0");
    ASSERT_TRUE(create_malloc("m0"));

    EXPECT_KIND(call(&ControlPlane::subsystems, &Subsystems::delete_controller, remove_controller),
                FailedPrecondition);
    EXPECT_KIND(call(&ControlPlane::subsystems, &Subsystems::delete_namespace, remove_space),
                FailedPrecondition);
    EXPECT_KIND(call(&ControlPlane::subsystems, &Subsystems::delete_subsystem, remove_subsystem),
                FailedPrecondition);
    EXPECT_KIND(call(&ControlPlane::subsystems, &Subsystems::create_namespace, another),
                FailedPrecondition);
    EXPECT_TRUE(stands());
    EXPECT_TRUE(detach(0));
}

TEST_F(NvmeAttachTest, Attach_crashAtAnyStep_isWhollyThereOrWhollyGone) {
    busy_guest = true;
    for (int step = 1;; ++step) {
        steps = {};
        steps.crash_at = step;
        const auto made = attach_nvme(1, 0);
        const bool crashed = steps.taken >= step;
        restart_plane();
        turn_until([&] { return made ? stands() : is_gone(); });
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

TEST_F(NvmeAttachTest, Detach_crashAtAnyStep_isFinishedOrNeverWas) {
    busy_guest = true;
    for (int step = 1;; ++step) {
        steps = {};
        ASSERT_TRUE(attach_nvme(1, 0));
        steps = {};
        steps.crash_at = step;
        const auto done = detach(0);
        const bool crashed = steps.taken >= step;
        restart_plane();
        const bool intended = step > 1;  // Once the intent is stored there is no way back.
        turn_until([&] { return intended ? is_gone() : stands(); });
        if (!intended) {
            EXPECT_FALSE(done);
            steps = {};
            ASSERT_TRUE(detach(0));
        }
        if (!crashed) {
            break;
        }
        ASSERT_LT(step, 100);
    }
}

}  // namespace

}  // namespace remora::test
