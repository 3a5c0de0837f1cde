// SPDX-License-Identifier: Apache-2.0
// Several paths of one remote controller, as the API has them.
#include <gtest/gtest.h>

#include "tests/unit/control/plane_fixture.h"

namespace remora::test {
namespace {

using control::ControlPlane;
using control::Remotes;
using control::Status;

constexpr const char* kMany = "nqn.2024-01.org.example:many";
constexpr const char* kOther = "nqn.2024-01.org.example:other";
constexpr const char* kRemote = "nvmeRemoteControllers/array";

class MultipathApiTest : public PlaneFixture {
  public:
    MultipathApiTest() {
        for (const char* where : {"10.0.0.1:4420", "10.0.0.2:4420", "10.0.0.3:4420"}) {
            network.targets[where] = {{kMany, {{1, uuid_of(1)}}}, {kOther, {}}};
        }
    }

    void create_remote(opi::NvmeMultipath multipath) {
        opi::CreateNvmeRemoteControllerRequest request;
        request.set_nvme_remote_controller_id("array");
        request.mutable_nvme_remote_controller()->set_multipath(multipath);
        EXPECT_TRUE(call(&ControlPlane::remotes, &Remotes::create_controller, request));
    }
    Result<opi::NvmePath> create_path(const std::string& id,
                                      const std::string& address,
                                      const std::string& nqn = kMany,
                                      const std::string& hostnqn = {}) {
        opi::CreateNvmePathRequest request;
        request.set_parent(kRemote);
        request.set_nvme_path_id(id);
        auto& path = *request.mutable_nvme_path();
        path.set_trtype(opi::NVME_TRANSPORT_TYPE_TCP);
        path.set_traddr(address);
        path.mutable_fabrics()->set_trsvcid(4420);
        path.mutable_fabrics()->set_subnqn(nqn);
        path.mutable_fabrics()->set_hostnqn(hostnqn);
        path.mutable_fabrics()->set_adrfam(opi::NVME_ADDRESS_FAMILY_IPV4);
        return call(&ControlPlane::remotes, &Remotes::create_path, request);
    }
    Result<google::protobuf::Empty> delete_path(const std::string& id) {
        opi::DeleteNvmePathRequest request;
        request.set_name(std::string(kRemote) + "/nvmePaths/" + id);
        return call(&ControlPlane::remotes, &Remotes::delete_path, request);
    }
    Result<opi::VirtioBlk> create_disk() {
        opi::CreateVirtioBlkRequest request;
        request.set_virtio_blk_id("d0");
        auto& disk = *request.mutable_virtio_blk();
        disk.set_volume_name_ref("arrayn1");
        disk.mutable_pcie_id()->mutable_port_id()->set_value(0);
        disk.mutable_pcie_id()->mutable_physical_function()->set_value(3);
        disk.mutable_pcie_id()->mutable_virtual_function()->set_value(0);
        return call(&ControlPlane::virtio_blks, &control::VirtioBlks::create, request);
    }
    Result<api::PathPolicySetting> set_policy(api::PathPolicy policy) {
        api::SetPathPolicyRequest request;
        request.set_remote_controller(kRemote);
        request.set_policy(policy);
        return call(&ControlPlane::remotes, &Remotes::set_path_policy, request);
    }
    api::RemoteControllerStatus status() {
        const auto all = call(&ControlPlane::status, &Status::get_status, api::GetStatusRequest());
        EXPECT_TRUE(all && all->remote_controllers_size() == 1);
        return all->remote_controllers(0);
    }
};

TEST_F(MultipathApiTest, Disabled_secondPath_isRefused) {
    create_remote(opi::NVME_MULTIPATH_DISABLE);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));

    const auto second = create_path("p1", "10.0.0.2");

    EXPECT_KIND(second, FailedPrecondition);
    EXPECT_NE(second.error().message.find("NVME_MULTIPATH_FAILOVER"), std::string::npos);
    EXPECT_EQ(node->remotes.at("array").paths.size(), 1U);
}

TEST_F(MultipathApiTest, SecondPath_isAddedLive_andStatusShowsBoth) {
    create_remote(opi::NVME_MULTIPATH_MULTIPATH);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    ASSERT_TRUE(create_path("p1", "10.0.0.2"));

    network.targets.erase("10.0.0.2:4420");
    const api::RemoteControllerStatus shown = status();

    ASSERT_EQ(shown.paths_size(), 2);
    EXPECT_EQ(shown.state(), "live");
    EXPECT_EQ(shown.policy(), api::PATH_POLICY_QUEUE_DEPTH);
    EXPECT_EQ(shown.paths(0).state(), "live");
    EXPECT_EQ(shown.paths(1).state(), "down");
    EXPECT_EQ(shown.paths(1).traddr(), "10.0.0.2");
    ASSERT_EQ(shown.paths(0).namespaces_size(), 1);
    EXPECT_EQ(shown.paths(0).namespaces(0).state(), "optimized");
    EXPECT_EQ(shown.paths(0).namespaces(0).volume(), "arrayn1");
    EXPECT_EQ(shown.paths(0).namespaces(0).volume_uuid(), uuid_of(1).text());
    EXPECT_TRUE(shown.paths(0).namespaces(0).present());
}

TEST_F(MultipathApiTest, SecondPath_toAnotherSubsystemOrAsAnotherHost_isRefused) {
    create_remote(opi::NVME_MULTIPATH_FAILOVER);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));

    EXPECT_KIND(create_path("p1", "10.0.0.2", kOther), InvalidArgument);
    EXPECT_KIND(create_path("p1", "10.0.0.2", kMany, "nqn.2024-01.org.example:me"),
                InvalidArgument);
    EXPECT_KIND(create_path("p1", "10.0.0.1"), AlreadyExists);
    EXPECT_KIND(create_path("p1", "10.0.0.9"), NotFound);  // nobody there: nothing is left
    EXPECT_EQ(node->remotes.at("array").paths.size(), 1U);
    EXPECT_TRUE(create_path("p1", "10.0.0.2"));
}

TEST_F(MultipathApiTest, ManyPaths_end) {
    create_remote(opi::NVME_MULTIPATH_MULTIPATH);
    for (int i = 0; i < 9; ++i) {
        const std::string address = "10.0.1." + std::to_string(i + 1);
        network.targets[address + ":4420"] = {{kMany, {{1, uuid_of(1)}}}};
        const auto made = create_path("p" + std::to_string(i), address);
        EXPECT_EQ(made.has_value(), i < 8);
    }
}

TEST_F(MultipathApiTest, Delete_ofOneOfSeveral_inUse_isDone_ofTheLastRefused) {
    create_remote(opi::NVME_MULTIPATH_MULTIPATH);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    ASSERT_TRUE(create_path("p1", "10.0.0.2"));
    ASSERT_TRUE(create_disk());

    EXPECT_TRUE(delete_path("p0"));
    EXPECT_EQ(node->remotes.at("array").paths.size(), 1U);
    const auto last = delete_path("p1");
    EXPECT_KIND(last, FailedPrecondition);
    EXPECT_NE(last.error().message.find("virtioBlks/d0"), std::string::npos);
    EXPECT_EQ(node->remotes.size(), 1U);
}

TEST_F(MultipathApiTest, Path_cannotBeStored_isTakenDownAgain) {
    create_remote(opi::NVME_MULTIPATH_MULTIPATH);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    for (int step = 1; step <= 3; ++step) {  // start, wait, store
        steps = {};
        steps.fail_at = step;
        EXPECT_FALSE(create_path("p1", "10.0.0.2")) << step;
        EXPECT_EQ(node->remotes.at("array").paths.size(), 1U) << step;
    }
    steps = {};
    EXPECT_TRUE(create_path("p1", "10.0.0.2"));
}

TEST_F(MultipathApiTest, Policy_isSetKeptAndShown) {
    create_remote(opi::NVME_MULTIPATH_MULTIPATH);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    ASSERT_TRUE(create_path("p1", "10.0.0.2"));

    EXPECT_KIND(set_policy(api::PATH_POLICY_UNSPECIFIED), InvalidArgument);
    EXPECT_KIND(set_policy(api::PATH_POLICY_FAILOVER), InvalidArgument);
    ASSERT_TRUE(set_policy(api::PATH_POLICY_ROUND_ROBIN));
    EXPECT_EQ(node->remotes.at("array").policy, node::PathPolicy::RoundRobin);
    restart_plane();
    EXPECT_EQ(status().policy(), api::PATH_POLICY_ROUND_ROBIN);
    EXPECT_EQ(node->remotes.at("array").policy, node::PathPolicy::RoundRobin);
    EXPECT_EQ(node->remotes.at("array").paths.size(), 2U);
    ASSERT_EQ(node->remotes.at("array").paths[1].known.size(), 1U);
    EXPECT_EQ(node->remotes.at("array").paths[1].known[0].number, 1U);
}

TEST_F(MultipathApiTest, Timings_areSetKeptAndTakenBack) {
    using std::chrono_literals::operator""ms;
    create_remote(opi::NVME_MULTIPATH_FAILOVER);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    api::SetConnectionTimingsRequest request;
    request.set_remote_controller(kRemote);
    const auto ask = [&] {
        return call(&ControlPlane::remotes, &Remotes::set_connection_timings, request);
    };
    const auto defaults = ask();
    ASSERT_TRUE(defaults);
    EXPECT_EQ(defaults->keep_alive_ms(), 5'000U);
    EXPECT_EQ(defaults->io_ms(), 10'000U);

    request.set_keep_alive_ms(20'000);
    request.set_connect_ms(100);
    ASSERT_TRUE(ask());
    EXPECT_EQ(node->remotes.at("array").timings.keep_alive, 20'000ms);
    restart_plane();
    EXPECT_EQ(node->remotes.at("array").timings.keep_alive, 20'000ms);
    EXPECT_EQ(node->remotes.at("array").timings.connect, 100ms);
    EXPECT_EQ(node->remotes.at("array").timings.io, 10'000ms);

    request.clear_connect_ms();
    request.set_keep_alive_ms(0);
    const auto back = ask();
    ASSERT_TRUE(back);
    EXPECT_EQ(back->keep_alive_ms(), 5'000U);
    EXPECT_EQ(back->connect_ms(), 100U);
    EXPECT_EQ(node->remotes.at("array").timings.keep_alive, 5'000ms);
}

TEST_F(MultipathApiTest, Timings_outOfTheirLimits_areRefusedWithThem) {
    create_remote(opi::NVME_MULTIPATH_FAILOVER);
    using Set = void (api::SetConnectionTimingsRequest::*)(std::uint32_t);
    struct Case {
        const char* field;
        Set set;
        std::uint32_t value;
    };
    using Request = api::SetConnectionTimingsRequest;
    for (const Case& one : {Case{"connect_ms", &Request::set_connect_ms, 99},
                            Case{"connect_ms", &Request::set_connect_ms, 60'001},
                            Case{"keep_alive_ms", &Request::set_keep_alive_ms, 999},
                            Case{"io_ms", &Request::set_io_ms, 600'001},
                            Case{"reconnect_max_ms", &Request::set_reconnect_max_ms, 99}}) {
        Request request;
        request.set_remote_controller(kRemote);
        (request.*one.set)(one.value);
        const auto refused =
            call(&ControlPlane::remotes, &Remotes::set_connection_timings, request);
        EXPECT_KIND(refused, InvalidArgument);
        EXPECT_NE(refused.error().message.find(one.field), std::string::npos);
    }
    api::SetConnectionTimingsRequest nobody;
    nobody.set_remote_controller("nvmeRemoteControllers/none");
    EXPECT_KIND(call(&ControlPlane::remotes, &Remotes::set_connection_timings, nobody), NotFound);
}

TEST_F(MultipathApiTest, Policy_ofOnePathAtATime_isRefused) {
    create_remote(opi::NVME_MULTIPATH_FAILOVER);
    EXPECT_KIND(set_policy(api::PATH_POLICY_ROUND_ROBIN), FailedPrecondition);
    ASSERT_TRUE(create_path("p0", "10.0.0.1"));
    EXPECT_EQ(status().policy(), api::PATH_POLICY_FAILOVER);
    EXPECT_EQ(node->remotes.at("array").policy, node::PathPolicy::Failover);
}

TEST_F(MultipathApiTest, Attach_severalEndpoints_usesAllAndDetachTakesAll) {
    network.also_at = {"10.0.0.2", "10.0.0.3"};
    const auto disk = attach(1, 0);
    ASSERT_TRUE(disk) << disk.error().message;
    EXPECT_EQ(node->remotes.begin()->second.paths.size(), 3U);
    EXPECT_EQ(node->remotes.begin()->second.policy, node::PathPolicy::QueueDepth);
    EXPECT_EQ(status().paths_size(), 3);
    const auto again = attach(1, 0);
    ASSERT_TRUE(again);
    EXPECT_EQ(again->SerializeAsString(), disk->SerializeAsString());
    restart_plane();
    EXPECT_EQ(node->remotes.begin()->second.paths.size(), 3U);
    ASSERT_TRUE(detach(0));
    EXPECT_TRUE(node->remotes.empty());
    EXPECT_EQ(store.size(), 0U);
}

}  // namespace
}  // namespace remora::test
